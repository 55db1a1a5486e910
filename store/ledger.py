"""The ledger: what filters said of trajectories, the errors they read, and what was exported.

A verdict counts as long as its trajectory has not gone on, and was not verified, since; one of a filter
that failed never does, so the next run judges again. What counts is never judged twice.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import aliased

from environments.types import Assessment, ErrorEvent, Json, Trajectory, Verdict
from store import load
from store.schema import ErrorEventRow, ExportRow, RunRow, TrajectoryRow, VerdictRow, VerificationRow
from store.store import Store

FAILED = "filter failed: "
"""How the reason of a verdict begins when the filter itself failed."""

_PAGE = 200
_MANY = 10_000


class Step(NamedTuple):
    """A filter as a recipe applies it. `parameters` is their canonical JSON, defaults included."""

    filter: str
    version: int
    parameters: str


@dataclass(frozen=True, slots=True)
class Judgement:
    trajectory_id: int
    step: Step
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class StepTally:
    """How many trajectories a step kept and, by reason, dropped of those that came to it."""

    kept: int
    dropped: Counter[str]


# -- writing ---------------------------------------------------------------------------------------


async def record_page(store: Store, judgements: Sequence[Judgement], assessments: Mapping[int, Assessment]) -> None:
    """Write verdicts, and what was read from trajectories, by their ids; what stands already as it is is left alone."""

    def job(connection: Connection) -> None:
        write_assessments(connection, assessments)
        _write_verdicts(connection, judgements)

    await store.write(job)


async def record_export(store: Store, *, path: str, form: str, recipe: Json, rows: int) -> None:
    values = {"path": path, "format": form, "recipe": recipe, "rows": rows, "written": datetime.now(UTC)}
    await store.write(lambda connection: connection.execute(insert(ExportRow).values(**values)))


def write_assessments(connection: Connection, assessments: Mapping[int, Assessment]) -> None:
    """In place of what was read from the same trajectories before."""
    for version in {one.events_version for one in assessments.values()}:
        of_version = {key: one.events for key, one in assessments.items() if one.events_version == version}
        _write_events(connection, of_version, version)
    if assessments:
        connection.execute(_ASSESS, [_summary(key, one) for key, one in assessments.items()])


_ASSESS = (
    update(TrajectoryRow)
    .where(TrajectoryRow.id == bindparam("of"))
    .values(assessed=bindparam("version"), level=bindparam("at_level"), errors=bindparam("counted"))
)


def _summary(trajectory_id: int, assessment: Assessment) -> dict[str, Any]:
    counted = Counter(event.kind for event in assessment.events)
    errors = " ".join(f"{kind}:{count}" for kind, count in sorted(counted.items()))
    level = assessment.recovery.level
    return {"of": trajectory_id, "version": assessment.recovery_version, "at_level": level, "counted": errors}


def _write_verdicts(connection: Connection, judgements: Sequence[Judgement]) -> None:
    query = (
        select(VerdictRow.__table__, _is_of(VerdictRow).label("fresh"))
        .join(TrajectoryRow, TrajectoryRow.id == VerdictRow.trajectory_id)
        .where(VerdictRow.trajectory_id.in_({one.trajectory_id for one in judgements}))
    )
    known = {(row["trajectory_id"], _step_of(row)): row for row in connection.execute(query).mappings()}
    new: list[dict[str, Any]] = []
    for one in judgements:
        values = {**asdict(one.verdict), "judged": datetime.now(UTC)}
        row = known.get((one.trajectory_id, one.step))
        if row is None:
            new.append({"trajectory_id": one.trajectory_id, **one.step._asdict(), **values})
        elif not _stands(row, one.verdict):
            connection.execute(update(VerdictRow).where(VerdictRow.id == row["id"]).values(**values))
    if new:
        connection.execute(insert(VerdictRow), new)


def _stands(row: RowMapping, verdict: Verdict) -> bool:
    return bool(row["fresh"]) and _plain(asdict(_verdict_of(row))) == _plain(asdict(verdict))


def _write_events(connection: Connection, events: Mapping[int, Sequence[ErrorEvent]], version: int) -> None:
    stored: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in connection.execute(_events_of(list(events))).mappings():
        stored[row["trajectory_id"]].append({key: value for key, value in row.items() if key != "id"})
    rows = {key: [_event_values(key, event, version) for event in found] for key, found in events.items()}
    changed = [key for key in rows if _plain(rows[key]) != stored[key]]
    connection.execute(delete(ErrorEventRow).where(ErrorEventRow.trajectory_id.in_(changed)))
    new = [row for key in changed for row in rows[key]]
    if new:
        connection.execute(insert(ErrorEventRow), new)


def _plain(value: Any) -> Any:
    """As it will be read back: a tuple comes back a list."""
    return json.loads(json.dumps(value))


# -- reading ---------------------------------------------------------------------------------------


async def verdicts_of(store: Store, trajectory_id: int) -> list[tuple[Step, Verdict]]:
    query = select(VerdictRow.__table__).where(VerdictRow.trajectory_id == trajectory_id).order_by(VerdictRow.id)
    return [(_step_of(row), _verdict_of(row)) for row in await store.read(query)]


async def events_of(store: Store, trajectory_id: int) -> list[ErrorEvent]:
    return [_event_of(row) for row in await store.read(_events_of([trajectory_id]))]


async def count_levels(store: Store, run: str, levels: Collection[str], version: int) -> int:
    """How many of a run's ended trajectories are of these recovery levels, by that version's reading."""
    query = (
        select(func.count().label("many"))
        .select_from(TrajectoryRow)
        .join(RunRow, RunRow.id == TrajectoryRow.run_id)
        .where(RunRow.name == run, TrajectoryRow.assessed == version, TrajectoryRow.level.in_(levels))
    )
    (row,) = await store.read(query)
    return int(row["many"])


async def count_unread(store: Store, run: str, version: int) -> int:
    """How many of a run's finished trajectories that version has not read."""
    query = (
        select(func.count().label("many"))
        .select_from(TrajectoryRow)
        .join(RunRow, RunRow.id == TrajectoryRow.run_id)
        .where(RunRow.name == run, TrajectoryRow.stop.is_not(None), TrajectoryRow.stop != "failed")
        .where(TrajectoryRow.assessed.is_(None) | (TrajectoryRow.assessed != version))
    )
    (row,) = await store.read(query)
    return int(row["many"])


async def kept_ids(store: Store, steps: Sequence[Step], run: str | None = None) -> list[int]:
    """The trajectories that every step keeps, in the order of their ids."""
    query = await _finished(store, run)
    for step in steps:
        verdict = aliased(VerdictRow)
        query = query.join(verdict, _counts(verdict, step) & verdict.keep)
    return [trajectory_id async for page in _pages(store, query, _MANY) for trajectory_id in page]


async def kept_trajectories(store: Store, steps: Sequence[Step], run: str | None = None) -> AsyncIterator[Trajectory]:
    """The same, whole, a page at a time."""
    ids = await kept_ids(store, steps, run)
    for start in range(0, len(ids), _PAGE):
        async for trajectory in load.load_trajectories(store, ids=ids[start : start + _PAGE]):
            yield trajectory


async def unsettled_ids(
    store: Store, steps: Sequence[Step], version: int, run: str | None = None
) -> AsyncIterator[list[int]]:
    """Pages of the trajectories that the steps have not judged to the end, or that another version has assessed."""
    query = await _finished(store, run)
    settled: ColumnElement[bool] = true()
    for step in reversed(steps):
        verdict = aliased(VerdictRow)
        query = query.outerjoin(verdict, _counts(verdict, step))
        judged = verdict.id.is_not(None) & ~verdict.reason.startswith(FAILED)
        settled = and_(judged, or_(~verdict.keep, settled))
    unread = TrajectoryRow.assessed.is_(None) | (TrajectoryRow.assessed != version)
    async for page in _pages(store, query.where(~settled | unread), _PAGE):
        yield page


async def tally(store: Store, steps: Sequence[Step], run: str | None = None) -> tuple[int, list[StepTally]]:
    """How many trajectories there are, and what each step kept and dropped of those that came to it."""
    query = await _finished(store, run)
    seen = await store.read(query.with_only_columns(func.count()))
    tallies = []
    for step in steps:
        verdict = aliased(VerdictRow)
        query = query.join(verdict, _counts(verdict, step))
        counted = query.with_only_columns(verdict.keep, verdict.reason, func.count().label("many"))
        rows = await store.read(counted.group_by(verdict.keep, verdict.reason).order_by(verdict.reason))
        kept = sum(row["many"] for row in rows if row["keep"])
        tallies.append(StepTally(kept, Counter({row["reason"]: row["many"] for row in rows if not row["keep"]})))
        query = query.where(verdict.keep)
    return seen[0]["count"], tallies


async def _finished(store: Store, run: str | None) -> Select[int]:
    """What infrastructure ended is no sample: it is not judged, and will be tried again."""
    query = select(TrajectoryRow.id).where(TrajectoryRow.stop.is_not(None), TrajectoryRow.stop != "failed")
    if run is None:
        return query
    await load.require_run(store, run)
    return query.join(RunRow, RunRow.id == TrajectoryRow.run_id).where(RunRow.name == run)


def _counts(verdict: Any, step: Step) -> ColumnElement[bool]:
    """That this row is the step's verdict on the trajectory as it now is."""
    return and_(
        verdict.trajectory_id == TrajectoryRow.id,
        verdict.filter == step.filter,
        verdict.version == step.version,
        verdict.parameters == step.parameters,
        _is_of(verdict),
    )


def _is_of(verdict: Any) -> ColumnElement[bool]:
    """That it was passed on the trajectory as it now is, and on what is known of it."""
    verified_since = exists().where(
        VerificationRow.trajectory_id == verdict.trajectory_id, VerificationRow.verified > verdict.judged
    )
    return and_(verdict.judged >= TrajectoryRow.ended, ~verified_since)


async def _pages(store: Store, query: Select[int], size: int) -> AsyncIterator[list[int]]:
    after = 0
    ordered = query.order_by(TrajectoryRow.id).limit(size)
    while rows := await store.read(ordered.where(TrajectoryRow.id > after)):
        yield [row["id"] for row in rows]
        after = rows[-1]["id"]


def _events_of(ids: Sequence[int]) -> Select[Any]:
    return select(ErrorEventRow.__table__).where(ErrorEventRow.trajectory_id.in_(ids)).order_by(ErrorEventRow.id)


def _step_of(row: RowMapping) -> Step:
    return Step(row["filter"], row["version"], row["parameters"])


def _verdict_of(row: RowMapping) -> Verdict:
    return Verdict(row["keep"], row["reason"], row["evidence"])


def _event_of(row: RowMapping) -> ErrorEvent:
    return ErrorEvent(row["position"], row["kind"], row["signature"], row["detail"])


def _event_values(trajectory_id: int, event: ErrorEvent, version: int) -> dict[str, Any]:
    values = {"position": event.turn, "kind": event.kind, "signature": event.signature, "detail": event.detail}
    return {"trajectory_id": trajectory_id, "version": version, **values}
