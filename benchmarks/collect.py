"""How fast whole collecting is, and what its CPU goes to: `errata collect`'s own path, with a teacher that takes 1 s.

`python -m benchmarks.collect [--json] [--quick] [--isolation LEVEL]`. A trajectory is five replies: four cells, one
of which fails, and the solution. With nothing but the teacher to wait for, it would take 5 s, and `n` at a time
would make 12 n a minute: that is the ideal. Everything is the real thing: kernels, a SQLite file (in TMPDIR, which
should be on a disk), the live display (drawn to nowhere), and a teacher in another process on the loopback, whose CPU
is not counted as ours, though it takes its share of the machine.

A run is measured from its first write to its last outcome, so it holds the burst at the start, in which all kernels
are wanted at once, and the last round, which gets emptier; the fork server stands before. What kernels cost is told
apart into start and end, which sessions that run an empty cell have cost before, and cells, which is what remains.
`benchmarks/cpu.py` says how CPU is attributed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cpu import OwnTime, children_time
from benchmarks.latency_teacher import MODEL, PROBLEM, REPLIES, sum_of_squares
from cli.progress import Progress
from collectors.config import RunConfig
from collectors.run import Collection
from collectors.teachers.teacher import Teacher, make_teacher
from environments.environment import Environment, Row, make_environment
from environments.faults import UsageError
from environments.kernels import KernelHost, choose_isolation
from environments.types import Json, Task
from filters.filter import assess
from store.store import Store, open_store

SECONDS = 1.0
"""A reply takes."""
MOST_IDLE = 32
"""Sessions at a time by which start and end are measured."""
FULL = dict.fromkeys((8, 16, 32, 64, 128), 4)
QUICK = {16: 2, 32: 2, 128: 1}
"""Trajectories at a time, and how many rounds of them."""
SETTLE = 0.5
"""Seconds after which the last kernels have been reaped."""

FLOOR_SHARE = {16: 0.9, 32: 0.6}
FLOOR_MINUTE = 400.0
FLOOR_OWN, FLOOR_ALL = 20.0, 60.0
"""CPU-ms a teacher call, of the collector's own process and of all."""

CLIENT, KERNELS, STORE, DISPLAY, GRADING = "teacher client", "kernels", "store", "display", "grading"
START, CELLS, TEACHER = "kernels' start and end", "cells", "the teacher"

MODULES = {
    "cli.progress": DISPLAY,
    "rich": DISPLAY,
    **dict.fromkeys(("collectors.teachers", "openai", "httpx2", "httpcore2", "h11", "anyio", "aiohttp"), CLIENT),
    **dict.fromkeys(("environments.kernels", "jupyter_client", "jupyter_core", "traitlets", "zmq"), KERNELS),
    "environments.graders": GRADING,
    **dict.fromkeys(("store", "sqlalchemy"), STORE),
}
THREADS = {
    "store writer": STORE,
    "asyncio_": KERNELS,  # the event loop's own threads remove their folders
}
KINDS = {"benchmarks.latency_teacher": TEACHER, "mathworker": GRADING}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. CPU is in milliseconds a trajectory."""

    concurrency: int
    trajectories: int
    seconds: float
    own: Mapping[str, float]
    others: Mapping[str, float]
    teacher: float

    @property
    def share(self) -> float:
        return len(REPLIES) * SECONDS * self.trajectories / self.concurrency / self.seconds

    @property
    def minute(self) -> float:
        return 60 * self.trajectories / self.seconds

    @property
    def ideal_minute(self) -> float:
        return 60 * self.concurrency / (len(REPLIES) * SECONDS)

    @property
    def own_call(self) -> float:
        return sum(self.own.values()) / len(REPLIES)

    @property
    def all_call(self) -> float:
        return self.own_call + sum(self.others.values()) / len(REPLIES)

    def parts(self) -> Iterator[tuple[str, float]]:
        yield from ((f"own process: {part}", ms) for part, ms in sorted(self.own.items()))
        yield from ((f"others: {part}", ms) for part, ms in sorted(self.others.items()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--isolation", default=None)
    asked = parser.parse_args()
    isolation = level(asked.isolation)
    prepare(os.environ)
    measured = asyncio.run(measure(isolation, QUICK if asked.quick else FULL))
    if asked.json:
        print(json.dumps(dict(metrics(measured))))
    else:
        print(f"isolation: {isolation}")
        print_table(measured)


def prepare(environment: MutableMapping[str, str]) -> None:
    """A display as on a terminal, and no proxy on the way to the loopback."""
    environment["FORCE_COLOR"] = "1"
    for name in [name for name in environment if name.lower().endswith("_proxy")]:
        del environment[name]


def level(asked: str | None) -> str:
    """The level in force: what is asked for, or the strongest there is."""
    try:
        return choose_isolation(asked)
    except UsageError as error:
        if asked is not None:
            raise
        print(f"no isolation: {error}", file=sys.stderr)
        return "none"


# -- measuring -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Spent:
    """What a piece of work has taken: seconds by the clock, and of CPU by part."""

    seconds: float = 0.0
    own: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)


async def measure(isolation: str, rounds: Mapping[int, int]) -> list[Measured]:
    async with opened(isolation) as bench:
        await bench.collect("warm", bench.at_once, 1, 1)
        return [await measure_one(bench, each, each * rounds[each]) for each in rounds]


async def measure_one(bench: Bench, concurrency: int, trajectories: int) -> Measured:
    sessions = min(concurrency, MOST_IDLE)
    async with spent() as idle:
        await bench.sessions(sessions)
    async with spent() as busy:
        await bench.collect(f"{concurrency} at a time", bench.teacher, trajectories, concurrency)
    own = told_apart(busy.own, trajectories, idle.own, sessions)
    others = told_apart(busy.others, trajectories, idle.others, sessions)
    return Measured(concurrency, trajectories, busy.seconds, own, others, teacher=others.pop(TEACHER, 0.0))


@asynccontextmanager
async def spent() -> AsyncIterator[Spent]:
    found, before = Spent(), children_time(KINDS, KERNELS)
    began = time.perf_counter()
    with OwnTime(MODULES, THREADS, KERNELS) as own:
        yield found
        found.seconds = time.perf_counter() - began
        await asyncio.sleep(SETTLE)
    found.own = own.seconds
    found.others = {part: seconds - before.get(part, 0.0) for part, seconds in children_time(KINDS, KERNELS).items()}


def told_apart(
    busy: Mapping[str, float], trajectories: int, idle: Mapping[str, float], sessions: int
) -> dict[str, float]:
    """Milliseconds a trajectory by part; the kernels' in two, by what sessions that ran an empty cell have taken."""
    found = {part: 1_000 * seconds / trajectories for part, seconds in busy.items()}
    kernels = found.pop(KERNELS, 0.0)
    start = min(1_000 * idle.get(KERNELS, 0.0) / sessions, kernels)
    return {START: start, CELLS: kernels - start} | found


# -- what is measured ----------------------------------------------------------------------------


class WatchedProgress(Progress):
    """The display is drawn to nowhere, so what it has warned of is kept."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        self.warnings: list[str] = []

    def warned(self, message: str) -> None:
        self.warnings.append(message)
        super().warned(message)


@dataclass(frozen=True, slots=True)
class Bench:
    """What `errata collect` opens for a run."""

    environment: Environment
    teacher: Teacher
    at_once: Teacher
    """Answers without delay."""
    store: Store
    kernels: KernelHost
    progress: WatchedProgress

    async def collect(self, run: str, teacher: Teacher, trajectories: int, concurrency: int) -> None:
        config = RunConfig("math", (teacher.name,))
        collection = Collection(
            run, config, store=self.store, environment=self.environment, tasks=self.tasks(trajectories),
            teachers=[teacher], kernels=self.kernels, observer=self.progress, assess=assess,
        )  # fmt: skip
        solved = self.progress.tally.solved
        await collection.collect(concurrency)
        if self.progress.tally.solved - solved != trajectories:
            sys.exit(
                "\n".join([f"{run}: not all were solved: {self.progress.tally.as_json()}", *self.progress.warnings])
            )

    def tasks(self, count: int) -> list[Task]:
        numbers = range(100, 100 + count)
        return [self.environment.task(Row(task_row(n), "generated")) for n in numbers]

    async def sessions(self, count: int) -> None:
        """Start and end as many sessions as are to be alive at a time, with an empty cell to know that they are."""

        async def session() -> None:
            async with await self.kernels.session(preload=self.environment.preload) as session:
                await session.run("")

        await asyncio.gather(*(session() for _ in range(count)))


def task_row(n: int) -> dict[str, Json]:
    return {"id": n, "problem": PROBLEM.format(n=n), "answer": str(sum_of_squares(n))}


@asynccontextmanager
async def opened(isolation: str) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="errata-bench-"))
        port = stack.enter_context(latency_teacher())
        teacher, at_once = (make_teacher(f"openai:{MODEL}{delay}@http://127.0.0.1:{port}/v1") for delay in (SECONDS, 0))
        stack.push_async_callback(teacher.aclose)
        stack.push_async_callback(at_once.aclose)
        store = await stack.enter_async_context(open_store(f"sqlite:///{folder}/errata.db", create=True))
        environment = await stack.enter_async_context(make_environment("math"))
        kernels = await stack.enter_async_context(KernelHost(isolation))
        stack.enter_context(drawn_to_nowhere())
        yield Bench(environment, teacher, at_once, store, kernels, stack.enter_context(WatchedProgress("bench")))


@contextmanager
def latency_teacher() -> Iterator[int]:
    """Its port."""
    command = [sys.executable, "-m", "benchmarks.latency_teacher"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def drawn_to_nowhere() -> Iterator[None]:
    """The display is drawn as on a terminal, and nobody sees it."""
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


# -- telling -------------------------------------------------------------------------------------


def metrics(measured: Sequence[Measured]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Beside ours stand the ideal, the floors of the design, or, for a part of the CPU, all of it."""
    for each in measured:
        at = f"at {each.concurrency}"
        yield f"share of the ideal {at}", row(each.share, FLOOR_SHARE.get(each.concurrency, 1.0), "share")
        yield f"trajectories {at}", row(each.minute, each.ideal_minute, "a minute")
        yield f"CPU of the collector's own process a teacher call {at}", row(each.own_call, FLOOR_OWN, "ms")
        yield f"CPU of all processes a teacher call {at}", row(each.all_call, FLOOR_ALL, "ms")
        total = each.all_call * len(REPLIES)
        for part, ms in each.parts():
            yield f"CPU a trajectory {at}, {part}", row(ms, total, "ms")
    yield "trajectories a minute, saturated", row(max(each.minute for each in measured), FLOOR_MINUTE, "a minute")


def row(ours: float, other: float, unit: str) -> dict[str, Any]:
    return {"ours": ours, "other": other, "ratio": ours / other, "unit": unit}


def print_table(measured: Sequence[Measured]) -> None:
    def line(name: str, values: Iterable[float], form: str = "8.1f") -> None:
        print(f"{name:48}" + "".join(f"{value:{form}}" for value in values))

    line("trajectories at a time", (each.concurrency for each in measured), "8d")
    line("share of the ideal", (each.share for each in measured), "8.2f")
    line("trajectories a minute", (each.minute for each in measured), "8.0f")
    line("CPU-ms a teacher call, the collector's process", (each.own_call for each in measured))
    line("CPU-ms a teacher call, all processes", (each.all_call for each in measured))
    print("CPU-ms a trajectory")
    for part in dict.fromkeys(part for each in measured for part, _ in each.parts()):
        line(f"  {part}", (dict(each.parts()).get(part, 0.0) for each in measured))
    line("  apart: the teacher", (each.teacher for each in measured))


if __name__ == "__main__":
    main()
