"""Is a solution the reference? Spelling is levelled first, structure compared next, algebra asked last.

`environments/graders/reading.py` says what a text means, math-verify whether two scalars are equal, and
`docs/grading.md` what was decided about answers that could be read two ways. Only a reference that
cannot be judged at all is a fault; whatever a solution does to the grader makes it a wrong solution.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Self

from environments.graders.answers import math_answer
from environments.graders.latex import depth, tidy
from environments.graders.reading import read_shape
from environments.graders.scalars import Scalar, number, same_number
from environments.graders.shapes import Group, Matrix, Shape, Union, Words
from environments.graders.worker import Exhausted, Pool
from environments.types import Grade

MAX_SOLUTION = 10_000
"""Characters of a solution that are read at all."""
MAX_ANSWER = 2_000
"""Characters of the answer in it."""
MAX_DEPTH = 30
_TWO_NUMBERS = re.compile(r"\d\s+\d")
"""`18 27` is two numbers. The algebra would read it as one, a product or a mixed number."""


class MathGrader:
    """Shared by all trajectories of a run; its workers start at the first solution that takes algebra."""

    def __init__(self) -> None:
        self._pool = Pool(Path(__file__).with_name("mathworker.py"), {"gold": "1+x", "answer": "x+1"})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def grade(self, reference: str, solution: str) -> Grade:
        """Raises `GraderFault` when no worker can be had."""
        if len(solution) > MAX_SOLUTION:
            return _wrong(f"the solution is longer than {MAX_SOLUTION:,} characters")
        answer = math_answer(solution)
        gold, text = tidy(reference), tidy(answer)
        if gold == text and text:
            return Grade(correct=True, score=1.0)
        nested = depth(text)
        if not text or nested is None or nested > MAX_DEPTH or len(text) > MAX_ANSWER:
            return _wrong("the answer is empty, too long, or its brackets do not close or nest too deep")
        return await self._judged(read_shape(gold), read_shape(text))

    async def _judged(self, gold: Shape, answer: Shape) -> Grade:
        try:
            correct = await self._same(gold, answer)
        except Exhausted as error:
            return _wrong(f"too much for the algebra: {error}")
        return Grade(correct=correct, score=float(correct))

    async def _same(self, gold: Shape, answer: Shape) -> bool:
        match gold, answer:
            case Words(), Words():
                return gold.text == answer.text
            case Words(), Scalar():
                return gold.text == answer.text.casefold()
            case Scalar(), Scalar():
                return await self._same_scalar(gold, answer)
            case Union(), Union():
                return await self._matched(gold.parts, answer.parts)
            case Matrix(), Matrix():
                return _sizes(gold) == _sizes(answer) and await self._aligned(_cells(gold), _cells(answer))
            case Matrix(), Group():
                column = all(len(row) == 1 for row in gold.rows)
                return column and answer.opening != "{" and await self._aligned(_cells(gold), answer.items)
            case Group(), Group():
                return await self._same_group(gold, answer)
        return False

    async def _same_group(self, gold: Group, answer: Group) -> bool:
        if gold.variable and answer.variable and gold.variable != answer.variable:
            return False
        around = (answer.opening, answer.closing)
        if gold.opening in ("", "{"):
            lists = [("", ""), ("{", "}"), ("[", "]")] + ([("(", ")")] if not gold.opening else [])
            return around in lists and await self._matched(gold.items, answer.items)
        # With two items brackets may mean a point or an interval, and then their kind is part of the answer.
        alike = around == (gold.opening, gold.closing) or (len(gold.items) > 2 and around in [("(", ")"), ("[", "]")])
        return alike and await self._aligned(gold.items, answer.items)

    async def _aligned(self, gold: tuple[Shape, ...], answer: tuple[Shape, ...]) -> bool:
        if len(gold) != len(answer):
            return False
        for one, other in zip(gold, answer, strict=True):
            if not await self._same(one, other):
                return False
        return True

    async def _matched(self, gold: tuple[Shape, ...], answer: tuple[Shape, ...]) -> bool:
        """Equal in any order."""
        if len(gold) != len(answer):
            return False
        left = list(answer)
        for one in gold:
            for index, other in enumerate(left):
                if await self._same(one, other):
                    del left[index]
                    break
            else:
                return False
        return True

    async def _same_scalar(self, gold: Scalar, answer: Scalar) -> bool:
        if _differ(gold.name, answer.name) or _differ(gold.unit, answer.unit):
            return False
        if gold.base or answer.base:
            # The digits alone do where the reference names the base; a base that it does not name is wrong.
            return gold.key == answer.key and answer.base in ("", gold.base)
        if gold.key == answer.key:
            return True
        one, other = number(gold.text), number(answer.text)
        if one is not None and other is not None:
            return same_number(one, other)
        if _TWO_NUMBERS.search(answer.text):
            return False
        verdict = await self._pool.ask({"gold": gold.text, "answer": answer.text})
        return verdict.get("equal") is True


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _sizes(matrix: Matrix) -> list[int]:
    return [len(row) for row in matrix.rows]


def _cells(matrix: Matrix) -> tuple[Shape, ...]:
    return tuple(cell for row in matrix.rows for cell in row)


def _wrong(note: str) -> Grade:
    return Grade(correct=False, score=0.0, note=note)
