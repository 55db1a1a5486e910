"""Where the answer stands in what a teacher put between `<solution>` tags.

Teachers are told to give the answer alone and often write a sentence around it. What is taken out is
decided by position only, never by trying several parts against the reference: a solution means one thing.
"""

from __future__ import annotations

import re

_LEAD_IN = re.compile(
    r"\b(?:answer|solution|result)\b[^.\n:=$\\]{0,60}?"
    r"(?:\bis\b|\bare\b|:|=)(?:\s+(?:equal to|therefore|thus)\b)?[:\s]*",
    re.IGNORECASE,
)
_VERB = re.compile(r"\b(?:is|are|equals|be)\b(?:\s+(?:equal to|exactly|therefore|thus)\b)?[:\s]*")
_COMMAND = re.compile(r"\\[A-Za-z]+|\\?\$[^$]*\$")
_WORD = re.compile(r"[A-Za-z]{2,}")
_NUMBER = re.compile(r"(?<![\w.])-?\$?\d[\d,]*(?:\.\d+)?%?(?!\w)")
_FORMULA = re.compile(r"[\\=^*+/<>()\[\]{}|]")
_HEDGED = re.compile(
    r"\b(?:not|no|never|more|less|fewer|greater|least|most|about|approximately|around|nearly|almost|over|under|between"
    r"|than|or|and)\b|n't\b",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*")


def last_boxed(text: str) -> str | None:
    r"""What the last `\boxed{…}`, `\fbox{…}` or `\boxed 5` of `text` holds; None without a whole one."""
    found = None
    for match in _BOX.finditer(text):
        found = match
    if found is None:
        return None
    rest = text[found.end() :]
    if not rest.startswith("{"):
        bare = re.match(r"[^\s$.,;]+", rest)
        return bare[0] if bare else None
    end = closing_brace(rest)
    return None if end is None else rest[1:end]


def closing_brace(text: str) -> int | None:
    """The index of the brace that closes the one `text` starts with; escaped braces do not count."""
    depth, escaped = 0, False
    for index, letter in enumerate(text):
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter in "{}":
            depth += 1 if letter == "{" else -1
            if depth == 0:
                return index
    return None


def unadorned(solution: str) -> str:
    """`solution` without markdown emphasis, code ticks and an opening `The answer is`."""
    text = _plain(solution)
    return _plain(_after_last(_LEAD_IN, text) or text)


def math_answer(solution: str) -> str:
    """The last box; else what follows the last `answer is`; else, in a sentence, what follows its last verb.

    A sentence without such a verb that names one number, and no comparison, gives that number. Several
    lines that each stand alone are several values.
    """
    boxed = last_boxed(solution)
    if boxed is not None:
        return boxed
    text = unadorned(solution)
    line = text.splitlines()[-1] if text else ""
    if len(_WORD.findall(_COMMAND.sub(" ", line))) >= 2:
        text = _after_last(_VERB, line) or _only_number(line) or text
    text = _listed(text)
    return re.sub(r"(?<=\S)\.$", "", text.strip()).removeprefix("=").strip()


def _only_number(line: str) -> str | None:
    """Of a sentence that begins with a word: `144 square inches` is a number with its unit already."""
    numbers = _NUMBER.findall(line) if line[:1].isalpha() else []
    return str(numbers[0]) if len(numbers) == 1 and not _FORMULA.search(line) and not _HEDGED.search(line) else None


def _listed(text: str) -> str:
    """Lines as a list, unless one of them goes on in the next."""
    lines = [line.strip().rstrip(",") for line in text.splitlines() if line.strip()]
    alone = all(line.count(one) == line.count(other) for line in lines for one, other in ("()", "[]", "{}"))
    return ", ".join(lines) if alone and "\\begin" not in text else text


def _plain(text: str) -> str:
    text = text.strip()
    fenced = re.fullmatch(r"```\w*\n(.*?)\n?```", text, re.DOTALL)
    text = fenced[1].strip() if fenced else text
    for opening, closing in (("$$", "$$"), (r"\[", r"\]")):
        inner = text.removeprefix(opening).removesuffix(closing)
        if text == f"{opening}{inner}{closing}" and opening not in inner and closing not in inner:
            text = inner.strip()
    text = re.sub(r"\*\*(?=\S)([^*\n]+)(?<=\S)\*\*(?!\w)", r"\1", text)
    text = re.sub(r"`([^`\n]+)`", r"\1", text)
    return text.strip()


def _after_last(pattern: re.Pattern[str], text: str) -> str | None:
    end = None
    for match in pattern.finditer(text):
        end = match.end()
    return text[end:].strip() or None if end is not None else None
