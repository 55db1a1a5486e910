"""Short answers in words, as HotpotQA's official script compares them: exact match and F1 after normalisation.

The strict rule decides. It is exact match made safe: the official normalisation drops every sign, which makes 3.5 and
35 the same, so the numbers in both must agree as well. The rule of the published data set is there for comparison.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from environments.graders.answers import unadorned
from environments.types import Grade

MAX_SOLUTION = 2_000
"""Characters of a solution that are read at all."""
_CLOSED = ("yes", "no", "noanswer")
"""Answers that words around them do not soften: F1 gives nothing for half of them."""
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_SIGNS = str.maketrans(
    dict.fromkeys("‘’´`", "'") | dict.fromkeys("“”„«»", '"') | dict.fromkeys("‐‑‒–—−", "-") | {"\xa0": " "}
)
_NUMBER = re.compile(r"(?:(?<![\w.)-])-(?=\d))?\d+(?:[.,]\d+)*")
_TOLERANCE = 0.05


def normalise(answer: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces: the official script's own order."""
    plain = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", plain).split())


def exact_match(prediction: str, gold: str) -> bool:
    return normalise(prediction) == normalise(gold)


def f1(prediction: str, gold: str) -> float:
    """Of the words in both, counted with their repetitions."""
    found, wanted = normalise(prediction), normalise(gold)
    if found != wanted and (found in _CLOSED or wanted in _CLOSED):
        return 0.0
    common = sum((Counter(found.split()) & Counter(wanted.split())).values())
    if not common:
        return 0.0
    precision, recall = common / len(found.split()), common / len(wanted.split())
    return 2 * precision * recall / (precision + recall)


def strict(references: Sequence[str], solution: str) -> Grade:
    """Exact match with one of the references, typographic signs levelled. The score is the best F1."""
    if len(solution) > MAX_SOLUTION:
        return Grade(correct=False, score=0.0, note=f"the solution is longer than {MAX_SOLUTION:,} characters")
    answer = _levelled(unadorned(solution))
    golds = [_levelled(reference) for reference in references]
    correct = any(_same(answer, gold) for gold in golds)
    return Grade(correct=correct, score=1.0 if correct else max((f1(answer, gold) for gold in golds), default=0.0))


def official(references: Sequence[str], solution: str) -> Grade:
    """As the official script scores a prediction: exact match, and F1 as the score."""
    correct = any(exact_match(solution, reference) for reference in references)
    return Grade(correct=correct, score=max((f1(solution, reference) for reference in references), default=0.0))


def original(references: Sequence[str], solution: str) -> Grade:
    """The rule the published data set was made by: within 5 % of a number, or else holding the reference anywhere.

    So 1985 passes for 1952, `unknown` for `no`, and no negative number passes at all.
    """
    correct = any(_original(reference.lower(), solution.strip().lower()) for reference in references)
    return Grade(correct=correct, score=float(correct))


RULES: Mapping[str, Callable[[Sequence[str], str], Grade]] = {
    "strict": strict,
    "official": official,
    "original": original,
}


def _original(reference: str, answer: str) -> bool:
    try:
        wanted, found = float(reference), float(answer)
    except ValueError:
        return reference in answer
    return abs(wanted - found) <= _TOLERANCE * wanted


def _same(answer: str, gold: str) -> bool:
    if not normalise(gold):  # a title such as `The The` or `!!!`, of which nothing would be left
        return answer.casefold().strip() == gold.casefold().strip()
    return exact_match(answer, gold) and _numbers(answer) == _numbers(gold)


def _numbers(text: str) -> list[str]:
    """As written, but for the commas between thousands."""
    return [number.replace(",", "") for number in _NUMBER.findall(text)]


def _levelled(text: str) -> str:
    return unicodedata.normalize("NFC", text.translate(_SIGNS)).strip()
