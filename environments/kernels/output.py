"""Text from a kernel, bounded while it arrives.

The head says how the output began and the tail holds the traceback, so the middle is what goes.
"""

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""Control sequences (colours, cursor), operating-system commands (titles, links), and lone escapes (ECMA-48)."""


def strip_ansi(text: str) -> str:
    return _ESCAPES.sub("", text)


class BoundedText:
    """Keeps the first and the last `limit // 2` characters of all that is added, and counts the rest."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head: list[str] = []
        self._room = self._half
        self._tail: list[str] = []
        self._held = 0
        self._dropped_before = 0

    def add(self, text: str, dropped: int = 0) -> None:
        """`dropped` characters were left out of the text's middle before it came here, by the same halves."""
        self._dropped_before += dropped
        head, rest = text[: self._room], text[self._room :]
        if head:
            self._head.append(head)
            self._room -= len(head)
        if rest:
            self._tail.append(rest)
            self._held += len(rest)
        # Cut now and then only, so that a million short lines do not each copy the tail.
        if self._held > 2 * self._half:
            self._cut()

    @property
    def dropped(self) -> int:
        return self._dropped_before + max(self._held - self._half, 0)

    def __str__(self) -> str:
        head, tail = "".join(self._head), "".join(self._tail)
        if not self.dropped:
            return head + tail
        return f"{head}\n[… {self.dropped:,} characters left out …]\n{tail[-self._half :]}"

    def _cut(self) -> None:
        tail = "".join(self._tail)
        self._dropped_before += len(tail) - self._half
        self._tail, self._held = [tail[-self._half :]], self._half
