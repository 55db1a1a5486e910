"""The ledger on a real store: verdicts, events and exports are written once, and count while they are true."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql

from environments.faults import UsageError
from environments.types import Assessment, CellResult, ErrorEvent, Grade, Outcome, Recovery, Trajectory, Verdict
from store import ledger
from store.ledger import Judgement, Step
from store.schema import ErrorEventRow, ExportRow, TrajectoryRow, VerdictRow
from store.store import Store, open_store
from tests.factory import execute, make_trajectory, make_turn, put, solve

FIRST, SECOND = Step("solved", 1, "{}"), Step("level", 2, '{"min":"R2"}')
YES, NO = Verdict(True, "kept", {"spans": ((0, 1),)}), Verdict(False, "dropped")
EVENT = ErrorEvent(0, "E1", "NameError: name 'x' is not defined", {"lineno": 1, "oddities": ("no_tag",)})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{tmp_path / 'errata.db'}", create=True) as store:
        yield store


def sample(number: int, run: str = "r") -> Trajectory:
    turns = [make_turn(0, execute("1"), CellResult()), make_turn(1, solve("2"), grade=Grade(True, 1.0))]
    return replace(make_trajectory(turns, number=number), run=run)


async def fill(store: Store, count: int, run: str = "r") -> list[int]:
    return [(await put(store, sample(number, run))).id for number in range(count)]


def read(*events: ErrorEvent, version: int = 1) -> Assessment:
    return Assessment(events, version, Recovery("R1"), version)


async def record(store: Store, *judgements: Judgement) -> None:
    await ledger.record_page(store, judgements, {one.trajectory_id: read() for one in judgements})


async def unsettled(store: Store, *steps: Step, version: int = 1, run: str | None = None) -> list[int]:
    return [one async for page in ledger.unsettled_ids(store, steps, version, run) for one in page]


async def test_verdicts_and_events_come_back_as_written(store: Store) -> None:
    (one,) = await fill(store, 1)
    await ledger.record_page(store, [Judgement(one, FIRST, YES), Judgement(one, SECOND, NO)], {one: read(EVENT)})
    stored = Verdict(True, "kept", {"spans": [[0, 1]]})
    assert await ledger.verdicts_of(store, one) == [(FIRST, stored), (SECOND, NO)]
    (event,) = await ledger.events_of(store, one)
    assert event == replace(EVENT, detail={"lineno": 1, "oddities": ["no_tag"]})


async def test_an_equal_verdict_and_equal_events_are_left_alone(store: Store) -> None:
    (one,) = await fill(store, 1)
    judgements, tables = [Judgement(one, FIRST, YES)], (VerdictRow.__table__, ErrorEventRow.__table__)
    await ledger.record_page(store, judgements, {one: read(EVENT)})
    before = [await store.read(select(table)) for table in tables]
    await ledger.record_page(store, judgements, {one: read(EVENT)})
    assert [await store.read(select(table)) for table in tables] == before


async def test_another_verdict_of_the_same_step_takes_the_place_of_the_first(store: Store) -> None:
    (one,) = await fill(store, 1)
    await record(store, Judgement(one, FIRST, YES))
    await record(store, Judgement(one, FIRST, NO))
    assert await ledger.verdicts_of(store, one) == [(FIRST, NO)]


async def test_events_of_an_older_version_are_replaced(store: Store) -> None:
    one, other = await fill(store, 2)
    await ledger.record_page(store, [], {one: read(EVENT, EVENT), other: read(EVENT)})
    await ledger.record_page(store, [], {one: read(EVENT, version=2)})
    rows = await store.read(select(ErrorEventRow.trajectory_id, ErrorEventRow.version))
    assert sorted(tuple(row.values()) for row in rows) == [(one, 2), (other, 1)]


async def test_kept_is_what_every_step_keeps(store: Store) -> None:
    both, first_only, second_only, neither = await fill(store, 4)
    keeps = {both: (YES, YES), first_only: (YES, NO), second_only: (NO, YES), neither: (NO, NO)}
    judgements = [
        Judgement(one, step, verdict)
        for one, verdicts in keeps.items()
        for step, verdict in zip((FIRST, SECOND), verdicts, strict=True)
    ]
    await record(store, *judgements)
    assert await ledger.kept_ids(store, [FIRST, SECOND]) == [both]
    assert await ledger.kept_ids(store, [FIRST]) == [both, first_only]
    assert await ledger.kept_ids(store, [replace_version(FIRST)]) == []
    assert [one.id async for one in ledger.kept_trajectories(store, [FIRST])] == [both, first_only]
    assert await ledger.tally(store, [FIRST, SECOND]) == (
        4,
        [ledger.StepTally(2, Counter(dropped=2)), ledger.StepTally(1, Counter(dropped=1))],
    )


def replace_version(step: Step) -> Step:
    return step._replace(version=step.version + 1)


async def test_runs_are_kept_apart(store: Store) -> None:
    (one,), (other,) = await fill(store, 1, "one"), await fill(store, 1, "other")
    await record(store, Judgement(one, FIRST, YES), Judgement(other, FIRST, YES))
    assert await ledger.kept_ids(store, [FIRST], "other") == [other]
    assert (await ledger.tally(store, [FIRST], "other"))[0] == 1
    assert await unsettled(store, SECOND, run="one") == [one]
    with pytest.raises(UsageError, match="there is no run 'another'"):
        await ledger.kept_ids(store, [FIRST], "another")


async def test_what_is_settled_is_not_judged_again(store: Store) -> None:
    fresh, kept, dropped_first, half, outdated = await fill(store, 5)
    judgements = [
        *(Judgement(one, step, YES) for one in (kept, outdated) for step in (FIRST, SECOND)),
        Judgement(dropped_first, FIRST, NO),
        Judgement(half, FIRST, YES),
    ]
    await ledger.record_page(store, judgements, {one: read(EVENT) for one in (outdated, kept, dropped_first, half)})
    await ledger.record_page(store, [], {one: read(EVENT, version=2) for one in (kept, dropped_first)})
    assert await unsettled(store, FIRST, SECOND, version=2) == [fresh, half, outdated]


async def test_pages_of_what_is_unsettled_hold_everything_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_PAGE", 3)
    ids = await fill(store, 7)
    pages = [page async for page in ledger.unsettled_ids(store, [FIRST], 1)]
    assert pages == [ids[:3], ids[3:6], ids[6:]]


async def test_a_filter_that_failed_is_asked_again_and_stands_in_the_tally(store: Store) -> None:
    (one,) = await fill(store, 1)
    broken = Verdict(False, "filter failed: ZeroDivisionError: division by zero")
    await record(store, Judgement(one, FIRST, broken))
    assert await unsettled(store, FIRST) == [one]
    assert (await ledger.tally(store, [FIRST]))[1][0].dropped == {broken.reason: 1}


async def test_a_verdict_ceases_to_count_when_its_trajectory_goes_on(store: Store) -> None:
    trajectory = replace(sample(0), turns=())
    one = (await put(store, trajectory, Outcome("max_turns"))).id
    await record(store, Judgement(one, FIRST, YES))
    assert await ledger.kept_ids(store, [FIRST]) == [one]
    later = update(TrajectoryRow).values(ended=datetime.now(UTC))
    await store.write(lambda connection: connection.execute(later))
    assert await ledger.kept_ids(store, [FIRST]) == []
    assert await unsettled(store, FIRST) == [one]
    await record(store, Judgement(one, FIRST, YES))
    assert await ledger.kept_ids(store, [FIRST]) == [one]


async def test_what_infrastructure_ended_is_no_sample(store: Store) -> None:
    await put(store, replace(sample(0), turns=()), Outcome("failed", "no network"))
    assert await unsettled(store, FIRST) == []
    assert (await ledger.tally(store, [FIRST]))[0] == 0


async def test_an_export_is_written_down(store: Store) -> None:
    await ledger.record_export(store, path="out", form="codeact", recipe={"name": "recovered"}, rows=3)
    (row,) = await store.read(select(ExportRow.__table__))
    assert (row["path"], row["format"], row["recipe"], row["rows"]) == ("out", "codeact", {"name": "recovered"}, 3)


def test_the_conditions_are_sql_that_postgres_reads_too() -> None:
    query = select(VerdictRow.id).where(ledger._counts(VerdictRow, FIRST), ~VerdictRow.reason.startswith("x"))
    said = str(query.compile(dialect=postgresql.dialect()))
    assert "verdicts.judged >= trajectories.ended" in said
    assert "NOT LIKE" in said


async def test_how_far_trajectories_recovered_is_counted_by_run_and_version(store: Store) -> None:
    one, other = await fill(store, 2)
    (elsewhere,) = await fill(store, 1, "s")
    await ledger.record_page(store, [], {one: read(), other: read(EVENT, version=2), elsewhere: read(version=2)})
    assert await ledger.count_levels(store, "r", ["R1", "R2"], 2) == 1
    assert await ledger.count_levels(store, "r", ["R2"], 2) == 0
    await ledger.record_page(store, [], {one: read(version=2)})
    assert await ledger.count_levels(store, "r", ["R1", "R2"], 2) == 2
