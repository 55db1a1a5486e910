"""What `benchmarks/chaos.py` is played on: a store, a teacher, collectors that are killed, and how it came out.

A reply is bought twice when its answer had been sent whole 100 ms or more before its collector was killed; younger ones
may have been lost between two sockets, and are counted apart. The dead collectors' orphans become children of the
benchmark's (a subreaper's), so that what is left behind is counted by family and not by name.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import count, groupby
from math import isfinite
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

import psutil

from benchmarks.chaos_teacher import PROBLEM, REPLIES, Asked, Script, arguments, read_books, sum_of_squares
from benchmarks.stores import FOLDER
from environments.protocol.compare import normalise
from environments.types import Trajectory
from store.load import load_trajectories
from store.store import open_store

ROOT = Path(__file__).resolve().parent.parent
TURNS = len(REPLIES)
YOUNG = 0.1
"""Seconds."""
LONGEST = 600.0
"""Seconds that a collector may take."""
FAREWELL = 20.0
"""Seconds in which the wardens of dead collectors clear up."""
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Finding:
    part: str
    metric: str
    value: float
    unit: str = ""
    must: float | None = None
    """What it must be; None where it is only told."""
    most: bool = False
    """It may be less, too."""

    @property
    def holds(self) -> bool:
        return self.must is None or self.value == self.must or (self.most and self.value < self.must)

    @property
    def demand(self) -> str:
        if self.must is None:
            return ""
        return f"{'at most ' if self.most else ''}{shown(self.must)}" + ("" if self.holds else "  MISSED")


def shown(value: float) -> str:
    return f"{value:,}" if value == int(value) else f"{value:,.4g}"


def adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


# -- the stage -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Collector:
    who: str
    process: subprocess.Popen[bytes]
    said: Path
    killed: float | None = None

    def kill(self) -> None:
        self.killed = time.monotonic()
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit(f"{self.who} did not end in {LONGEST:.0f} s: {self.words()[-2000:]}")

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def words(self) -> str:
        return self.said.read_text(encoding="utf-8", errors="replace")


@dataclass(slots=True)
class Stage:
    """A store, a teacher, and the collectors that are started on them one after the other."""

    folder: Path
    store: Path
    tasks: int
    at_once: int
    isolation: str
    teacher: subprocess.Popen[bytes]
    port: int
    collectors: list[Collector] = field(default_factory=list)
    scratch: set[str] = field(default_factory=set)
    """Names of the collectors' folders, which are those of their control groups too."""
    _starts: Iterator[int] = field(default_factory=count)
    _books_read: int = 0
    _sent: int = 0
    _reading: Lock = field(default_factory=Lock)

    @property
    def address(self) -> str:
        return f"sqlite:///{self.store}"

    def start(self, *more: str) -> Collector:
        who = f"collector-{next(self._starts)}"
        said = self.folder / f"{who}.txt"
        command = [
            sys.executable, "-m", "cli", "collect", "--env", "math", "--run", "chaos", "--store", self.address,
            "--teacher", f"openai:chaos@http://127.0.0.1:{self.port}/v1", "--data", str(self.folder / "tasks.jsonl"),
            "--isolation", self.isolation, "--concurrency", str(self.at_once), *more,
        ]  # fmt: skip
        environment = self._environment(who)
        with said.open("wb") as words:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=words, stderr=words
            )
        collector = Collector(who, process, said)
        self.collectors.append(collector)
        return collector

    def _environment(self, who: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_proxy", "_api_key"))}
        # Compiled once, as installed packages are, whatever this environment says of bytecode.
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        return kept | {
            "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(FOLDER / "bytecode"),
            "TMPDIR": str(self.folder / "t"), "OPENAI_COMPATIBLE_API_KEY": who,
        }  # fmt: skip

    # -- what is seen from outside -------------------------------------------------------------------

    def books(self) -> list[Asked]:
        with (self.folder / "books.jsonl").open(encoding="utf-8") as lines:
            return read_books(lines)

    def sent(self) -> int:
        """Answers sent whole so far."""
        with self._reading, (self.folder / "books.jsonl").open("rb") as books:
            books.seek(self._books_read)
            new = books.read()
            new = new[: new.rfind(b"\n") + 1]
            self._books_read += len(new)
            self._sent += new.count(b'"sent"')
            return self._sent

    def look(self) -> None:
        self.scratch |= {path.name for path in (self.folder / "t").iterdir()}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.store)) as connection:
            return connection.execute(sql).fetchall()

    def trajectories(self) -> list[Trajectory]:
        return asyncio.run(read_all(self.address))


async def read_all(address: str) -> list[Trajectory]:
    async with open_store(address) as store:
        return [trajectory async for trajectory in load_trajectories(store)]


@dataclass(slots=True)
class Bench:
    """How every stage is set."""

    isolation: str
    seed: int
    at_once: int
    seconds: float
    """An answer takes."""
    _references: dict[tuple[int, int], Rows] = field(default_factory=dict)

    @contextmanager
    def stage(
        self, tasks: int, *, at_once: int | None = None, store: Path | None = None, **script: Any
    ) -> Iterator[Stage]:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))).resolve()
            (folder / "t").mkdir()
            (folder / "books.jsonl").touch()
            (folder / "tasks.jsonl").write_text("".join(task_line(n) for n in numbers(tasks)), encoding="utf-8")
            books = Script(str(folder / "books.jsonl"), **{"seconds": self.seconds, "seed": self.seed, **script})
            teacher = stack.enter_context(
                subprocess.Popen([*arguments(books)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert teacher.stdout is not None
            stage = Stage(
                folder, store or folder / "errata.db", tasks, at_once or self.at_once, self.isolation, teacher,
                int(teacher.stdout.readline()),
            )  # fmt: skip
            stack.callback(ended, stage)
            yield stage

    def reference(self, tasks: int, fat: int = 0) -> Rows:
        """The rows of a run that nothing has disturbed."""
        if (tasks, fat) not in self._references:
            with self.stage(tasks, seconds=0.02, fat=fat) as stage:
                collector = stage.start()
                if collector.wait():
                    sys.exit(f"the undisturbed run failed: {collector.words()[-2000:]}")
                self._references[tasks, fat] = rows_of(stage.trajectories())
        return self._references[tasks, fat]


def ended(stage: Stage) -> None:
    """Whatever has happened, no collector of ours goes on."""
    for collector in stage.collectors:
        if collector.runs:
            collector.kill()


def numbers(tasks: int) -> range:
    return range(100, 100 + tasks)


def task_line(n: int) -> str:
    return json.dumps({"id": n, "problem": PROBLEM.format(n=n), "answer": str(sum_of_squares(n))}) + "\n"


# -- what is compared ------------------------------------------------------------------------------

Rows = Mapping[str, Sequence[Any]]
"""Of every task, what its trajectories say."""


def rows_of(trajectories: Sequence[Trajectory]) -> Rows:
    ordered = sorted(trajectories, key=lambda one: one.task.id)
    return {task: [canonical(one) for one in group] for task, group in groupby(ordered, lambda one: one.task.id)}


def canonical(trajectory: Trajectory) -> Any:
    """All that a data set would take from it."""
    turns = [
        (
            turn.reply.text,
            turn.action.kind,
            turn.action.content,
            normalise(turn.observation.text),
            turn.observation.result.error.name if turn.observation.result and turn.observation.result.error else None,
            (turn.grade.correct, turn.grade.score) if turn.grade else None,
        )
        for turn in trajectory.turns
    ]
    return trajectory.outcome, trajectory.seed, turns


def compared(part: str, stage: Stage, reference: Rows) -> Iterator[Finding]:
    rows = rows_of(stage.trajectories())
    short = stage.tasks - len(rows) + sum(len(group) - 1 for group in rows.values())
    differing = sum(rows[task] != reference[task] for task in rows)
    (branched,) = stage.query("SELECT count(*) FROM trajectories WHERE diverged_at IS NOT NULL")[0]
    yield Finding(part, "trajectories missing or double", short, must=0)
    yield Finding(part, "trajectories unlike the undisturbed run's", differing, must=0)
    yield Finding(part, "trajectories that branched", branched, must=0)


# -- what was bought -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Repeat:
    """A reply that was sold although one for the same task and turn had been sold before."""

    who: str
    """Bought the earlier one."""
    age: float | None
    """Seconds from its whole answer to its collector's death; None where no whole answer was sent."""

    @property
    def twice(self) -> bool:
        return self.age is not None and self.age >= YOUNG


def repeats(books: Sequence[Asked], deaths: Mapping[str, float]) -> list[Repeat]:
    """Of every sale of the same reply but the last; of a collector that was not killed it counts however young."""
    places: dict[tuple[int, int], list[Asked]] = {}
    for one in books:
        if one.sold:
            places.setdefault(one.place, []).append(one)
    return [
        Repeat(one.who, None if one.sent is None else deaths.get(one.who, float("inf")) - one.sent)
        for sales in places.values()
        for one in sales[:-1]
    ]


def bought(part: str, stage: Stage, *, must: float | None = 0) -> Iterator[Finding]:
    deaths = {one.who: one.killed for one in stage.collectors if one.killed is not None}
    books = stage.books()
    found = repeats(books, deaths)
    young = [one for one in found if one.age is not None and not one.twice]
    unsent = [one for one in found if one.age is None]
    at_one_kill = Counter(one.who for one in (*young, *unsent) if one.who in deaths)
    yield Finding(part, "kills", len(deaths))
    yield Finding(part, "replies sold", sum(one.sold for one in books))
    yield Finding(part, "bought twice", sum(one.twice for one in found), must=must)
    before = [one for one in young if one.age is not None and one.age > 0]
    yield Finding(part, f"bought again, sent less than {YOUNG * 1000:.0f} ms before a kill", len(before))
    yield Finding(part, "bought again, sent after it", len(young) - len(before))
    yield Finding(part, "bought again, never sent whole", len(unsent))
    yield Finding(part, "of these, after one kill", max(at_one_kill.values(), default=0), must=stage.at_once, most=True)
    oldest = max((one.age for one in found if one.age is not None and isfinite(one.age)), default=0.0)
    yield Finding(part, "the oldest of all, before its kill", round(1000 * max(oldest, 0.0)), "ms")


def left_behind(part: str, stage: Stage) -> Iterator[Finding]:
    """Processes, folders and control groups of all collectors, once their wardens have had time."""
    deadline = time.monotonic() + FAREWELL
    while (orphans(stage) or scratch(stage) or groups(stage)) and time.monotonic() < deadline:
        time.sleep(0.1)
    yield Finding(part, "processes left behind", len(orphans(stage)), must=0)
    yield Finding(part, "folders left behind", len(scratch(stage)), must=0)
    yield Finding(part, "control groups left behind", len(groups(stage)), must=0)


def orphans(stage: Stage) -> list[str]:
    found = []
    for process in psutil.Process().children(recursive=True):
        if process.pid == stage.teacher.pid:
            continue
        try:
            if process.status() == psutil.STATUS_ZOMBIE and process.ppid() == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)
            else:
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, ChildProcessError):
            continue
    return found


def scratch(stage: Stage) -> list[str]:
    return [path.name for path in (stage.folder / "t").iterdir()]


def groups(stage: Stage) -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").glob("**/errata-*") if path.name in stage.scratch]


# -- kills -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """When a collector is killed: so long after so many answers have been sent, or after its own start."""

    seconds: float
    answers: int | None


def moments(seed: object, kills: int, answers: int) -> list[Moment]:
    """Every fourth hits a collector that is starting or going on; the others are spread over the run."""
    chance = Random(f"moments {seed}")
    early = [Moment(chance.uniform(0.2, 4.0), None) for _ in range(kills // 4)]
    spread = [Moment(chance.uniform(0.0, 0.3), chance.randrange(answers)) for _ in range(kills - len(early))]
    found = sorted(spread, key=lambda one: one.answers or 0)
    for number, moment in enumerate(early, 1):
        found.insert(4 * number - 1, moment)
    return found


def harassed(stage: Stage, plan: Sequence[Moment], *more: str) -> int:
    """Started and killed, and at last let come to its end; its exit code."""
    for moment in plan:
        collector = stage.start(*more)
        began = time.monotonic()
        while collector.runs and moment.answers is not None and stage.sent() < moment.answers:
            stage.look()
            time.sleep(0.02)
        due = moment.seconds + (began if moment.answers is None else time.monotonic())
        while collector.runs and time.monotonic() < due:
            time.sleep(0.005)
        stage.look()
        if not collector.runs:
            break
        collector.kill()
    return stage.start(*more).wait()


def two_owners(stage: Stage) -> int:
    """Tasks that one collector has asked for while another, which had asked for them before, was alive."""
    deaths = {one.who: one.killed for one in stage.collectors if one.killed is not None}
    last: dict[int, str] = {}
    found = set()
    for one in stage.books():
        before = last.get(one.task, one.who)
        if before != one.who and deaths.get(before, float("inf")) > one.at:
            found.add(one.task)
        last[one.task] = one.who
    return len(found)
