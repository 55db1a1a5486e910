"""A traceback as the teacher is shown it: its own code whole, frames of libraries as one line each.

IPython shows several lines of source for every frame; ten frames inside pandas cost a thousand tokens
a turn and say nothing about the teacher's code. The store keeps the traceback whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

_MOST_FRAMES = 4
# A blank line stands between frames and never within one, as source lines carry their numbers; the first
# frame follows the title without one.
_BETWEEN = re.compile(r"\n\n|(?<=\(most recent call last\))\n(?=File )")
_LIBRARY = re.compile(
    r"File (?:\S*/(?:site-packages|dist-packages|lib/python3\.\d+)/(?P<installed>[^\n]*)"
    r"|(?P<compiled>[^/~<\s][^\n]*))"  # Cython's frames have relative paths
)


def brief(traceback: str) -> str:
    """`traceback` with runs of library frames cut to their first and last headings."""
    return "\n\n".join(_parts(traceback))


def _parts(traceback: str) -> Iterator[str]:
    for is_library, parts in groupby(_BETWEEN.split(traceback), key=lambda part: bool(_LIBRARY.match(part))):
        if is_library:
            yield "\n".join(_headings(list(parts)))
        else:
            yield from parts


def _headings(frames: list[str]) -> Iterator[str]:
    headings = [
        f"File {match['installed'] or match['compiled']}" for frame in frames if (match := _LIBRARY.match(frame))
    ]
    if len(headings) <= _MOST_FRAMES:
        yield from headings
        return
    yield headings[0]
    yield f"… {len(headings) - _MOST_FRAMES + 1} more frames of libraries …"
    yield from headings[-(_MOST_FRAMES - 2) :]
