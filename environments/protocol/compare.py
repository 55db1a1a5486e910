"""Whether two observations say the same, when the same code ran twice.

Addresses, timings, colours, cell numbers and scratch folders differ from one run to the next and mean
nothing; all else counts.
"""

from __future__ import annotations

import re

from environments.types import Observation

_NOISE = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"0x[0-9a-fA-F]{4,}"), "0x…"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:e[-+]?\d+)? ?(?:ns|µs|μs|us|ms|s|min)\b(?! *[/*])"), "…s"),
    (re.compile(r"\b(In|Out) ?\[\d+\]"), r"\1[…]"),
    (re.compile(r"/[^\s'\"]*/errata-[^\s'\"]*"), "…"),
    (re.compile(r"\bafter \d+ seconds"), "after … seconds"),
)


def normalise(text: str) -> str:
    """`text` without what changes from one run of the same code to the next."""
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def same_observation(one: Observation, other: Observation) -> bool:
    """Two cells that were stopped by their limit agree, wherever each of them was at that moment."""
    if one.result and other.result and one.result.timed_out and other.result.timed_out:
        return True
    return normalise(one.text) == normalise(other.text)
