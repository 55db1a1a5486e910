"""Sums over the log, computed by the database: what `errata runs` and `errata stats` show.

What has ended is summed from the trajectories' own sums, which one index holds; only the turns of those
that are under way are read. A reading (errors, recovery) of another version than the one asked for does
not count: its trajectories are `unread`, and never taken for such as did not recover.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, Select, case, func, select

from store.load import require_run
from store.schema import RunRow, TrajectoryRow, TurnRow
from store.store import Store


@dataclass(frozen=True, slots=True)
class Sums:
    """Trajectories and what they cost."""

    trajectories: int = 0
    solved: int = 0
    failed: int = 0
    """Ended by infrastructure; the next start tries them again."""
    unfinished: int = 0
    """Begun and not ended."""
    unread: int = 0
    """Finished, and their errors and recovery not read by the version asked for."""
    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cache_read: int = 0
    tokens_cache_write: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    """Replies whose price is unknown: `cost` leaves them out."""
    levels: Counter[str] = field(default_factory=Counter)
    """Trajectories by recovery level; empty unless asked for."""
    errors: Counter[str] = field(default_factory=Counter)
    """Error events by class; empty unless asked for."""

    @property
    def finished(self) -> int:
        return self.trajectories - self.failed - self.unfinished

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.trajectories + other.trajectories, self.solved + other.solved, self.failed + other.failed,
            self.unfinished + other.unfinished, self.unread + other.unread, self.turns + other.turns,
            self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out,
            self.tokens_cache_read + other.tokens_cache_read, self.tokens_cache_write + other.tokens_cache_write,
            self.cost + other.cost, self.unpriced + other.unpriced, self.levels + other.levels,
            self.errors + other.errors,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """The trajectories of one run, environment and teacher."""

    run: str
    started: datetime
    environment: str
    teacher: str
    sums: Sums


async def group_sums(store: Store, run: str | None = None, *, reading: int | None = None) -> list[Group]:
    """Every group of one run or of all, the oldest run first, its teachers as its configuration names them.

    `reading` is the version of errors and recovery that counts; without it neither is summed.
    """
    runs = await _runs(store, run)
    sums: defaultdict[_Key, Sums] = defaultdict(Sums)
    for row in await store.read(_ended(run, reading)):
        sums[_key(row)] += _ended_sums(row, reading)
    for row in await store.read(_under_way(run)):
        sums[_key(row)] += Sums(trajectories=row["trajectories"], unfinished=row["trajectories"], **bought(row))
    ordered = sorted(sums, key=lambda key: (key[0], key[1], *_place(runs[key[0]], key[2])))
    return [Group(runs[key[0]]["name"], runs[key[0]]["created"], key[1], key[2], sums[key]) for key in ordered]


def total(groups: Iterable[Group]) -> Sums:
    return sum((group.sums for group in groups), Sums())


_Key = tuple[int, str, str]
"""A run's row, an environment, a teacher."""


async def _runs(store: Store, run: str | None) -> dict[int, RowMapping]:
    if run is not None:
        await require_run(store, run)
    query = select(RunRow.id, RunRow.name, RunRow.created, RunRow.config)
    rows = await store.read(query if run is None else query.where(RunRow.name == run))
    return {row["id"]: row for row in rows}


def _place(run: RowMapping, teacher: str) -> tuple[int, str]:
    named = run["config"].get("teachers", ())
    return (list(named).index(teacher) if teacher in named else len(named)), teacher


def _key(row: RowMapping) -> _Key:
    return row["run_id"], row["environment"], row["teacher"]


_GROUP = (TrajectoryRow.run_id, TrajectoryRow.environment, TrajectoryRow.teacher)
_READING = (TrajectoryRow.assessed, TrajectoryRow.level, TrajectoryRow.errors)
BOUGHT = ("turns", "tokens_in", "tokens_out", "tokens_cache_read", "tokens_cache_write", "cost", "unpriced")
"""The columns of a trajectory's sums."""


def bought(row: RowMapping) -> dict[str, Any]:
    """A server's sums of whole numbers are decimals."""
    whole = {name: int(row[name] or 0) for name in BOUGHT if name != "cost"}
    return {**whole, "cost": row["cost"] or Decimal(0)}


def _ended(run: str | None, reading: int | None) -> Select[Any]:
    """In the order of the index, and of nothing that is not in it."""
    by = (*_GROUP, TrajectoryRow.attempt, TrajectoryRow.stop, *(() if reading is None else _READING))
    sums = (func.sum(getattr(TrajectoryRow, name)).label(name) for name in BOUGHT)
    query = select(*by, func.count().label("trajectories"), *sums)
    return _of_run(query.where(TrajectoryRow.stop.is_not(None)).group_by(*by), run)


def _ended_sums(row: RowMapping, reading: int | None) -> Sums:
    many, stop = row["trajectories"], row["stop"]
    read = reading is not None and row["assessed"] == reading
    return Sums(
        trajectories=many,
        solved=many if stop == "solved" else 0,
        failed=many if stop == "failed" else 0,
        unread=many if reading is not None and not read and stop != "failed" else 0,
        levels=Counter({row["level"]: many} if read else {}),
        errors=_errors(row["errors"], many) if read else Counter(),
        **bought(row),
    )


def _errors(counted: str | None, many: int) -> Counter[str]:
    """`E1:2 E4:1`, of so many trajectories each."""
    pairs = (one.partition(":") for one in (counted or "").split())
    return Counter({kind: int(count) * many for kind, _, count in pairs})


def _under_way(run: str | None) -> Select[Any]:
    """By their turns; a trajectory may have none yet."""
    query = (
        select(
            *_GROUP,
            func.count(TrajectoryRow.id.distinct()).label("trajectories"),
            func.count(TurnRow.id).label("turns"),
            *(func.sum(getattr(TurnRow, name)).label(name) for name in BOUGHT[1:-1]),
            (func.count(TurnRow.id) - func.count(TurnRow.cost)).label("unpriced"),
        )
        .outerjoin(TurnRow, TurnRow.trajectory_id == TrajectoryRow.id)
        .where(TrajectoryRow.stop.is_(None))
        .group_by(*_GROUP)
    )
    return _of_run(query, run)


def _of_run(query: Select[*tuple[Any, ...]], run: str | None) -> Select[*tuple[Any, ...]]:
    if run is None:
        return query
    return query.where(TrajectoryRow.run_id == select(RunRow.id).where(RunRow.name == run).scalar_subquery())


# -- tasks, over all teachers ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pass:
    """What one teacher did of a run's tasks, whatever its attempts."""

    teacher: str
    given: int = 0
    solved: int = 0
    first: int = 0
    """Solved by none of the teachers before it."""


@dataclass(frozen=True, slots=True)
class Passes:
    """The tasks of one run and environment, and how far each teacher brought them, in their order."""

    run: str
    environment: str
    tasks: int
    solved: int
    """By any teacher."""
    passes: tuple[Pass, ...]


async def task_passes(store: Store, groups: Sequence[Group]) -> list[Passes]:
    """Of the runs and environments that the groups, in the order of `group_sums`, are of."""
    teachers: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for group in groups:
        teachers[group.run][group.teacher] = None
    return [found for run, names in teachers.items() for found in await _passes(store, run, tuple(names))]


async def _passes(store: Store, run: str, teachers: tuple[str, ...]) -> list[Passes]:
    """Tasks are counted by what became of them with each teacher: 2 solved, 1 given, 0 not given."""
    marks = [f"teacher_{index}" for index in range(len(teachers))]
    came_to = case((TrajectoryRow.stop == "solved", 2), else_=1)
    by_teacher = [
        func.max(case((TrajectoryRow.teacher == teacher, came_to), else_=0)).label(mark)
        for teacher, mark in zip(teachers, marks, strict=True)
    ]
    each = (TrajectoryRow.environment, TrajectoryRow.task_row)
    tasks = _of_run(select(*each, *by_teacher).group_by(*each), run).subquery()
    alike = (tasks.c.environment, *(tasks.c[mark] for mark in marks))
    query = select(*alike, func.count().label("tasks")).group_by(*alike).order_by(tasks.c.environment)
    by_environment: defaultdict[str, list[tuple[int, list[int]]]] = defaultdict(list)
    for row in await store.read(query):
        by_environment[row["environment"]].append((row["tasks"], [row[mark] for mark in marks]))
    return [_added_up(run, environment, teachers, found) for environment, found in by_environment.items()]


def _added_up(run: str, environment: str, teachers: Sequence[str], found: Sequence[tuple[int, list[int]]]) -> Passes:
    passes = tuple(
        Pass(
            teacher,
            given=sum(many for many, marks in found if marks[index]),
            solved=sum(many for many, marks in found if marks[index] == 2),
            first=sum(many for many, marks in found if marks[index] == 2 and 2 not in marks[:index]),
        )
        for index, teacher in enumerate(teachers)
    )
    tasks = sum(many for many, _ in found)
    return Passes(run, environment, tasks, sum(one.first for one in passes), passes)


# -- what finished trajectories came to ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sample:
    """What one finished trajectory came to."""

    seconds: float
    """From its beginning to its end, with whatever lay between."""
    solved: bool
    tokens: int
    cost: Decimal | None
    """None where a reply's price is unknown."""


async def samples(
    store: Store, *, environment: str, teacher: str, run: str | None = None, newest: int = 500
) -> list[Sample]:
    """The newest finished trajectories of a teacher in an environment, of one run or of all."""
    chosen = (
        select(TrajectoryRow.id)
        .where(
            TrajectoryRow.environment == environment,
            TrajectoryRow.teacher == teacher,
            TrajectoryRow.stop.is_not(None),
            TrajectoryRow.stop != "failed",
            TrajectoryRow.turns > 0,
        )
        .order_by(TrajectoryRow.id.desc())
        .limit(newest)
    )
    row = TrajectoryRow
    query = select(row.started, row.ended, row.stop, row.tokens_in, row.tokens_out, row.cost, row.unpriced)
    wanted = _of_run(chosen, run).subquery()
    found = await store.read(query.join(wanted, wanted.c.id == row.id).order_by(row.id.desc()))
    return [
        Sample(
            seconds=(one["ended"] - one["started"]).total_seconds(),
            solved=one["stop"] == "solved",
            tokens=one["tokens_in"] + one["tokens_out"],
            cost=None if one["unpriced"] else one["cost"],
        )
        for one in found
    ]
