"""From the text of an answer to its shape. Every decision about what a spelling means is taken here.

`docs/grading.md` lists them for users.
"""

from __future__ import annotations

import re

from environments.graders.inequalities import inequality
from environments.graders.latex import enclosed, split
from environments.graders.scalars import read_scalar
from environments.graders.shapes import Group, Matrix, Shape, Union, Words

_SHORT_WORDS = ("yes", "no", "odd", "even", "none", "all", "one", "two", "six", "ten", "red", "true", "false")
_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_JOINT = re.compile(r"\s*(?:\\text\s*\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))\s*")
_MATRIX = re.compile(r"\\begin\s*\{([pbB]?matrix|array)\}\s*(?:\{[clr|]+\})?(.*)\\end\s*\{\1\}", re.DOTALL)
_NAMED = re.compile(r"(?:\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])+\s*\)\s*=|[A-Za-z]\s*\\in(?![A-Za-z]))\s*")
_MADE = re.compile(r"(?:(?:sympy|sp|np|numpy)\.)?([A-Z]?[A-Za-z]+2?D?)\((.*)\)")
_INTERVAL = re.compile(r"Interval(?:\.(open|Lopen|Ropen))?\((.*)\)")
_GROUPED = re.compile(r"[-+]?¤?\s*\d{1,3}(?:,\d{3})+(?!\d)[^,]*")


def read_shape(text: str) -> Shape:
    """`text` as left by `environments.graders.latex.tidy`."""
    words = _words(text)
    if words is not None:
        return words
    text = _NAMED.sub("", text, count=1) if _NAMED.match(text) else text
    found = inequality(text) or _union(text) or _python(text) or _matrix(text) or _group(text)
    return found or read_scalar(text)


def _words(text: str) -> Words | None:
    r"""Wrapped in `\text{}`, or four letters in a row and nothing mathematical, or a short word known as such.

    So `ab` stays a product, and `Evelyn` is not one of six letters.
    """
    bare = re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", text)).strip(" .\"'")
    letter = re.fullmatch(r"\(\s*([A-Za-z])\s*\)", bare)
    whole = _TEXT.fullmatch(text) is not None or letter is not None
    prose = re.search(r"[^\W\d_]{4,}", bare) is not None and not re.search(r"[0-9\\{}\[\]=<>+*/^_,()°¤]", bare)
    if whole or prose or bare.casefold() in _SHORT_WORDS:
        return Words((letter[1] if letter else bare).casefold())
    return None


def _union(text: str) -> Union | None:
    made = re.fullmatch(r"Union\((.*)\)", text)
    parts = split(made[1]) if made else re.split(r"\\cup(?![A-Za-z])|(?<=[)\]])\s*U\s*(?=[(\[])", text)
    return Union(tuple(read_shape(part.strip()) for part in parts)) if len(parts) > 1 else None


def _python(text: str) -> Shape | None:
    """sympy's and numpy's own spelling of intervals, sets, points and matrices."""
    interval = _INTERVAL.fullmatch(text)
    if interval and len(ends := split(interval[2])) == 2:
        opening = "(" if interval[1] in ("open", "Lopen") or "infty" in ends[0] else "["
        closing = ")" if interval[1] in ("open", "Ropen") or "infty" in ends[1] else "]"
        return Group(opening, tuple(map(read_shape, ends)), closing)
    made = _MADE.fullmatch(text)
    if made is None:
        return None
    if made[1] in ("FiniteSet", "Tuple", "Point", "Point2D", "Point3D"):
        brackets = ("{", "}") if made[1] == "FiniteSet" else ("(", ")")
        return Group(brackets[0], tuple(map(read_shape, split(made[2]))), brackets[1])
    if made[1] == "Eq" and len(sides := split(made[2])) == 2:
        return read_scalar(" = ".join(sides))
    if made[1] in ("Matrix", "ImmutableDenseMatrix", "array"):
        inner = read_shape(made[2])
        # sympy's `Matrix([1, 2])` is a column; numpy's one-dimensional array stays flat.
        column = isinstance(inner, Group) and made[1] != "array"
        return Matrix(tuple((item,) for item in inner.items)) if column and isinstance(inner, Group) else inner
    return None


def _matrix(text: str) -> Matrix | None:
    made = _MATRIX.fullmatch(text)
    if made is None:
        return None
    rows = [row for row in re.split(r"\\cr(?![A-Za-z])", made[2]) if row.strip()]
    return Matrix(tuple(tuple(read_shape(cell.strip()) for cell in row.split("&")) for row in rows))


def _group(text: str) -> Shape | None:
    parts = [text] if _GROUPED.fullmatch(text) else [item for part in split(text) for item in _JOINT.split(part)]
    items = [one for part in parts if part.strip() for one in _both_signs(part.strip())]
    if len(items) > 1:
        return Group("", tuple(map(read_shape, items)), "")
    brackets = re.fullmatch(r"(\\\{|[(\[{])(.*?)(\\\}|[)\]}])", text, re.DOTALL)
    if brackets is None or not enclosed(text.removeprefix("\\")):
        return None
    inner = [item.strip() for item in split(brackets[2]) if item.strip()]
    if len(inner) < 2:
        return _single(brackets[1], inner[0]) if inner else None
    members = tuple(map(read_shape, inner))
    return _nested(members) or Group(brackets[1].strip("\\"), members, brackets[3].strip("\\"))


def _single(opening: str, inner: str) -> Shape | None:
    """`solve` prints `[5]`, a one-row matrix `[[1, 2]]`; `(x + 1)` is only a scalar in brackets."""
    if opening == "(":
        return None
    shape = read_shape(inner)
    one_row = opening == "[" and isinstance(shape, Group) and shape.opening == "["
    return Matrix((shape.items,)) if one_row and isinstance(shape, Group) else shape


def _nested(members: tuple[Shape, ...]) -> Matrix | None:
    """`[[1, 2], [3, 4]]`."""
    rows = [member.items for member in members if isinstance(member, Group) and member.opening == "["]
    even = len(rows) == len(members) and len({len(row) for row in rows}) == 1
    return Matrix(tuple(rows)) if even else None


def _both_signs(item: str) -> list[str]:
    r"""`1 \pm \sqrt{2}` is two values."""
    if r"\pm" not in item:
        return [item]
    return [item.replace(r"\pm", sign).replace(r"\mp", other) for sign, other in (("+", "-"), ("-", "+"))]
