r"""An inequality in one letter is its interval: `x \le 3` is `(-\infty, 3]`, `x \ne 5` a union of two.

Read from the text and only where it is plain: a letter on one side, or between two bounds. Whatever
else holds a relation sign stays a scalar, and is compared as a relation by the algebra engine.
"""

from __future__ import annotations

import re

from environments.graders.scalars import Scalar, read_scalar
from environments.graders.shapes import Group, Shape, Union

_RELATION = re.compile(r"<=|>=|!=|<|>|\\(?:le|ge|ne)(?![A-Za-z])")
_SIGNS = {"<=": "≤", ">=": "≥", "!=": "≠", r"\le": "≤", r"\ge": "≥", r"\ne": "≠", "<": "<", ">": ">"}
_TURNED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "≠": "≠"}
_AND = re.compile(r"\s*(?:&|\\text\s*\{\s*and\s*\}|\band\b)\s*")
_OR = re.compile(r"\s*(?:\||\\text\s*\{\s*or\s*\}|\bor\b)\s*")
_LETTER = re.compile(r"[A-Za-z]|\\(?:theta|alpha|beta)")
_BELOW, _ABOVE = Scalar(r"-\infty"), Scalar(r"\infty")


def inequality(text: str) -> Shape | None:
    if not _RELATION.search(text):
        return None
    either = [_both(side) for side in _OR.split(text)]
    known = tuple(side for side in either if side is not None)
    if len(known) < len(either):
        return None
    return known[0] if len(known) == 1 else Union(known)


def _both(text: str) -> Shape | None:
    """One clause, or two joined by `and` as sympy prints an interval: `(-2 < x) & (x <= 3)`."""
    clauses = [_clause(_bare(part)) for part in _AND.split(_bare(text))]
    if len(clauses) == 1:
        return clauses[0]
    one, other, *more = clauses
    if more or not isinstance(one, Group) or not isinstance(other, Group) or one.variable != other.variable:
        return None
    return _meet(one, other)


def _bare(text: str) -> str:
    text = text.strip()
    return text[1:-1] if re.fullmatch(r"\([^()]*\)", text) else text


def _meet(one: Group, other: Group) -> Group | None:
    lower = [group for group in (one, other) if group.items[0] != _BELOW]
    upper = [group for group in (one, other) if group.items[1] != _ABOVE]
    if len(lower) > 1 or len(upper) > 1:
        return None
    low, high = (lower or [one])[0], (upper or [one])[0]
    return Group(low.opening, (low.items[0], high.items[1]), high.closing, one.variable)


def _clause(text: str) -> Shape | None:
    sides = [side.strip() for side in _RELATION.split(text)]
    signs = [_SIGNS[sign] for sign in _RELATION.findall(text)]
    letters = [bool(_LETTER.fullmatch(side)) for side in sides]
    if letters == [False, True] or (letters == [False, True, False] and signs[0] in ">≥"):
        sides, signs, letters = sides[::-1], [_TURNED[sign] for sign in reversed(signs)], letters[::-1]
    if letters == [True, False] and sides[1]:
        return _half_line(sides[0], signs[0], read_scalar(sides[1]))
    if letters == [False, True, False] and all(sign in "<≤" for sign in signs):
        ends = read_scalar(sides[0]), read_scalar(sides[2])
        return Group("(" if signs[0] == "<" else "[", ends, ")" if signs[1] == "<" else "]", sides[1])
    return None


def _half_line(variable: str, sign: str, bound: Scalar) -> Shape:
    below = Group("(", (_BELOW, bound), "]" if sign == "≤" else ")", variable)
    above = Group("[" if sign == "≥" else "(", (bound, _ABOVE), ")", variable)
    if sign == "≠":
        return Union((below, above))
    return below if sign in "<≤" else above
