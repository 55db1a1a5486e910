"""Where CPU goes: this process's by part of the program, its children's by kind, those that have ended included.

A profiler would cost more than what is looked for. The main thread is sampled instead, each few milliseconds
of CPU: a sample counts for the part whose module stands innermost in the stack, and the thread's own clock is shared
out by the samples. The other threads are not sampled: each works for one part alone, so its clock is the part's.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import psutil

INTERVAL = 0.005
"""Seconds of CPU of the whole process between samples."""

REST = "the rest"


class OwnTime:
    """CPU seconds of this process by part, for as long as it is entered.

    `modules` and `threads`: how their names begin → the part they belong to. A thread that is not named there belongs
    to the part that it is found in at the end, and one that runs no Python to `native`.
    """

    def __init__(self, modules: Mapping[str, str], threads: Mapping[str, str], native: str) -> None:
        self._modules = modules
        self._named = threads
        self._native = native
        self._known: dict[str, str | None] = {}
        self._samples: Counter[str] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def __enter__(self) -> Self:
        self._threads = _threads()
        self._main = self._last = time.thread_time()
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, signal.SIG_IGN)
        spent = time.thread_time() - self._main
        for part, count in self._samples.items():
            self.seconds[part] += spent * count / self._samples.total()
        for number, seconds in _threads().items():
            self.seconds[self._part_of_thread(number)] += seconds - self._threads.get(number, 0.0)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        # The timer runs on every thread's CPU; what another thread has used up is not to be counted here.
        now = time.thread_time()
        if now - self._last >= INTERVAL / 2:
            self._last = now
            self._samples[self._part(frame)] += 1

    def _part(self, frame: FrameType | None) -> str:
        while frame is not None:
            if part := self._part_of_module(frame.f_globals.get("__name__", "")):
                return part
            frame = frame.f_back
        return REST

    def _part_of_module(self, name: str) -> str | None:
        if name not in self._known:
            self._known[name] = _found(f"{name}.", {f"{module}.": part for module, part in self._modules.items()})
        return self._known[name]

    def _part_of_thread(self, number: int) -> str:
        thread = next((thread for thread in threading.enumerate() if thread.native_id == number), None)
        if thread is None:
            return self._native
        return _found(thread.name, self._named) or self._part(sys._current_frames().get(thread.ident or 0))


def _found(name: str, parts: Mapping[str, str]) -> str | None:
    return next((part for beginning, part in parts.items() if name.startswith(beginning)), None)


def _threads() -> dict[int, float]:
    """CPU seconds of every thread but this one, by its number."""
    own = threading.get_native_id()
    return {
        thread.id: thread.user_time + thread.system_time for thread in psutil.Process().threads() if thread.id != own
    }


def children_time(kinds: Mapping[str, str], other: str) -> dict[str, float]:
    """CPU seconds of all that this process has started and all that those have, by kind.

    `kinds`: pieces of command lines → kind. A process that has ended is counted with the one that reaped it.
    """
    own = psutil.Process().cpu_times()
    found = defaultdict(float, {other: own.children_user + own.children_system})
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            line = " ".join(Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace").split("\0"))
            kind = next((kind for piece, kind in kinds.items() if piece in line), other)
            found[kind] += sum(process.cpu_times()[:4])
    return found
