"""A run that other processes work on, followed by reading the store alone.

What was summed once is not read again: a look reads the newest trajectories, those that were open at the
last look, and the newest calls. It writes nothing, and holds no transaction from one look to the next.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import RowMapping, String, case, cast, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from store.budget import Budget, find_budget
from store.lease import Lease
from store.load import require_run
from store.queries import BOUGHT, Sums, bought
from store.schema import CallRow, LeaseRow, ReservationRow, RunRow, TrajectoryRow, TurnRow
from store.store import Store

_RECENT = 1000
"""Trajectories, and calls, that each look reads again: on a server, what was begun later may be seen earlier."""
_PACE = timedelta(minutes=5)
_FAULTS = 3
_AT_ONCE = 500

_T = TrajectoryRow
_ROW = select(
    _T.id, _T.run_id, _T.stop, _T.assessed, _T.level, _T.ended, _T.epoch, *(getattr(_T, name) for name in BOUGHT)
)


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that works on the run."""

    host: str
    pid: int
    since: datetime
    beat: datetime
    """By its own clock."""
    under_way: int
    """Trajectories that it has claimed and not ended."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Calls whose price is not known yet, or never will be."""

    calls: int
    usd: Decimal
    tokens: int


@dataclass(frozen=True, slots=True)
class Fault:
    at: datetime
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class View:
    """A run as one look has found it."""

    run: str
    at: datetime
    sums: Sums
    left: int
    """Begun, not ended, and nobody's: whoever goes on with the run takes them up."""
    pace: float | None
    """Trajectories ended a minute, of late; None while too few have."""
    workers: tuple[Worker, ...]
    budget: Budget | None
    lost: Reserved
    """Of what is reserved: for answers that will not come."""
    faults: tuple[Fault, ...]
    """The newest, the last one last."""


class Watch:
    """One run, look by look. `reading` is the version of errors and recovery that counts."""

    def __init__(self, store: Store, run_id: int, run: str, reading: int) -> None:
        self._store, self._run_id, self._run, self._reading = store, run_id, run, reading
        self._mark = -1
        """Up to this trajectory, what has finished is in `_base`, and what has not in `_open`."""
        self._base = Sums()
        self._open: set[int] = set()
        self._top = 0
        self._ends: dict[int, datetime] = {}
        """Of late, by trajectory."""
        self._call = 0
        """The newest that was looked at."""
        self._faults: deque[Fault] = deque(maxlen=_FAULTS)
        self._others = Lease(run_id, epoch=-1)

    async def look(self) -> View:
        now = datetime.now(UTC)
        leases = await self._leases()
        living = {row["epoch"] for row in leases}
        rows = await self._rows()
        under_way = [row for row in rows if row["stop"] is None]
        at_work = Counter(row["epoch"] for row in under_way)
        sums = sum(map(self._sums_of, rows), self._base) + await self._bought([row["id"] for row in under_way])
        self._settle(rows)
        await self._hear()
        return View(
            self._run, now, sums,
            left=sum(count for epoch, count in at_work.items() if epoch not in living),
            pace=self._pace(rows, now),
            workers=tuple(_worker(row, at_work[row["epoch"]]) for row in leases),
            budget=await find_budget(self._store, self._run_id),
            lost=await self._lost(living),
            faults=tuple(self._faults),
        )  # fmt: skip

    # -- trajectories ------------------------------------------------------------------------------

    async def _rows(self) -> list[RowMapping]:
        """All that is not in the base."""
        if self._mark < 0:
            self._mark = max(await self._newest(_T.id) - _RECENT, 0)
            await self._sum_up()
        # Only by their ids: asked for by the run as well, they would be looked for in its whole index.
        newest = await self._store.read(_ROW.where(_T.id > self._mark))
        self._top = max((row["id"] for row in newest), default=self._mark)
        rows = [row for row in newest if row["run_id"] == self._run_id]
        for ids in _parts(self._open):
            rows += await self._store.read(_ROW.where(_T.id.in_(ids)))
        return rows

    async def _sum_up(self) -> None:
        """In one statement, so that nothing ends between the sums and the list of what is open."""
        by = (_T.environment, _T.teacher, _T.attempt, _T.stop, _T.assessed, _T.level)
        is_open = or_(_T.stop.is_(None), _T.stop == "failed")
        ids = func.aggregate_strings(case((is_open, cast(_T.id, String))), ",").label("open_ids")
        sums = (func.sum(getattr(_T, name)).label(name) for name in BOUGHT)
        query = select(*by, func.count().label("many"), ids, *sums).where(
            _T.run_id == self._run_id, _T.id <= self._mark
        )
        for row in await self._store.read(query.group_by(*by)):
            if row["open_ids"]:
                self._open |= set(map(int, row["open_ids"].split(",")))
            else:
                self._base += self._sums_of(row, row["many"])

    def _sums_of(self, row: RowMapping, many: int = 1) -> Sums:
        """Of one trajectory, or of as many that are alike."""
        if row["stop"] is None:
            return Sums(trajectories=many, unfinished=many)
        if row["stop"] == "failed":
            return Sums(trajectories=many, failed=many, **bought(row))
        read = row["assessed"] == self._reading
        return Sums(
            trajectories=many,
            solved=many if row["stop"] == "solved" else 0,
            unread=0 if read else many,
            levels=Counter({row["level"]: many} if read else {}),
            **bought(row),
        )

    def _settle(self, rows: Sequence[RowMapping]) -> None:
        """Move the mark on, and into the base what has finished below it."""
        self._mark = max(self._mark, self._top - _RECENT)
        for row in rows:
            if row["id"] > self._mark:
                continue
            if row["stop"] in (None, "failed"):
                self._open.add(row["id"])
            else:
                self._open.discard(row["id"])
                self._base += self._sums_of(row)

    async def _bought(self, ids: Sequence[int]) -> Sums:
        """By trajectories that are under way; their own sums are those of an earlier end, if any."""
        of_turns = (func.sum(getattr(TurnRow, name)).label(name) for name in BOUGHT[1:-1])
        unpriced = (func.count() - func.count(TurnRow.cost)).label("unpriced")
        query = select(func.count().label("turns"), unpriced, *of_turns)
        found = [await self._store.read(query.where(TurnRow.trajectory_id.in_(part))) for part in _parts(ids)]
        return sum((Sums(**bought(row)) for (row,) in found), Sums())

    def _pace(self, rows: Sequence[RowMapping], now: datetime) -> float | None:
        self._ends |= {row["id"]: row["ended"] for row in rows if row["stop"] not in (None, "failed")}
        self._ends = {key: end for key, end in self._ends.items() if now - end < _PACE}
        if len(self._ends) < 2:
            return None
        minutes = (now - min(self._ends.values())) / timedelta(minutes=1)
        return (len(self._ends) - 1) / minutes if minutes > 0 else None

    # -- who works, what they have out, what went wrong --------------------------------------------

    async def _leases(self) -> list[RowMapping]:
        query = select(LeaseRow.__table__).where(LeaseRow.run_id == self._run_id).order_by(LeaseRow.epoch)
        return [row for row in await self._store.read(query) if self._others.lives(row)]

    async def _lost(self, living: set[int]) -> Reserved:
        row = ReservationRow
        was_lost = exists().where(
            CallRow.trajectory_id == row.trajectory_id,
            CallRow.position == row.position,
            CallRow.lost.is_(True),
            CallRow.started >= row.made,
        )
        query = select(
            func.count().label("calls"), func.sum(row.usd).label("usd"), func.sum(row.tokens).label("tokens")
        )
        lost = or_(row.epoch.not_in(living), was_lost)
        (found,) = await self._store.read(query.where(row.run_id == self._run_id, lost))
        return Reserved(found["calls"], found["usd"] or Decimal(0), int(found["tokens"] or 0))

    async def _hear(self) -> None:
        """Of the newest faults since the last look."""
        newest = await self._newest(CallRow.id)
        since, self._call = self._call or newest - _RECENT, newest
        query = select(CallRow.trajectory_id, CallRow.started, CallRow.fault, CallRow.message, CallRow.status)
        query = query.where(CallRow.id > since, CallRow.fault.is_not(None)).order_by(CallRow.id.desc()).limit(_AT_ONCE)
        calls = (await self._store.read(query))[::-1]
        of_run = select(_T.id).where(_T.id.in_({call["trajectory_id"] for call in calls}), _T.run_id == self._run_id)
        mine = {row["id"] for row in await self._store.read(of_run)} if calls else set()
        for call in calls:
            if call["trajectory_id"] in mine:
                message = call["message"] or f"status {call['status']}"
                self._faults.append(Fault(call["started"], call["fault"], message))

    async def _newest(self, key: InstrumentedAttribute[int]) -> int:
        (row,) = await self._store.read(select(func.max(key).label("newest")))
        return row["newest"] or 0


async def runs_at_work(store: Store) -> list[tuple[int, str]]:
    """The runs, by id and name, that some process says to work on."""
    query = select(RunRow.id, RunRow.name).where(RunRow.id.in_(select(LeaseRow.run_id))).order_by(RunRow.id)
    return [(row["id"], row["name"]) for row in await store.read(query)]


async def run_named(store: Store, name: str) -> tuple[int, str]:
    """Raises `UsageError` where there is none of that name."""
    await require_run(store, name)
    (row,) = await store.read(select(RunRow.id, RunRow.name).where(RunRow.name == name))
    return row["id"], row["name"]


def _worker(lease: RowMapping, under_way: int) -> Worker:
    host, pid, _ = lease["owner"].split("/")
    return Worker(host.partition("~")[0], int(pid), lease["started"], lease["renewed"], under_way)


def _parts(ids: Iterable[int]) -> Iterator[list[int]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]
