r"""One value as written: its name, unit and base set apart from its text, its number where it is one.

`x = 5`, `5`, `5\text{ cm}`, `\$5` and `5^\circ` are one value; two names or two units that differ are not.
A per cent sign is a unit too: `10\%` is the 10 of a question for a percentage, and never 0.1 as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MACHINE_DIGITS = 10
"""A decimal of this many significant digits is a machine's float; a shorter one is exact as written."""
TOLERANCE = Fraction(1, 10**9)
"""How far, relatively, a machine's float may be from the value."""

_NAME = re.compile(
    r"(?:m?\s*\\angle\s*)?(?:[A-Za-z]+|\\[a-z]+|\\text\s*\{[^{}]*\})(?:_(?:\w|\{\w+\}))?'*\s*(?:\([^()=]*\))?"
)
_EQUALS = re.compile(r"(?<![<>!=])==?(?!=)")
_BASED = re.compile(r"(\d[0-9A-Za-z]*)\s*(?:_\s*\{?\s*(\d+)\s*\}?|\s(?:in )?base (\d+))")
_DECIMAL = re.compile(r"[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,3})?")
_MIXED = re.compile(r"(-?)(\d{1,99}) ?(?:\\frac\{(\d{1,99})\}\{(\d{1,99})\}|(?<= )(\d{1,99})/(\d{1,99}))")
_FRACTION = re.compile(r"([-+]?)(?:\\frac\{([^{}]+)\}\{([^{}]+)\}|([^/{}]+)/([^/{}]+))")

_TEXT_UNIT = re.compile(r"(?<=[\d}a-z).])\s*((?:\\text\s*\{[^{}]*\}\s*(?:\^\{?\d\}?)?\s*)+)$")
_WORD_UNIT = re.compile(r"(?<=[\d}i%.])((?:\s+(?:[A-Za-z]{3,}|[ckm]m|kg|ft|mi|in|lb|oz|hr)(?:\^\d)?){1,4})$")
_SIGN_UNIT = re.compile(r"\s*([°%])$")
_NOT_UNITS = frozenset(
    """hundred thousand million billion trillion dozen half halves third thirds fourth fourths quarter quarters fifth
    fifths sixth sixths eighth eighths tenth tenths hundredths mod base and but not plus minus times over out point
    sin cos tan sec csc cot log exp sqrt pi theta alpha beta infty undefined factorial choose remainder""".split()  # noqa: SIM905
)
_ALIASES = {
    "percent": "%", "percents": "%", "degree": "°", "dollar": "¤", "inches": "inch", "in": "inch", "feet": "foot",
    "ft": "foot", "cm": "centimeter", "mm": "millimeter", "km": "kilometer", "m": "meter", "kg": "kilogram",
    "mi": "mile", "lb": "pound", "oz": "ounce", "hr": "hour", "cubed": "^3", "cubic": "^3", "cu": "^3",
    "squared": "^2", "square": "^2", "sq": "^2",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Scalar:
    text: str
    name: str = ""
    unit: str = ""
    base: str = ""

    @property
    def key(self) -> str:
        """The text without spaces, save between digits."""
        return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", self.text)


def read_scalar(text: str) -> Scalar:
    name, text = _split_name(text.strip())
    based = _BASED.fullmatch(text)
    if based:
        return Scalar(based[1], name, base=based[2] or based[3])
    text, unit = _split_unit(text)
    text = re.sub(r"^\+\s*", "", text)
    if re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", text):
        text = text.replace(",", "")
    return Scalar(text, name, unit)


def _split_name(text: str) -> tuple[str, str]:
    """`x = 2 + 3 = 5` is 5 by the name x. An equation with letters on its left stays whole."""
    first, *rest = (side.strip() for side in _EQUALS.split(text))
    named = _NAME.fullmatch(first) is not None
    if not rest or not rest[-1] or not all(map(_letterless, rest[:-1])) or not (named or _letterless(first)):
        return "", text
    return re.sub(r"\s", "", first) if named else "", rest[-1]


def _letterless(side: str) -> bool:
    return bool(side) and re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", side)) is None


def _split_unit(text: str) -> tuple[str, str]:
    money = re.match(r"(-?)\s*¤\s*", text)
    text = money[1] + text[money.end() :] if money else text
    units = ["¤"] if money else []
    for pattern in (_TEXT_UNIT, _WORD_UNIT, _SIGN_UNIT):
        found = pattern.search(text)
        words = re.findall(r"[A-Za-z]+|[\^]\{?\d\}?|[°%]", re.sub(r"\\text", "", found[1])) if found else []
        if found and not _NOT_UNITS.intersection(word.lower() for word in words) and not _in_function(text, found):
            text = text[: found.start()].strip()
            units += [_unit(word) for word in words]
    return text, " ".join(sorted({unit for unit in units if unit}))


def _in_function(text: str, found: re.Match[str]) -> bool:
    r"""The degrees of `\cos 13^\circ` are no unit of the whole."""
    return found[1] == "°" and re.search(r"sin|cos|tan|sec|csc|cot", text) is not None


def _unit(word: str) -> str:
    word = re.sub(r"[{}]", "", word.lower())
    word = _ALIASES.get(word, word)
    if len(word) > 3 and word.endswith("s"):
        word = _ALIASES.get(word[:-1], word[:-1])
    word = re.sub(r"metre$", "meter", word)
    return "" if word == "unit" else word


# -- numbers -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction
    machine: bool = False
    """Written as a float of a machine's precision."""


def number(text: str) -> Number | None:
    """The number that `text` spells with digits alone; None where it takes algebra to say."""
    text = text.strip()
    if _DECIMAL.fullmatch(text):
        digits = re.sub(r"[eE].*|\D", "", text).lstrip("0")
        return Number(Fraction(text), "." in text and len(digits) >= MACHINE_DIGITS)
    mixed = _MIXED.fullmatch(text)
    if mixed:
        over, under = int(mixed[3] or mixed[5]), int(mixed[4] or mixed[6])
        return Number((int(mixed[2]) + Fraction(over, under)) * (-1 if mixed[1] else 1)) if under else None
    fraction = _FRACTION.fullmatch(text)
    if fraction is None:
        return None
    above, below = number(fraction[2] or fraction[4]), number(fraction[3] or fraction[5])
    if above is None or below is None or not below.value:
        return None
    return Number(above.value / below.value * (-1 if fraction[1] == "-" else 1), above.machine or below.machine)


def same_number(one: Number, other: Number) -> bool:
    if one.machine or other.machine:
        return abs(one.value - other.value) <= TOLERANCE * max(abs(one.value), abs(other.value))
    return one.value == other.value
