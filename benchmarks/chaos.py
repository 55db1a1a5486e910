"""What `errata collect` keeps and what it buys when everything around it fails.

`python -m benchmarks.chaos [--json] [--quick] [--only kills,pair,disk,faults,budget]`. Real collectors, isolated as
users have them, against `benchmarks/chaos_teacher.py`, which counts every request by task and turn and knows when its
answer had been sent whole. Exit code 1 when something is not as it must be.

- kills: `kill -9` at random moments, also while it starts and goes on; then the same command again, until all is done.
- pair: the same with two collectors on one store.
- disk: a store on a file system that fills up, and is made larger (needs root).
- faults: every fault of a teacher that there is, each alone and all mixed.
- budget: a cap of a dollar, two collectors of 64 calls at a time, kills, answers cut short; a trigger in the store
  audits every write to the budget.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.chaos_stage import (
    TURNS,
    Bench,
    Finding,
    Stage,
    adopt_orphans,
    bought,
    compared,
    harassed,
    left_behind,
    moments,
    orphans,
    repeats,
    shown,
    two_owners,
)
from benchmarks.chaos_teacher import CUT, CUT_CHUNKED, FAULTS, Asked
from store.store import open_store

MB = 2**20
DISK_ROOM, DISK_LATER = 70 * MB, 400 * MB
"""Errata buys nothing more when less than 64 MB are left."""
FLOOD_ROOM = 128 * MB
DISK_FAT = 80_000
"""Bytes."""
LONGEST_WAIT = "1"
"""Seconds."""
FAULT_SHARE, MIXED_SHARE = 0.2, 0.06
PRICE = Decimal(1), Decimal(5)
"""Dollars a million tokens: a task comes to one cent, and a call at its worst to more than half of one."""
MOST_TOKENS = 200
AFFORDABLE = 400
"""Replies for a dollar, about."""
BUDGET_AT_ONCE, BUDGET_SECONDS = 128, 0.5
BUDGET_FAULTS = (CUT, CUT_CHUNKED, "429", "500")
"""What was cut short has been sold."""


@dataclass(frozen=True, slots=True)
class Size:
    tasks: int
    kills: int
    at_once: int
    disk_tasks: int
    fault_tasks: int
    faults: tuple[str, ...]
    """Those that are tried alone."""
    budget_kills: int
    """Of each of two collectors."""
    cap: Decimal
    """Dollars; less than the tasks would cost."""
    seconds: float
    """An answer takes."""


FULL = Size(200, 20, 16, 60, 24, FAULTS, 2, Decimal(1), 0.3)
QUICK = Size(10, 1, 8, 22, 8, (), 1, Decimal("0.12"), 0.05)


def main() -> None:
    asked = parsed()
    adopt_orphans()
    size = asked.size
    bench = Bench(asked.isolation, asked.seed, size.at_once, size.seconds)
    found: list[Finding] = []
    for part in asked.only:
        found += told(PARTS[part](bench, size), quiet=asked.json)
    if asked.json:
        print(json.dumps({f"{one.part}: {one.metric}": row(one) for one in found}))
    else:
        print_table(found)
    sys.exit(not all(one.holds for one in found))


@dataclass(frozen=True, slots=True)
class Options:
    json: bool
    only: tuple[str, ...]
    size: Size
    isolation: str
    seed: int


def parsed() -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--isolation", default="auto")
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    only = tuple(given.only.split(","))
    if unknown := set(only) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}. There are: {', '.join(PARTS)}.")
    size = QUICK if given.quick else FULL
    sizes = {name: value for name in ("tasks", "kills") if (value := getattr(given, name)) is not None}
    size = replace(size, **sizes)
    # Those tasks' undisturbed rows are the others' too.
    size = replace(size, fault_tasks=min(size.fault_tasks, size.tasks))
    return Options(given.json, only, size, given.isolation, given.seed)


def told(found: Iterator[Finding], *, quiet: bool) -> Iterator[Finding]:
    """A part may take minutes: what is known is told on the way."""
    for one in found:
        if not quiet:
            print(f"{one.part}: {one.metric}: {shown(one.value)} {one.unit}", file=sys.stderr)
        yield one


# -- kills -----------------------------------------------------------------------------------------


def killed(bench: Bench, size: Size) -> Iterator[Finding]:
    with bench.stage(size.tasks) as stage:
        code = harassed(stage, moments(bench.seed, size.kills, size.tasks * TURNS))
        yield Finding("kills", "exit code at last", code, must=0)
        yield from bought("kills", stage)
        yield from compared("kills", stage, bench.reference(size.tasks))
        yield from left_behind("kills", stage)


def paired(bench: Bench, size: Size) -> Iterator[Finding]:
    with bench.stage(size.tasks) as stage:
        codes = both(stage, f"{bench.seed} pair", (size.kills + 1) // 2, size.tasks * TURNS)
        yield Finding("pair", "exit codes at last", max(codes), must=0)
        yield from bought("pair", stage)
        yield Finding("pair", "trajectories with two owners", two_owners(stage), must=0)
        yield from compared("pair", stage, bench.reference(size.tasks))
        yield from left_behind("pair", stage)


def both(stage: Stage, seed: str, kills: int, answers: int, *more: str) -> list[int]:
    """Two collectors at once, each killed so many times; their exit codes at last."""
    plans = [moments(f"{seed} {name}", kills, answers) for name in "ab"]
    with ThreadPoolExecutor(2) as hands:
        return [*hands.map(lambda plan: harassed(stage, plan, *more), plans)]


# -- a disk that fills up --------------------------------------------------------------------------


def filled(bench: Bench, size: Size) -> Iterator[Finding]:
    """By the collector's own rows, little by little; then by another's file, at once and to the last byte."""
    with small_disk(DISK_ROOM) as disk:
        if disk is None:
            yield Finding("disk", "skipped: nothing can be mounted here", 1)
            return
        yield from growing_full(bench, size, disk)
    with small_disk(FLOOD_ROOM) as disk:
        assert disk is not None
        yield from flooded(bench, size, disk)


def growing_full(bench: Bench, size: Size, disk: Path) -> Iterator[Finding]:
    tasks = size.disk_tasks
    with bench.stage(tasks, store=disk / "errata.db", fat=DISK_FAT) as stage:
        code, room = watched(stage, disk)
        words = stage.collectors[-1].words()
        yield Finding("disk", "exit code on a full disk", code, must=1)
        yield Finding("disk", "it did not say why", int("nothing more is bought" not in words), must=0)
        yield Finding("disk", "least room there was", round(room / MB), "MB")
        yield Finding("disk", "it filled the disk", int(room < MB), must=0)
        yield Finding("disk", "replies sold and not stored", len(lost(stage)), must=0)
        mount(disk, f"remount,size={DISK_LATER}")
        yield Finding("disk", "exit code once there is room", stage.start().wait(), must=0)
        yield from bought("disk", stage)
        yield from compared("disk", stage, bench.reference(tasks, DISK_FAT))
        yield from left_behind("disk", stage)


def flooded(bench: Bench, size: Size, disk: Path) -> Iterator[Finding]:
    part, tasks = "disk, filled by another", size.fault_tasks
    with bench.stage(tasks, store=disk / "errata.db") as stage:
        collector = stage.start()
        while collector.runs and stage.sent() < tasks * TURNS // 4:
            time.sleep(0.02)
        fill(disk / "ballast")
        yield Finding(part, "exit code on a full disk", collector.wait(), must=1)
        yield Finding(part, "it did not say why", int("run the same command again" not in collector.words()), must=0)
        (disk / "ballast").unlink()
        yield Finding(part, "replies sold and not stored", len(lost(stage)), must=stage.at_once, most=True)
        ((sound,),) = stage.query("PRAGMA integrity_check")
        yield Finding(part, "the store is damaged", int(sound != "ok"), must=0)
        yield Finding(part, "exit code once there is room", stage.start().wait(), must=0)
        yield from compared(part, stage, bench.reference(size.tasks))
        yield from left_behind(part, stage)


@contextmanager
def small_disk(size: int) -> Iterator[Path | None]:
    """A file system of so many bytes; None where none can be mounted."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        disk = Path(folder).resolve()
        if os.geteuid() != 0 or not mount(disk, f"size={size}"):
            yield None
            return
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def mount(folder: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def fill(file: Path) -> None:
    """To the last byte of its disk."""
    with file.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(64 * 1024))


def watched(stage: Stage, disk: Path) -> tuple[int, int]:
    """The exit code, and the least room that there was on the way."""
    collector, room = stage.start(), DISK_LATER
    while collector.runs:
        room = min(room, free(disk))
        time.sleep(0.02)
    return collector.wait(), min(room, free(disk))


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def lost(stage: Stage) -> list[Asked]:
    """Replies that were sold and are not in the store."""
    kept = stored(stage)
    return [one for one in stage.books() if one.sold and one.number not in kept]


def stored(stage: Stage) -> set[int]:
    """Numbers of the requests whose replies are kept, also of those that were left behind."""
    return asyncio.run(read_numbers(stage.address))


async def read_numbers(address: str) -> set[int]:
    from sqlalchemy import select

    from store.schema import TurnRow

    async with open_store(address) as store:
        return {int(row["raw"]["id"].removeprefix("chatcmpl-")) for row in await store.read(select(TurnRow.raw))}


# -- a teacher that fails --------------------------------------------------------------------------


def faulty(bench: Bench, size: Size) -> Iterator[Finding]:
    kinds = [(fault, (fault,), FAULT_SHARE) for fault in size.faults]
    for name, faults, share in (*kinds, ("all mixed", FAULTS, MIXED_SHARE)):
        yield from failing(bench, size, f"faults, {name}", faults, share)


def failing(bench: Bench, size: Size, part: str, faults: tuple[str, ...], share: float) -> Iterator[Finding]:
    with bench.stage(size.fault_tasks, faults=faults, share=share, seconds=0.05, most=2) as stage:
        yield Finding(part, "exit code", stage.start("--longest-wait", LONGEST_WAIT).wait(), must=0)
        yield Finding(part, "faults met", sum(one.fault is not None for one in stage.books()))
        found = repeats(stage.books(), {})
        yield Finding(part, "bought again, never sent whole", sum(one.age is None for one in found))
        yield Finding(part, "bought twice", sum(one.twice for one in found), must=0)
        yield from compared(part, stage, bench.reference(size.tasks))
    yield Finding(part, "processes left behind", len(orphans(stage)), must=0)


# -- a cap -----------------------------------------------------------------------------------------

AUDIT = """
CREATE TABLE audit (settled INTEGER, reserved INTEGER, cap INTEGER);
CREATE TRIGGER audited_insert AFTER INSERT ON budgets
BEGIN INSERT INTO audit VALUES (new.settled_usd, new.reserved_usd, new.cap_usd); END;
CREATE TRIGGER audited_update AFTER UPDATE ON budgets
BEGIN INSERT INTO audit VALUES (new.settled_usd, new.reserved_usd, new.cap_usd); END;
"""
NANO = 10**9


def capped(bench: Bench, size: Size) -> Iterator[Finding]:
    price = ",".join(map(str, PRICE))
    options = (
        "--budget-usd", str(size.cap), "--price", price, "--max-tokens", str(MOST_TOKENS),
        "--longest-wait", LONGEST_WAIT,
    )  # fmt: skip
    script: dict[str, Any] = {"faults": BUDGET_FAULTS, "share": MIXED_SHARE / 2, "seconds": BUDGET_SECONDS}
    with bench.stage(2 * size.tasks, at_once=BUDGET_AT_ONCE // 2, **script) as stage:
        asyncio.run(prepare(stage.address))
        with closing(sqlite3.connect(stage.store)) as connection:
            connection.executescript(AUDIT)
        codes = both(stage, f"{bench.seed} budget", size.budget_kills, int(AFFORDABLE * size.cap) // 2, *options)
        yield Finding("budget", "exit codes once it is spent", max(codes), must=0)
        yield from audited(stage, size.cap)
        # So many answers at once are more than can be read, let alone kept, in a tenth of a second.
        yield from bought("budget", stage, must=None)
        yield Finding("budget", "trajectories ended", len(stage.trajectories()))
        yield from left_behind("budget", stage)


async def prepare(address: str) -> None:
    async with open_store(address, create=True):
        pass


def audited(stage: Stage, bound: Decimal) -> Iterator[Finding]:
    ((writes, over, cap),) = stage.query("SELECT count(*), sum(settled + reserved > cap), max(cap) FROM audit")
    ((settled, reserved),) = stage.query("SELECT settled_usd, reserved_usd FROM budgets")
    books, kept = stage.books(), stored(stage)
    sold = sum(nano(one) for one in books)
    kept_cost = sum(nano(one) for one in books if one.number in kept)
    yield Finding("budget", "writes audited", writes)
    yield Finding("budget", "writes above the cap", over or 0, must=0)
    yield Finding("budget", "cap", cap / NANO, "$", must=float(bound))
    yield Finding("budget", "settled", settled / NANO, "$")
    yield Finding("budget", "reserved", reserved / NANO, "$")
    yield Finding("budget", "sold, by the teacher's books", sold / NANO, "$", must=float(bound), most=True)
    yield Finding("budget", "sold above settled and reserved", max(0, sold - settled - reserved) / NANO, "$", must=0)
    yield Finding("budget", "stored and not settled", abs(kept_cost - settled) / NANO, "$", must=0)
    yield Finding("budget", "of the cap settled", round(100 * settled / cap, 1), "%")


def nano(one: Asked) -> int:
    return int(one.cost(PRICE) * NANO)


# -- telling ---------------------------------------------------------------------------------------

PARTS: Mapping[str, Callable[[Bench, Size], Iterator[Finding]]] = {
    "kills": killed,
    "pair": paired,
    "disk": filled,
    "faults": faulty,
    "budget": capped,
}


def row(one: Finding) -> dict[str, Any]:
    return {"ours": one.value, "other": one.must, "ratio": None, "unit": one.unit}


def print_table(found: Sequence[Finding]) -> None:
    print(f"{'':34}{'':52}{'':>12}       must be")
    for part, findings in groupby(found, lambda one: one.part):
        for number, one in enumerate(findings):
            print(f"{part * (number == 0):34}{one.metric:52}{shown(one.value):>12} {one.unit:5} {one.demand}")


if __name__ == "__main__":
    main()
