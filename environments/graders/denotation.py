"""WikiTableQuestions' denotations: two sets of values are equal when each value of one meets one of the other.

Written from the definition of the data set's evaluator (Pasupat and Liang, ACL 2015): strings are compared
after normalisation, numbers within 1e-6, dates by the parts that are known. `docs/grading.md` says
how a solution is split into values, and where this is kinder than the definition: in notation only.
"""

from __future__ import annotations

import ast
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from environments.graders.answers import unadorned
from environments.types import Grade

MAX_SOLUTION = 20_000

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_QUOTES = str.maketrans({"‘": "'", "’": "'", "´": "'", "`": "'", "“": '"', "”": '"'} | dict.fromkeys("‐‑‒–—−", "-"))
_FOOTNOTES = re.compile(r"(?:(?<!^)\[[^\]]*\]|\[\d+\]|[•♦†‡*#+])+$")
_DETAIL = re.compile(r"(?<!^)(?: \([^)]*\))+$")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?")
_GROUPED = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_COUNTED = re.compile(
    r"(?P<amount>[-+]?\d[\d,.]*)(?:st|nd|rd|th)?(?: (?P<scale>thousand|million|billion|trillion))?"
    r"(?: (?:seconds?|minutes?|hours?|days?|weeks?|months?|years?))?"
)
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_YMD = re.compile(r"(\d{4}|xx(?:xx)?)-(\d{1,2}|xx)-(\d{1,2}|xx)")
_DATE = re.compile(
    r"(?:(?P<day>\d{1,2}) )?(?P<month>[a-z]{3,9})\.?(?: (?P<late>\d{1,2})(?=,| |$))?(?:,? (?P<year>\d{4}))?"
)
_BULLET = re.compile(r"[-*•]\s+")

DatePart = int | None


@dataclass(frozen=True, slots=True)
class Value:
    text: str
    """Normalised."""
    number: float | None = None
    date: tuple[DatePart, DatePart, DatePart] | None = None
    """Year, month and day; None for an unknown part."""

    def meets(self, other: Value) -> bool:
        if self.text == other.text:
            return True
        if self.number is not None and other.number is not None:
            return abs(self.number - other.number) < 1e-6
        return self.date is not None and self.date == other.date


def grade_denotation(targets: Sequence[str], canon: Sequence[str] | None, solution: str) -> Grade:
    """`canon` is the evaluator's own reading of each target (`4000000.0`, `xxxx-06-xx`), where the data has it."""
    if len(solution) > MAX_SOLUTION:
        return Grade(correct=False, score=0.0, note=f"the solution is longer than {MAX_SOLUTION:,} characters")
    wanted = [target_value(target, canon[at] if canon else None) for at, target in enumerate(targets)]
    correct = any(_same(wanted, [read_value(item) for item in items]) for items in readings(solution, len(targets)))
    return Grade(correct=correct, score=float(correct))


def _same(wanted: Sequence[Value], found: Sequence[Value]) -> bool:
    """As sets: what is said twice counts once, and nothing may be left over on either side."""
    if _distinct(wanted) != _distinct(found):
        return False
    every = all(any(one.meets(other) for other in found) for one in wanted)
    return every and all(any(one.meets(other) for one in wanted) for other in found)


def _distinct(values: Sequence[Value]) -> int:
    return sum(not any(value.meets(earlier) for earlier in values[:at]) for at, value in enumerate(values))


# -- from a solution to its items ----------------------------------------------------------------


def readings(solution: str, expected: int) -> Iterator[list[str]]:
    """The ways to split a solution. Commas split only where several values are expected.

    So `Belgrade, Serbia` stays one place, and a single value is never found by cutting a longer text.
    """
    yield [solution.strip()]
    text = unadorned(solution)
    yield [text]
    literal = _literal(text)
    if literal is not None:
        yield literal
        return
    lines = [_BULLET.sub("", part.strip(), count=1) for part in re.split(r"[|\n]", text) if part.strip()]
    if len(lines) != 1:
        yield lines
    elif expected > 1:
        yield _parts(r",\s+", text)
        yield _parts(r",\s+(?:and\s+)?|\s+and\s+", text)
        yield _parts(r";\s*", text)


def _parts(separator: str, text: str) -> list[str]:
    return [part.strip() for part in re.split(separator, text) if part.strip()]


def _literal(text: str) -> list[str] | None:
    """A Python list, tuple or set; rows of one value, as a cursor returns them, are their values."""
    if not text.startswith(("[", "(", "{")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(value, (list, tuple, set)):
        return None
    rows = [row[0] if isinstance(row, (list, tuple)) and len(row) == 1 else row for row in value]
    return [str(row) for row in rows] if all(isinstance(row, (str, int, float)) for row in rows) else None


# -- from an item to its value -------------------------------------------------------------------


def normalise(text: str) -> str:
    """Without accents, case, footnote marks, a detail in trailing parentheses and quotes around the whole."""
    text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if unicodedata.category(letter) != "Mn")
    text = re.sub(r"\s+", " ", text.translate(_QUOTES)).strip()
    while True:
        shorter = _DETAIL.sub("", _FOOTNOTES.sub("", text).strip()).strip()
        shorter = re.sub(r'^"([^"]*)"$', r"\1", shorter).strip()
        if shorter == text or not shorter:
            break
        text = shorter
    return (text.removesuffix(".") or text).lower().strip()


def read_value(item: str) -> Value:
    """What a teacher says: a number only where it is nothing else, `13 weeks` being no 13."""
    text = normalise(item)
    plain = text.replace(",", "") if _GROUPED.fullmatch(text) else text
    number = float(plain) if _NUMBER.fullmatch(plain) else None
    return Value(text, number, None if number is not None else _date(text))


def target_value(target: str, canon: str | None) -> Value:
    """What is asked for: by `canon`, or by its own text, where a count may name its unit (`2 years`, `4.0 million`)."""
    if canon is not None:
        read = read_value(canon)
        return Value(normalise(target), read.number, read.date)
    value = read_value(target)
    if value.number is None and value.date is None:
        return Value(value.text, _count(value.text))
    return value


def canonical(target: str) -> str:
    """A target as `targetCanon` writes it: `4000000.0`, `xxxx-06-xx` or the text itself. It judges as the target."""
    value = target_value(target, None)
    if value.number is not None and math.isfinite(value.number):
        return repr(value.number)
    if value.date is None:
        return target
    year, month, day = value.date
    parts = (
        "xxxx" if year is None else f"{year:04}",
        *("xx" if part is None else f"{part:02}" for part in (month, day)),
    )
    return "-".join(parts)


def _count(text: str) -> float | None:
    counted = _COUNTED.fullmatch(text)
    if counted is None:
        return None
    amount = counted["amount"].replace(",", "") if _GROUPED.fullmatch(counted["amount"]) else counted["amount"]
    return float(amount) * _SCALES.get(counted["scale"] or "", 1.0) if _NUMBER.fullmatch(amount) else None


def _date(text: str) -> tuple[DatePart, DatePart, DatePart] | None:
    """`1984-11-28` with `xx` for what is unknown, `28 November 1984`, `November 28, 1984`, `Nov 1984`, `June`."""
    ymd = _YMD.fullmatch(text)
    if ymd:
        parts = [None if part.startswith("x") else int(part) for part in ymd.groups()]
        return _checked(parts[0], parts[1], parts[2])
    written = _DATE.fullmatch(text)
    if written is None or (written["day"] and written["late"]):
        return None
    month = [at for at, name in enumerate(_MONTHS, start=1) if written["month"] in (name, name[:3], name[:4])]
    day, year = written["day"] or written["late"], written["year"]
    return _checked(int(year) if year else None, month[0], int(day) if day else None) if month else None


def _checked(year: DatePart, month: DatePart, day: DatePart) -> tuple[DatePart, DatePart, DatePart] | None:
    possible = (month is None or 1 <= month <= 12) and (day is None or 1 <= day <= 31)
    return (year, month, day) if possible and (year, month, day) != (None, None, None) else None
