r"""What kind of thing an answer is: a scalar, words, a group (tuple, list, set, interval), a union, a matrix.

The algebra engine reads `(1,2)` as an interval, a point or a list as it suits. So structure is read here,
from the text, and only scalars go to the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from environments.graders.scalars import Scalar


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    r"""`(1, 2]`, `\{1, 2\}` or, without brackets, `1, 2`."""

    opening: str
    items: tuple[Shape, ...]
    closing: str
    variable: str | None = None
    """The letter of the inequality it was read from."""


@dataclass(frozen=True, slots=True)
class Union:
    parts: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple[Shape, ...], ...]


Shape: TypeAlias = Scalar | Words | Group | Union | Matrix
