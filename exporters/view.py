"""The export view: a trajectory as messages. Every format derives from it and round-trips it."""

from __future__ import annotations

import re
from dataclasses import replace

from environments.protocol.render import opening
from environments.types import Message, Trajectory

_BLOCK = re.compile(r"(<(execute|solution)>.*?</\2>)", re.DOTALL)
_THOUGHT = re.compile(r"<thought>\s*|\s*</thought>")


def messages(trajectory: Trajectory, *, example: bool = False) -> tuple[Message, ...]:
    """The conversation as it was held: system, the task, then the teacher and its observations in turn.

    It ends with the teacher: the last observation was never sent. The one-shot example is left out
    unless asked for.
    """
    prompt = trajectory.prompt if example else replace(trajectory.prompt, example="")
    said = [Message(one.role, one.content) for turn in trajectory.turns for one in turn.messages()]
    return (*opening(prompt, trajectory.task), *said[:-1])


def published(conversation: tuple[Message, ...]) -> tuple[Message, ...]:
    """As the published CodeActInstruct shows it: the teacher's thoughts stand there without their tags."""
    return tuple(
        replace(one, content=without_thought_tags(one.content)) if one.role == "assistant" else one
        for one in conversation
    )


def without_thought_tags(text: str) -> str:
    """The text without `<thought>` and `</thought>`, closed or not; code and solutions stay as they are."""
    parts = _BLOCK.split(text)  # prose, block, its tag, prose, …
    prose = {index: _THOUGHT.sub("", parts[index]) for index in range(0, len(parts), 3)}
    return "".join(prose.get(index, part) for index, part in enumerate(parts) if index % 3 != 2).strip()
