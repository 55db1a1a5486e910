"""What all environments whose solutions are programs have in common.

A solution is graded in kernels of its own, and so by the episode, which knows where they are to be had.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from environments.environment import BadRow, Environment, Episode, Row
from environments.graders.examiner import Verdict
from environments.kernels import KernelHost
from environments.texts import prompt_text
from environments.types import Grade, Json, Task, clean

MOST_TOLD = 3
"""Tests whose failure a grade's note tells of."""

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)


class ProgramEpisode(Episode):
    environment: Programs

    async def grade(self, solution: str) -> Grade:
        return await self.environment.graded(self.task, solution, self.kernels)


class Programs(Environment):
    """An environment whose solutions are Python programs."""

    grading = "tests of the program, in kernels of its own"

    @property
    def tools(self) -> str:
        return prompt_text(self.name, "tools")

    @property
    def example(self) -> str:
        return prompt_text(self.name, "example")

    @abstractmethod
    async def verdicts(self, task: Task, program: str, kernels: KernelHost) -> Sequence[Verdict]:
        """One for each test. Raises `KernelFault` where no kernel can be had."""

    async def graded(self, task: Task, solution: str, kernels: KernelHost) -> Grade:
        verdicts = await self.verdicts(task, program_text(solution), kernels)
        passed = tuple(verdict.passed for verdict in verdicts)
        return Grade(all(passed), sum(passed) / len(passed), passed, _note(verdicts))

    async def grade(self, task: Task, solution: str) -> Grade:
        """Outside an episode: in kernels at the strongest level of isolation that there is."""
        async with KernelHost(None) as kernels:
            return await self.graded(task, solution, kernels)

    @asynccontextmanager
    async def episode(self, task: Task, kernels: KernelHost) -> AsyncIterator[Episode]:
        yield ProgramEpisode(self, task, kernels)


def program_text(solution: str) -> str:
    """The program of a solution: its longest fenced block, or all of it."""
    blocks = [match[2] for match in _FENCE.finditer(solution)]
    return max(blocks, key=len) if blocks else solution.strip("\n")


def _note(verdicts: Sequence[Verdict]) -> str:
    """For whoever reads the trajectory: which tests failed, and how."""
    failed = [(number, verdict) for number, verdict in enumerate(verdicts, start=1) if not verdict.passed]
    if not failed:
        return ""
    told = "; ".join(f"test {number} {verdict.why or 'is not as expected'}" for number, verdict in failed[:MOST_TOLD])
    return clean(f"{len(failed)} of {len(verdicts)} tests failed: {told}")


# -- reading rows --------------------------------------------------------------------------------


def text_or_none(row: Row, *names: str) -> str | None:
    """The first of the named fields that holds text that is not blank."""
    for name in names:
        value = row.data.get(name)
        if isinstance(value, str) and value.strip():
            return value
    return None


def texts_of(row: Row, name: str) -> list[str]:
    """A list of texts, empty where the field is missing or empty. Raises `BadRow`."""
    value: Json = row.data.get(name)
    if value is None or value == "":
        return []
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise BadRow(f"'{name}' is no list of texts")
    return [str(one) for one in value]
