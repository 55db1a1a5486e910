"""What the teacher is sent: the prompt, the task, and the observation after each reply.

The markers (`Task:`, `Observation:`, the countdown, the tags) are those of the published
CodeActInstruct rows, so that an export concatenates with them; the sentences are ours and stand in
`prompts/`. What was sent is stored as sent: editing a prompt file never rewrites history.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from environments.environment import Environment
from environments.protocol.tracebacks import brief
from environments.tools import described
from environments.types import Action, CellResult, Message, Prompt, Rules, Task, Turn, clean

RULE = "\n\n---\n\n"
TASK = "Task:\n"
OBSERVATION = "Observation:\n"

SILENT = "[The code ran and printed nothing.]"


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / "prompts" / f"{name}.txt").read_text(encoding="utf-8").strip()


def make_prompt(environment: Environment, rules: Rules, task: Task) -> Prompt:
    """The texts before the task, with the run's own numbers in them."""
    tools = f"{environment.tools.strip()}\n\n{described(environment.functions)}".strip()
    system = _text("system").format(max_turns=rules.max_turns, max_solutions=rules.max_solutions, tools=tools)
    return Prompt(clean(system.strip()), clean(environment.example_for(task).strip()))


def opening(prompt: Prompt, task: Task) -> tuple[Message, Message]:
    """The messages before the first reply."""
    system = f"{prompt.system}{RULE}{prompt.example}\n\n---" if prompt.example else prompt.system
    return Message("system", system), Message("user", clean(TASK + task.prompt))


def conversation(prompt: Prompt, task: Task, turns: tuple[Turn, ...]) -> tuple[Message, ...]:
    """All that a teacher is sent for its next reply: the opening and every turn so far."""
    return (*opening(prompt, task), *(message for turn in turns for message in turn.messages()))


def observe(body: str, rules: Rules, turns_used: int, solutions_used: int) -> str:
    """The observation turn: what happened, then what is left."""
    steps, solutions = rules.max_turns - turns_used, rules.max_solutions - solutions_used
    left = f"You have {steps} steps left and {solutions} chances to propose solution left."
    last = "\nYou should take the last step to propose a solution." if steps <= 1 else ""
    return clean(f"{OBSERVATION}{body}\n{left}{last}")


def cell_text(result: CellResult, limit: int) -> str:
    """A cell's output as a notebook shows it, at most about `limit` characters of it."""
    shown = [result.stdout.strip("\n"), result.stderr.strip("\n"), (result.value or "").strip("\n")]
    if result.error:
        shown.append(brief(result.error.traceback).strip("\n"))
    parts = [shorten("\n".join(part for part in shown if part), limit)]
    if result.timed_out:
        parts.append(f"[The code was stopped after {result.seconds:.0f} seconds. {_FRESH}]")
    elif result.died:
        parts.append(f"[The Python session died. {_FRESH}]")
    return "\n".join(part for part in parts if part) or SILENT


_FRESH = "A fresh session was started: what earlier code defined is gone."


def shorten(text: str, limit: int) -> str:
    """`text`, or its head and tail with a line between that says how much is left out."""
    if len(text) <= limit:
        return text
    tail = limit // 2
    head = limit - tail
    return f"{text[:head]}\n[… {len(text) - limit:,} characters left out …]\n{text[-tail:]}"


def wrong_text() -> str:
    return _text("wrong")


def correct_text() -> str:
    return _text("correct")


def not_understood_text(action: Action) -> str:
    """Tells the teacher that no action was found and, where one word says it, why."""
    reasons = {
        "unclosed": ": a tag is opened and not closed",
        "empty_block": ": its block is empty",
        "markdown_fence": ": code in a Markdown fence is not run",
        "empty": ": it is empty",
    }
    reason = next((text for oddity, text in reasons.items() if oddity in action.oddities), "")
    return _text("not_understood").format(reason=reason)
