r"""One spelling for what mathematicians and programmers spell in many ways: `\dfrac12` is `\frac{1}{2}`.

Only spelling is changed here, never value or structure; what remains different is for
`environments/graders/shapes.py` and the algebra to judge. Afterwards `¤` is money, `°` degrees, `%` per cent.
"""

from __future__ import annotations

import re

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/",
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ", "∪": r"\cup ",
    "∈": r"\in ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "²": "^2", "³": "^3", "½": r"\frac{1}{2}",
    "£": "¤", "€": "¤", "\u00a0": " ", "\u202f": " ", "“": '"', "”": '"', "⟨": "(", "⟩": ")", "ℝ": r"\mathbb{R}",
}  # fmt: skip
_UNICODE_TABLE = str.maketrans(_UNICODE)

_RENAMED = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "geq": "ge", "leqslant": "le", "geqslant": "ge",
    "neq": "ne", "lt": "<", "gt": ">", "mbox": "text", "textrm": "text", "textbf": "text", "textit": "text",
    "mathrm": "text", "mathbf": "text", "langle": "(", "rangle": ")", "lbrace": r"\{", "rbrace": r"\}",
    "degree": "°", "degrees": "°", "lor": r"\text{or}", "land": r"\text{and}",
}  # fmt: skip
_DROPPED = ("left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "textstyle")
_SPACES = re.compile(r"\\(?:quad|qquad|,|;|:| |!|>)(?![A-Za-z])|~")
_COMMAND = re.compile(r"\\([A-Za-z]+)")


def tidy(text: str) -> str:
    """`text` in the one spelling that everything below this module reads."""
    # A doubled backslash ends a row in a matrix; elsewhere it is a Python string's escape.
    text = text.replace("\\\\", "\\cr " if "\\begin" in text else "\\")
    text = _undelimited(_root(text).translate(_UNICODE_TABLE))
    # Thousands and factors are set apart by thin spaces, words by wide ones: `1\,000`, `2\text{ or }3`.
    text = re.sub(r"\\[,!]|\{,\}", lambda match: "," if match[0] == "{,}" else "", text)
    text = _SPACES.sub(" ", text)
    text = _COMMAND.sub(_command, text)
    text = text.replace(r"\%", "%")
    text = re.sub(r"\^\s*(?:\{\s*(?:\\circ|°)\s*\}|\\circ(?![A-Za-z])|°)", "°", text)
    text = re.sub(r"(?<![A-Za-z\\])(?:oo|inf|infinity)(?![A-Za-z])", r"\\infty", text)
    text = _arguments(text)
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<=\S)[.;]$", "", text).strip()


def _root(text: str) -> str:
    text = re.sub(r"√\s*(\d+(?:\.\d+)?|[A-Za-z])", r"\\sqrt{\1}", text)
    return re.sub(r"√\s*\(([^()]*)\)", r"\\sqrt{\1}", text)


def _undelimited(text: str) -> str:
    """Without math delimiters. A `$` that has no partner is money."""
    text = text.replace(r"\$", "¤")
    text = re.sub(r"\\[\[\]()]", " ", text)
    return text.replace("$", "" if text.count("$") % 2 == 0 else "¤")


def _command(match: re.Match[str]) -> str:
    name = match[1]
    if name in _DROPPED:
        return ""
    new = _RENAMED.get(name)
    if new is None:
        return match[0]
    return f"\\{new}" if new.isalpha() else f"{new} " if new in "<>" else new


def _arguments(text: str) -> str:
    r"""`\frac 12`, `\frac1{2}`, `\sqrt3` and `x^{2}` with braces where TeX takes one token."""
    one = r"(\{[^{}]*\}|[0-9A-Za-z])"
    text = re.sub(rf"\\frac\s*{one}\s*{one}", lambda m: f"\\frac{_braced(m[1])}{_braced(m[2])}", text)
    text = re.sub(r"\\frac\s*([0-9A-Za-z])\s*(?=\{)", r"\\frac{\1}", text)
    text = re.sub(r"\\sqrt\s*([0-9A-Za-z])", r"\\sqrt{\1}", text)
    return re.sub(r"\^\{([0-9A-Za-z])\}", r"^\1", text)


def _braced(token: str) -> str:
    return token if token.startswith("{") else f"{{{token}}}"


# -- brackets ------------------------------------------------------------------------------------


def split(text: str) -> list[str]:
    """At the commas that stand outside all brackets. Half-open intervals close with either bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def enclosed(text: str) -> bool:
    """Whether the bracket that opens `text` is closed by its last letter."""
    depth = 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and letter in ")]}":
            return index == len(text) - 1
    return False


def depth(text: str) -> int | None:
    """How deep brackets nest; None where they do not close."""
    deepest = level = 0
    for letter in text:
        level += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, level)
        if level < 0:
            return None
    return deepest if level == 0 else None
