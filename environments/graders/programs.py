"""What a program does with its inputs: run in a kernel of its own, apart from the trajectory's, test by test.

A program is hostile code. The kernel is given inputs only, and what comes back is output only: expected values
stay here, and are compared here. So nothing that a program does to its kernel can forge a verdict; it can spoil
its own tests, and then those are failed. `bench.py` is what runs inside.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

from environments.faults import KernelFault
from environments.kernels import KernelHost, KernelSession
from environments.types import CellResult, Json, clean

Ending: TypeAlias = Literal["well", "error", "time", "output", "crash", "untested"]
"""`error` is an exception or an exit status, `crash` a signal or the end of its whole session."""

BENCH = Path(__file__).with_name("bench.py")
BATCH = 1 << 20
"""Characters of inputs sent in one cell, unless a single one is longer."""
SAID = 400_000
"""Characters that a cell may print, well below what a host keeps."""
SLICE = 5.0
"""Seconds after which a cell begins no further test."""
SPARE = 5.0
"""Seconds that a cell may take besides."""
LONGEST_ERROR = 300

WHY: Mapping[Ending, str] = {
    "well": "", "error": "ended with an error", "time": "ran out of time", "output": "printed too much",
    "crash": "crashed", "untested": "was not run: the time for all tests was over",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a program may use up."""

    seconds: int = 6
    """CPU of one test."""
    wall: float = 30.0
    """Of one test, for a program that sleeps: far above `seconds`, so that a verdict hangs on no other load."""
    total: float = 150.0
    """Wall time of all tests. What is not run by then is failed."""
    memory: int = 768 << 20
    """Bytes of one process, besides what it is given from the start."""
    output: int = 8 << 20
    """Bytes that one test may print."""


@dataclass(frozen=True, slots=True)
class Program:
    source: str
    preamble: tuple[str, ...] = ()
    """Run before it: imports and helpers that a task gives."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one test."""

    ended: Ending
    output: str = ""
    errors: str = ""
    """The end of its stderr."""
    cpu: float = 0.0

    @property
    def why(self) -> str:
        """In a few words, where it did not end well: `ended with an error: ZeroDivisionError: division by zero`."""
        said = (self.errors.strip().splitlines() or [""])[-1][:LONGEST_ERROR]
        return f"{WHY[self.ended]}: {said}" if said and self.ended in ("error", "crash") else WHY[self.ended]

    def told(self) -> Mapping[str, Json] | None:
        """The result that a call was to give. None where there is none that can be read."""
        if self.ended != "well":
            return None
        try:
            result = json.loads(self.output)
        except (ValueError, RecursionError):
            return None
        return result if isinstance(result, dict) else None


CRASHED = Ran("crash")
UNTESTED = Ran("untested")


def on_stdin(text: str) -> Mapping[str, Json]:
    """A test in which the program reads `text`."""
    return {"stdin": text}


def calling(name: str, arguments: Sequence[Json], named: Mapping[str, Json] | None = None) -> Mapping[str, Json]:
    """A test in which a function is called, of values as `encoded` has them."""
    return {"call": [name, arguments, named or {}]}


class Bench:
    """Runs programs in a kernel of its own, and in a fresh one after each that broke it. Entered with `async with`."""

    def __init__(self, kernels: KernelHost, allowance: Allowance | None = None) -> None:
        self._kernels = kernels
        self.allowance = allowance or Allowance()
        self._end = time.monotonic() + self.allowance.total
        self._session: KernelSession | None = None

    @property
    def over(self) -> bool:
        """Whether the time for all tests is."""
        return time.monotonic() > self._end

    async def run(self, program: Program, tests: Sequence[Mapping[str, Json]]) -> list[Ran]:
        """What came of each test. Raises `KernelFault` where no kernel can be had."""
        results: list[Ran] = []
        doubted = False
        while len(results) < len(tests):
            if self.over:
                return [*results, *[UNTESTED] * (len(tests) - len(results))]
            batch = _batch(tests, len(results), alone=doubted)
            heard = await self._run(program, batch, sound=doubted)
            results += heard.results
            broken = not heard.sound and len(heard.results) < len(batch)
            unsure = broken and heard.cut_off and not doubted
            if broken and not unsure and not self.over:
                results.append(CRASHED)
            # What a kernel said last can be lost with it, so the first unheard of need not be the one that broke it;
            # nor need a broken connection be a program's doing. Once more, alone, in a kernel that is known to answer.
            doubted = unsure
        return results

    async def _run(self, program: Program, batch: Sequence[Mapping[str, Json]], *, sound: bool) -> _Heard:
        session = await self._opened()
        if sound:
            await session.run("pass")
        reports = _Reports(len(batch))
        code = f"go({_packed(program, batch, self.allowance)!r}, "
        while True:
            cell = f"{code}characters={SAID}, seconds={self._slice()!r})"
            try:
                result = await session.run(cell, self._slice() + self.allowance.wall + SPARE)
            except KernelFault:
                self._session = None
                await session.close()
                return _Heard(reports.results, sound=False, cut_off=True)
            reports.take(result)
            broken = result.failed or reports.garbled
            if broken or reports.spoilt:
                await self._drop()
            if broken or reports.spoilt or reports.done or self.over:
                return _Heard(reports.results, sound=not broken, cut_off=result.died and not result.timed_out)
            code = "go("

    def _slice(self) -> float:
        return round(min(SLICE, max(self._end - time.monotonic(), 0.0)), 3)

    async def _opened(self) -> KernelSession:
        if self._session is None:
            self._session = await self._kernels.session(setup=BENCH.read_text("utf-8"))
        return self._session

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._drop()


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a session said of a batch."""

    results: list[Ran]
    sound: bool
    """Whether it can be asked again."""
    cut_off: bool
    """Whether it may have said more."""


def _batch(tests: Sequence[Mapping[str, Json]], start: int, *, alone: bool) -> Sequence[Mapping[str, Json]]:
    end, size = start + 1, len(json.dumps(tests[start]))
    while end < len(tests) and not alone:
        size += len(json.dumps(tests[end]))
        if size > BATCH:
            break
        end += 1
    return tests[start:end]


def _packed(program: Program, batch: Sequence[Mapping[str, Json]], allowance: Allowance) -> str:
    told = {
        "program": {
            "source": program.source, "preamble": program.preamble, "seconds": allowance.seconds,
            "wall": allowance.wall, "memory": allowance.memory, "output": allowance.output,
        },
        "tests": batch,
    }  # fmt: skip
    return base64.b64encode(zlib.compress(json.dumps(told).encode(), 1)).decode()


class _Reports:
    """What a bench prints, read with suspicion: it stands where a candidate may have got to."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._open = ""
        self.results: list[Ran] = []
        self.done = self.garbled = self.spoilt = False

    def take(self, result: CellResult) -> None:
        lines = _whole_lines(result)
        try:
            for line in lines:
                self._take(line)
        except (ValueError, TypeError, KeyError, binascii.Error, zlib.error, RecursionError):
            self.garbled = True
        # A cell says something, and `done` only when all is said.
        silent, early = not lines, self.done and not self.spoilt and len(self.results) < self._expected
        self.garbled = self.garbled or silent or early or result.dropped > 0

    def _take(self, line: str) -> None:
        if line in ("done", "spoilt"):
            self.done, self.spoilt = self.done or line == "done", self.spoilt or line == "spoilt"
            return
        number, part, last = json.loads(line)
        if number != len(self.results) or number >= self._expected:
            raise ValueError("a report out of turn")
        self._open += part
        if last is True:
            self.results.append(self._read(self._open))
            self._open = ""

    def _read(self, report: str) -> Ran:
        inflating = zlib.decompressobj()
        told = json.loads(inflating.decompress(base64.b64decode(report), LONGEST_REPORT))
        if told["ended"] not in WHY or told["ended"] == "untested":
            raise ValueError("no such ending")
        return Ran(told["ended"], str(told["output"]), clean(str(told["errors"])), float(told["cpu"]))


LONGEST_REPORT = 64 << 20
"""Bytes: what a report of the longest output inflates to, each character escaped, and no more."""


def _whole_lines(result: CellResult) -> list[str]:
    """A cell that was ended in the middle of a line has not said it."""
    return [line for line in result.stdout.split("\n")[:-1] if line]
