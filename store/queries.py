"""Sums over the log, computed by the database: what `errata runs` and `errata stats` show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select

from store.load import require_run
from store.schema import ErrorEventRow, RunRow, TaskRow, TrajectoryRow, TurnRow
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
    turns: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    """Replies whose price is unknown: `cost` leaves them out."""
    errors: Counter[str] = field(default_factory=Counter)
    """Error events by class; empty until a filter has read the trajectories."""

    @property
    def finished(self) -> int:
        return self.trajectories - self.failed - self.unfinished

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.trajectories + other.trajectories, self.solved + other.solved, self.failed + other.failed,
            self.unfinished + other.unfinished, self.turns + other.turns, self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out, self.cost + other.cost, self.unpriced + other.unpriced,
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


async def group_sums(store: Store, run: str | None = None) -> list[Group]:
    """Every group of one run or of all, the oldest run first."""
    if run is not None:
        await require_run(store, run)
    counted = await store.read(_by_group(_TRAJECTORIES, run))
    bought = {_key(row): row for row in await store.read(_by_group(_TURNS, run).join(*_TURNS_JOIN))}
    errors = await store.read(_by_group(_ERRORS, run).join(*_ERRORS_JOIN).add_columns(_KIND).group_by(_KIND))
    return [
        Group(row["run"], row["started"], row["environment"], row["teacher"], _sums(row, bought.get(_key(row)), errors))
        for row in counted
    ]


def total(groups: Iterable[Group]) -> Sums:
    return sum((group.sums for group in groups), Sums())


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


_GROUP = (RunRow.name.label("run"), RunRow.created.label("started"), TaskRow.environment, TrajectoryRow.teacher)
_TRAJECTORIES = (
    func.count().label("trajectories"),
    _count(TrajectoryRow.stop == "solved").label("solved"),
    _count(TrajectoryRow.stop == "failed").label("failed"),
    _count(TrajectoryRow.stop.is_(None)).label("unfinished"),
)
_TURNS = (
    func.count().label("turns"),
    func.sum(TurnRow.tokens_in).label("tokens_in"),
    func.sum(TurnRow.tokens_out).label("tokens_out"),
    func.sum(TurnRow.cost).label("cost"),
    _count(TurnRow.cost.is_(None)).label("unpriced"),
)
_TURNS_JOIN = (TurnRow, TurnRow.trajectory_id == TrajectoryRow.id)
_KIND = ErrorEventRow.kind
_ERRORS = (func.count().label("errors"),)
_ERRORS_JOIN = (ErrorEventRow, ErrorEventRow.trajectory_id == TrajectoryRow.id)


def _by_group(columns: Iterable[Any], run: str | None) -> Select[Any]:
    query = (
        select(*_GROUP, *columns)
        .select_from(TrajectoryRow)
        .join(RunRow, RunRow.id == TrajectoryRow.run_id)
        .join(TaskRow, TaskRow.id == TrajectoryRow.task_row)
        .group_by(RunRow.id, *_GROUP)
        .order_by(RunRow.id, TaskRow.environment, TrajectoryRow.teacher)
    )
    return query if run is None else query.where(RunRow.name == run)


def _key(row: Any) -> tuple[str, str, str]:
    return row["run"], row["environment"], row["teacher"]


def _sums(counts: Any, bought: Any, errors: Iterable[Any]) -> Sums:
    mine = Counter({row["kind"]: int(row["errors"]) for row in errors if _key(row) == _key(counts)})
    return Sums(
        trajectories=int(counts["trajectories"]),
        solved=int(counts["solved"]),
        failed=int(counts["failed"]),
        unfinished=int(counts["unfinished"]),
        turns=int(bought["turns"]) if bought else 0,
        tokens_in=int(bought["tokens_in"]) if bought else 0,
        tokens_out=int(bought["tokens_out"]) if bought else 0,
        cost=(bought["cost"] if bought else None) or Decimal(0),
        unpriced=int(bought["unpriced"]) if bought else 0,
        errors=mine,
    )
