"""Whether two observations say the same, when the same code ran twice.

Addresses, colours, cell numbers and scratch folders differ from one run to the next and mean nothing. What a
clock or the machine has said means nothing either, but looks like any other number: it is passed over where
the code has asked them, since "6 min" may as well be an answer. All else counts.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TypeAlias

from environments.protocol.render import OBSERVATION, cell_text
from environments.types import CellResult, Observation

COMPARE_VERSION = 1
"""Raise it with every change of what is the same: what an older version has verified is verified anew."""

_Noise: TypeAlias = tuple[tuple[re.Pattern[str], str], ...]

_PLAIN: _Noise = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"0x[0-9a-fA-F]{4,}"), "0x…"),
    (re.compile(r"\b(In|Out) ?\[\d+\]"), r"\1[…]"),
)

_NOISE: _Noise = (
    *_PLAIN,
    (re.compile(r"\b\d+(?:\.\d+)?(?:e[-+]?\d+)? ?(?:ns|µs|μs|us|ms|s|min)\b(?! *[/*])"), "…s"),
    (re.compile(r"/[^\s'\"]*/errata-[^\s'\"]*"), "…"),
    (re.compile(r"\bafter \d+ seconds"), "after … seconds"),
)


def normalise(text: str) -> str:
    """`text` without what changes from one run of the same code to the next, by its looks alone."""
    return _without(text, _NOISE)


def same_observation(one: Observation, other: Observation, cells: Sequence[str] | None = None) -> bool:
    """`cells` are all of the session's, this one the last; without them, what looks like a timing is taken for one.

    Two cells that were stopped by their limit agree, and two that died, wherever each of them was at that moment.
    """
    results = [result for result in (one.result, other.result) if result]
    if len(results) == 2 and (all(r.timed_out for r in results) or all(r.died for r in results)):
        return True
    noise = _NOISE if cells is None else _ALWAYS + tuple(_heard(cells))
    if _without(one.text, noise) == _without(other.text, noise):
        return True
    # Where a long output is cut depends on the length of what means nothing.
    return len(results) == 2 and _last(one, noise) == _last(other, noise) and _same_whole((one, other), noise)


def apart(one: str, other: str, width: int = 60) -> tuple[str, str]:
    """The first lines in which two texts differ, about `width` characters of them from where they do."""
    forms = ((normalise(one), normalise(other)), (one, other))
    pairs = [pair for form in forms for pair in zip_longest(*map(_lines, form), fillvalue="")]
    said, says = next((pair for pair in pairs if pair[0] != pair[1]), (one, other))
    start = next((n for n, pair in enumerate(zip_longest(said, says)) if pair[0] != pair[1]), 0)
    start = max(0, start - width // 3) if max(len(said), len(says)) > width else 0
    return _cut(said, start, width), _cut(says, start, width)


# -- what means nothing --------------------------------------------------------------------------------

_LEFT_OUT = re.compile(r"\n\[… ([\d,]+) characters left out …\]\n")
_SECONDS = r"(?:ns|µs|μs|us|ms|s|secs?|seconds?|min|minutes?)\b"
_NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"

_ALWAYS: _Noise = (
    *_PLAIN,
    # The folder alone: the names of files in it are the code's.
    (re.compile(r"/[^\s'\"]{0,100}/errata-\w{1,20}/\d+/(?:scratch|tmp)"), "…"),
    (re.compile(r"/home/user\b"), "…"),
    (re.compile(r"\btmp[a-z0-9_]{8}\b"), "tmp…"),
    (re.compile(r"/ipykernel_\d+/\d+\.py"), "/ipykernel_…"),
    (re.compile(r"\bTask-\d+"), "Task-…"),
    (re.compile(r"\b(started(?: daemon)?) \d+"), r"\1 …"),
    (re.compile(r"\bstopped after \d+ seconds"), "stopped after … seconds"),
    # unittest, doctest and others tell unasked how long they took.
    (re.compile(r"\bin \d+\.\d+ ?s(?:econds)?\b"), "in …s"),
)

_OF_CLOCKS: _Noise = (
    (re.compile(r"\b[\d,]{1,20} loops? each"), "… loops each"),
    (re.compile(r"The slowest run took [^\n]*(?:\n|$)"), ""),
    (re.compile(r"\[\d+:\d+<[^\]]{0,100}\]"), "[…]"),
    (re.compile(r"datetime\.(?:datetime|timedelta|date|time)\([^()]*\)"), "datetime(…)"),
    (re.compile(r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d (?:[A-Z]+ )?\d{4}"), "…"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "…"),
    (re.compile(r"[T ]?\b\d+:\d\d:\d\d(?:[.,]\d+)?\b"), "…"),
    (re.compile(r"\b1[5-9]\d{8}(?:\d{9}|\.\d+)?\b"), "…"),
    (re.compile(rf"\b{_NUMBER} ?{_SECONDS}"), "…s"),
    # 1min 2s, and 59 s another time.
    (re.compile(r"…s(?: …s)+"), "…s"),
)

_BARE_TIMES: _Noise = ((re.compile(r"\b\d+\.\d{4,}(?:e[-+]?\d+)?\b|\b\d+(?:\.\d+)?e-\d+\b"), "…"),)

_OF_ADDRESSES: _Noise = ((re.compile(r"-?\b\d{12,20}\b"), "…"),)

_OF_MACHINES: _Noise = (
    (re.compile(r"\b[A-Z][a-z]{2} +\d+ +(?:\d\d:\d\d|\d{4})\b"), "…"),
    (re.compile(rf"\b{_NUMBER}\b"), "…"),
    (re.compile(r" {2,}"), " "),
)

_ASKS_CLOCK = re.compile(
    r"\b(?:time|now|today|utcnow|ctime|localtime|gmtime)(?:_ns)?\(|%%?time"
    r"|\b(?:perf_counter|monotonic|process_time)(?:_ns)?\b|\b(?:timeit|tqdm|asctime|cProfile)\b"
)
_ASKS_CHANCE = re.compile(r"rand|rng|shuffle|sample|choice|secrets|uuid|seed")
_ASKS_ADDRESS = re.compile(r"\b(?:id|hash)\(|\bget_(?:ident|native_id)\b")
_ASKS_MACHINE = re.compile(
    r"\b(?:getp?pid|psutil|getrusage|tracemalloc|getloadavg|os\.stat|st_mtime|getuid)\b"
    r"|^\s*!\s*(?:ls|ps|df|du|free|top|date|uptime|stat|id)\b",
    re.MULTILINE,
)


def _heard(cells: Sequence[str]) -> Iterator[tuple[re.Pattern[str], str]]:
    """What the code can have been told that is another each time."""
    code = "\n".join(cells)
    # Any number may be one of these: only where they have just been asked for.
    if cells and _ASKS_MACHINE.search(cells[-1]):
        yield from _OF_MACHINES
    if _ASKS_CLOCK.search(code):
        yield from _OF_CLOCKS
        # A number that was drawn by the clock looks like one that the clock has told, and counts.
        yield from () if _ASKS_CHANCE.search(code) else _BARE_TIMES
    if _ASKS_ADDRESS.search(code):
        yield from _OF_ADDRESSES


def _without(text: str, noise: _Noise) -> str:
    for pattern, replacement in noise:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in _lines(text))


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def _last(observation: Observation, noise: _Noise) -> str:
    """The line after a cell's output: what is left to the teacher."""
    return _without(observation.text, noise).rpartition("\n")[2]


def _same_whole(observations: tuple[Observation, Observation], noise: _Noise) -> bool:
    wholes = [_whole(one.text, one.result) for one in observations if one.result]
    return None not in wholes and len({_without(whole or "", noise) for whole in wholes}) == 1


def _whole(text: str, result: CellResult) -> str | None:
    """The output that the text was cut from; None where it was not cut, or not from this."""
    cut, whole = _LEFT_OUT.search(text), cell_text(result, sys.maxsize)
    shown = cell_text(result, len(whole) - int(cut[1].replace(",", ""))) if cut else ""
    return whole if cut and text.startswith(OBSERVATION + shown) else None


def _cut(text: str, start: int, width: int) -> str:
    shown = text[start : start + width]
    return f"{'…' if start else ''}{shown}{'…' if len(text) > start + width else ''}"
