r"""Competition mathematics in the form of MATH (Hendrycks et al. 2021): a problem, a solution that boxes its answer.

The reference is the last box of the solution, or the `answer` field where there is one. Recorded MINT
results are read too, for their tasks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from environments.environment import BadRow, Environment, Row
from environments.graders.answers import last_boxed
from environments.graders.mathematics import MathGrader
from environments.sources import text_of
from environments.texts import prompt_text
from environments.types import Grade, Json, Task, clean


class Math(Environment):
    name = "math"
    summary = "a problem of competition mathematics (MATH)"
    grading = "mathematics"
    data = "hf:EleutherAI/hendrycks_math/algebra#train and six more"
    preload = ("sympy", "numpy")
    demo = str(Path(__file__).parent / "demo" / "math.jsonl")

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._grader = MathGrader()

    @property
    def tools(self) -> str:
        return prompt_text(self.name, "tools")

    @property
    def example(self) -> str:
        return prompt_text(self.name, "example")

    def task(self, row: Row) -> Task:
        recorded = recorded_task(row, self.name)
        if recorded is not None:
            return recorded
        prompt = clean(text_of(row, "problem"))
        reference = self._reference(row)
        return Task(task_id(row, self.name, prompt), self.name, prompt, clean(reference), metadata=_metadata(row))

    async def grade(self, task: Task, solution: str) -> Grade:
        return await self._grader.grade(str(task.reference), solution)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._grader.__aexit__(kind, error, trace)

    async def __aenter__(self) -> Self:
        await self._grader.__aenter__()
        return self

    def _reference(self, row: Row) -> str:
        if row.data.get("answer") is not None:
            return text_of(row, "answer")
        boxed = last_boxed(text_of(row, "solution", "answer"))
        if boxed is None or not boxed.strip():
            raise BadRow(r"no 'answer', and no whole \boxed{} in 'solution'")
        return boxed.strip()


def recorded_task(row: Row, name: str) -> Task | None:
    """The task of a record of MINT's results (`state` and `task`); None for other rows."""
    task = row.data.get("task")
    if not isinstance(task, Mapping) or "state" not in row.data:
        return None
    inner = Row(task, row.where, row.folder)
    metadata: dict[str, Json] = {"source": "mint"}
    identity = f"{name}/mint-{text_of(inner, 'task_id')}"
    return Task(identity, name, clean(text_of(inner, "prompt")), clean(text_of(inner, "reference")), metadata=metadata)


def task_id(row: Row, name: str, prompt: str) -> str:
    """The row's own id, or a short hash of its problem: the same row has the same id wherever it is loaded from."""
    for field in ("idx", "unique_id", "id"):
        value = row.data.get(field)
        if isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).strip():
            return clean(f"{name}/{value}")
    return f"{name}/{hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


def _metadata(row: Row) -> dict[str, Json]:
    level = re.search(r"\d+", str(row.data.get("level") or ""))
    subject = row.data.get("subject") or row.data.get("type")
    found: dict[str, Json] = {"level": int(level[0])} if level else {}
    return found | ({"subject": clean(subject)} if isinstance(subject, str) else {})
