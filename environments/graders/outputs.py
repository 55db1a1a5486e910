"""Whether a program's output is the expected one: on the host, where both are plain data.

What is printed is compared line by line, blanks and empty lines aside; a number only where the expected one is
written as a decimal may differ a little. What is returned is compared as Python compares it, tuples as lists.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from environments.types import Json

TOLERANCE = 1e-6
"""Relative, and absolute below 1: what judges of contests allow."""

_DECIMAL = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?")


def same_print(expected: str, printed: str) -> bool:
    wanted, found = _lines(expected), _lines(printed)
    return len(wanted) == len(found) and all(map(_same_line, wanted, found))


def _lines(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.split())]


def _same_line(wanted: Sequence[str], found: Sequence[str]) -> bool:
    return len(wanted) == len(found) and all(map(_same_word, wanted, found))


def _same_word(wanted: str, found: str) -> bool:
    if wanted == found:
        return True
    if not (_is_decimal(wanted) and _DECIMAL.fullmatch(found)):
        return False
    return _near(float(wanted), float(found))


def _is_decimal(word: str) -> bool:
    return bool(_DECIMAL.fullmatch(word)) and not word.lstrip("+-").isdigit()


def _near(wanted: float, found: float) -> bool:
    if not math.isfinite(wanted):
        return wanted == found or (math.isnan(wanted) and math.isnan(found))
    return abs(wanted - found) <= TOLERANCE * max(1.0, abs(wanted))


# -- values --------------------------------------------------------------------------------------


def same_value(expected: Json, returned: Json) -> bool:
    """`returned` is as a bench encodes values; `expected` is JSON, which has no tuples and only text as keys."""
    try:
        return _same(expected, _plain(returned))
    except RecursionError:
        return False


class _Other:
    """A set, an object: nothing that JSON can expect."""


def _plain(value: Json) -> object:
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    held = value.get("tuple", value.get("iterator", value.get("deque")))
    if isinstance(held, Sequence):
        return [_plain(item) for item in held]
    pairs = value.get("dict")
    if isinstance(pairs, Sequence):
        return {_key(pair[0]): _plain(pair[1]) for pair in pairs if isinstance(pair, Sequence) and len(pair) == 2}
    return _Other()


def _key(value: Json) -> str:
    return value if isinstance(value, str) else repr(_plain(value))


def _same(expected: Json, found: object) -> bool:
    if isinstance(expected, str) or expected is None:
        return type(found) is type(expected) and expected == found
    if isinstance(expected, float):
        return isinstance(found, (int, float)) and not isinstance(found, bool) and _near(expected, _float(found))
    if isinstance(expected, (bool, int)):
        return isinstance(found, (bool, int, float)) and expected == found
    if isinstance(expected, Mapping):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(_same(part, found[key]) for key, part in expected.items())
        )
    return isinstance(found, list) and len(found) == len(expected) and all(map(_same, expected, found))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
