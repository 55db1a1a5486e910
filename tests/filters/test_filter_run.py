"""A recipe over a real store: the same rows whoever runs it, however often."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from environments.types import CellError, CellResult, Grade, Trajectory, Verdict
from filters import recipe as recipes
from filters import run as runs
from filters.filter import Filter, Reading
from filters.recipe import Recipe, Step, load_recipe
from filters.run import filter_store, read_funnel
from store import ledger
from store.schema import ErrorEventRow, TrajectoryRow, VerdictRow
from store.store import Store, open_store
from tests.factory import execute, make_trajectory, make_turn, put, solve

RIGHT, WRONG = Grade(True, 1.0), Grade(False, 0.0)
FAILED = CellResult(error=CellError("NameError", "name 'x' is not defined", "Cell In[1], line 1\n----> 1 y = x\n"))
RECOVERED = load_recipe("recovered")
TABLES = (VerdictRow.__table__, ErrorEventRow.__table__)


def samples() -> list[Trajectory]:
    """One recovered, one without an error, one bypassed, one of form, one unsolved."""
    error, fix = make_turn(0, execute("y = x"), FAILED), make_turn(1, execute("x = 2\ny = x"), CellResult())
    fine = make_turn(0, execute("print(2)"), CellResult("2\n"))
    answer = [make_turn(index, solve("2"), grade=RIGHT) for index in range(3)]
    turns = [
        [error, fix, answer[2]],
        [fine, answer[1]],
        [error, answer[1]],
        [make_turn(0, "no tag"), answer[1]],
        [error, make_turn(1, solve("3"), grade=WRONG)],
    ]
    return [make_trajectory(one, number=number) for number, one in enumerate(turns)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{tmp_path / 'errata.db'}", create=True) as store:
        for one in samples():
            await put(store, one)
        yield store


async def test_the_funnel_says_what_each_step_left_and_why(store: Store) -> None:
    funnel = await filter_store(store, RECOVERED)
    assert (funnel.seen, funnel.kept) == (5, 1)
    assert [(step.step.filter.name, step.kept, dict(step.dropped)) for step in funnel.steps] == [
        ("solved", 4, {"not solved: max_turns": 1}),
        ("errors_recovered", 1, {"R0: no error": 1, "R1: errors bypassed": 1, "R2: nothing fixed but form": 1}),
    ]
    assert funnel.as_json()["steps"][0]["dropped"] == {"not solved: max_turns": 1}  # type: ignore[index,call-overload]
    (kept,) = await ledger.kept_ids(store, RECOVERED.keys)
    assert [event.kind for event in await ledger.events_of(store, kept)] == ["E1"]


async def test_two_runs_leave_the_same_rows(store: Store) -> None:
    first = await filter_store(store, RECOVERED)
    before = [await store.read(select(table)) for table in TABLES]
    assert await filter_store(store, RECOVERED) == first
    assert [await store.read(select(table)) for table in TABLES] == before
    assert len(before[0]) == 9


async def test_a_warm_ledger_loads_no_trajectory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []
    monkeypatch.setattr(recipes, "Reading", lambda one: loaded.append(one.id) or Reading(one))
    monkeypatch.setattr(runs, "Reading", lambda one: loaded.append(one.id) or Reading(one))
    await filter_store(store, RECOVERED)
    assert len(loaded) == 5
    await put(store, replace(samples()[0], run="later"))
    assert (await filter_store(store, RECOVERED)).kept == 2
    assert len(loaded) == 6


async def test_events_that_an_older_version_read_are_read_again(store: Store) -> None:
    await filter_store(store, RECOVERED)
    right = await store.read(select(ErrorEventRow.signature))
    old = update(ErrorEventRow).values(version=0, signature="as it was")
    older = update(TrajectoryRow).values(assessed=1)
    await store.write(lambda connection: connection.execute(old) and connection.execute(older))
    await filter_store(store, RECOVERED)
    assert await store.read(select(ErrorEventRow.signature)) == right


async def test_a_filter_that_fails_on_one_trajectory_does_not_end_the_run(store: Store) -> None:
    def fragile(trajectory: Trajectory, reading: Reading) -> Verdict:
        return Verdict(1 / (len(trajectory.turns) - 3) < 0, "short")

    recipe = Recipe("fragile", (Step(Filter("fragile", 1, fragile), {}),))
    funnel = await filter_store(store, recipe)
    assert (funnel.seen, funnel.kept) == (5, 4)
    assert dict(funnel.steps[0].dropped) == {"filter failed: ZeroDivisionError: division by zero": 1}


async def test_one_run_can_be_judged_alone(store: Store) -> None:
    await put(store, replace(samples()[0], run="other"))
    funnel = await filter_store(store, RECOVERED, run="other")
    assert (funnel.seen, funnel.kept) == (1, 1)
    assert (await read_funnel(store, RECOVERED)).steps[0].kept == 1
