"""Does a store that grows slow anything down? 10,000 and 100,000 ended trajectories of five turns.

`python -m benchmarks.growth [--json] [--quick]`. The stores are generated once and kept (`benchmarks/stores.py`).
Processes are measured as a user starts them, from their start: `errata collect` on a run of which all is finished but
8, until its first request reaches the teacher, and until that for the fourth turn of a trajectory that another process
left after three; the same on a run of 8 tasks beside that one; `errata runs` and `errata stats`; and the most memory
that each has held. The teacher never answers, so that what is in the store stays as it was.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.chaos_teacher import Asked, Script, arguments, read_books
from benchmarks.stores import BEGUN_TURNS, FOLDER, OPEN, Stored, stored

ROOT = Path(__file__).resolve().parent.parent
FULL, QUICK = (10_000, 100_000), (1_000, 10_000)
TIMES, QUICK_TIMES = 3, 1
LONGEST = 300.0
FAREWELL = 10.0
NEVER = 10_000.0

READING = "collect, its source read anew: to the first request"
STARTUP, RESUME = "collect: to the first request", "collect: to the next turn of one begun"
ELSEWHERE = "collect, another run of 8 tasks: to the first request"
AIMS = {STARTUP: 2.0, ELSEWHERE: 2.0, "runs": 1.0, "stats": 1.0}
"""Seconds, at every size."""


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    unit: str
    values: tuple[float, ...]
    """Of each size."""

    @property
    def ratio(self) -> float:
        return self.values[-1] / self.values[0]

    @property
    def aim(self) -> float | None:
        return AIMS.get(self.name)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    sizes = QUICK if asked.quick else FULL
    stores = [made(size) for size in sizes]
    measured = [measure(store, QUICK_TIMES if asked.quick else TIMES) for store in stores]
    figures = [
        Figure(name, unit_of(name), tuple(one[name] for one in measured))
        for name in measured[0]
    ]  # fmt: skip
    if asked.json:
        print(json.dumps(dict(metrics(sizes, figures))))
    else:
        print_table(sizes, figures)


def made(size: int) -> Stored:
    began = time.monotonic()
    store = stored(size)
    if time.monotonic() - began > 1:
        print(f"{size:,} trajectories were generated in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return store


def unit_of(name: str) -> str:
    return "MB" if "memory" in name else "s"


# -- measuring -------------------------------------------------------------------------------------


def measure(store: Stored, times: int) -> dict[str, float]:
    """Of several runs the middle one, so that none is cold."""
    found: dict[str, float] = {}
    measures: list[Callable[[], dict[str, float]]] = [
        partial(reading, store), partial(going_on, store), partial(beginning, store), partial(showing, store, "runs"),
        partial(showing, store, "stats"),
    ]  # fmt: skip
    for measured in measures:
        told = [measured() for _ in range(times)]
        found |= {name: median(one[name] for one in told) for name in told[0]}
    return found


def reading(store: Stored) -> dict[str, float]:
    """A start that has no list of the run's tasks to go by, as after a change of the source; it leaves one."""
    with closing(sqlite3.connect(store.folder / "errata.db")) as connection, connection:
        connection.execute("DELETE FROM task_lists")
    with collecting(store.command) as collector:
        return {READING: collector.until(lambda one: True).at - collector.began}


def going_on(store: Stored) -> dict[str, float]:
    with collecting(store.command) as collector:
        first = collector.until(lambda one: True)
        used = cpu(collector.process.pid)
        resumed = collector.until(lambda one: one.turn == BEGUN_TURNS)
        return {
            STARTUP: first.at - collector.began,
            "collect: CPU of it": used,
            RESUME: resumed.at - collector.began,
            "collect: memory": high_water(collector.process.pid),
        }


def beginning(store: Stored) -> dict[str, float]:
    """Of a run that has nothing to do with all that is stored beside it."""
    with collecting((*store.command, "--run", "another", "--limit", str(OPEN))) as collector:
        return {ELSEWHERE: collector.until(lambda one: True).at - collector.began}


@dataclass(frozen=True, slots=True)
class Collector:
    folder: Path
    process: subprocess.Popen[bytes]
    began: float

    def until(self, wanted: Callable[[Asked], bool]) -> Asked:
        """The first such request."""
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline and self.process.poll() is None:
            with (self.folder / "books.jsonl").open(encoding="utf-8") as books:
                # A line may be half written.
                found = [one for one in read_books(line for line in books if line.endswith("\n")) if wanted(one)]
            if found:
                return found[0]
            time.sleep(0.02)
        sys.exit(f"no such request came: {(self.folder / 'said.txt').read_text(encoding='utf-8')[-2000:]}")


@contextmanager
def collecting(command: Sequence[str]) -> Iterator[Collector]:
    with tempfile.TemporaryDirectory(prefix="growth-") as name, never_answering(Path(name)) as port:
        folder = Path(name)
        (folder / "t").mkdir()
        address = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "growth-bench"}
        began = time.monotonic()
        process = start(folder, command, address)
        try:
            yield Collector(folder, process, began)
        finally:
            process.kill()
            process.wait()
        wait_for_the_warden(folder / "t")


@contextmanager
def never_answering(folder: Path) -> Iterator[int]:
    """The port of a teacher that only writes down what it is asked."""
    script = Script(str(folder / "books.jsonl"), seconds=NEVER)
    command = [*arguments(script)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as teacher:
        assert teacher.stdout is not None
        yield int(teacher.stdout.readline())


def wait_for_the_warden(folder: Path) -> None:
    """What it has killed is not to be measured with the next one."""
    deadline = time.monotonic() + FAREWELL
    while [*folder.iterdir()] and time.monotonic() < deadline:
        time.sleep(0.05)


def showing(store: Stored, command: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        began = time.monotonic()
        process = start(Path(folder), (command, "--store", store.address), {})
        memory = 0.0
        while process.poll() is None:
            memory = max(memory, high_water(process.pid))
            time.sleep(0.005)
        seconds = time.monotonic() - began
        if process.returncode:
            sys.exit((Path(folder) / "said.txt").read_text(encoding="utf-8"))
    return {command: seconds, f"{command}: memory": memory}


def start(folder: Path, arguments: Sequence[str], more: dict[str, str]) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    # Compiled once, as installed packages are, whatever this environment says of bytecode.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    environ |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "t"), "PYTHONPYCACHEPREFIX": str(FOLDER / "bytecode")}
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "cli", *arguments], cwd=folder, env=environ | more, stdin=subprocess.DEVNULL,
            stdout=said, stderr=said,
        )  # fmt: skip


def cpu(pid: int) -> float:
    """Seconds of a living process, which say more than the clock does on a machine that is not idle."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def high_water(pid: int) -> float:
    """The most memory that a living process has held, in MB; 0 where that is not told.

    What the system tells of a child that has ended begins with what its parent held."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+)", status)
    return int(found[1]) / 1e3 if found else 0.0


# -- telling ---------------------------------------------------------------------------------------


def metrics(sizes: Sequence[int], figures: Sequence[Figure]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Beside ours stands the aim; apart, how much the largest store costs more than the smallest."""
    for figure in figures:
        for size, value in zip(sizes, figure.values, strict=True):
            ratio = value / figure.aim if figure.aim else None
            yield f"{figure.name}, {size:,} stored", {
                "ours": value, "other": figure.aim, "ratio": ratio, "unit": figure.unit
            }  # fmt: skip
        last, first = figure.values[-1], figure.values[0]
        yield f"{figure.name}, growth", {"ours": last, "other": first, "ratio": figure.ratio, "unit": figure.unit}


def print_table(sizes: Sequence[int], figures: Sequence[Figure]) -> None:
    print(f"{'trajectories stored':58}" + "".join(f"{size:>12,}" for size in sizes) + f"{'ratio':>9}   aim")
    for figure in figures:
        values = "".join(f"{value:12.2f}" for value in figure.values)
        missed = "  MISSED" if figure.aim and max(figure.values) > figure.aim else ""
        aim = f"{figure.aim:g} s{missed}" if figure.aim else ""
        print(f"{figure.name + ', ' + figure.unit:58}{values}{figure.ratio:9.2f}   {aim}")


if __name__ == "__main__":
    main()
