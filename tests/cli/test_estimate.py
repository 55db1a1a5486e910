"""What the open work of a run is said to cost and take."""

from decimal import Decimal
from math import sqrt
from pathlib import Path

import pytest

from cli.estimate import LEAST, Estimate, Interval, Projection, estimate
from store.queries import Sample
from store.store import open_store
from tests.sums import STRONG, WEAK, add_trajectory, reply


def sample(cost: str | None = "1", seconds: float = 10.0, tokens: int = 100, *, solved: bool = True) -> Sample:
    return Sample(seconds, solved, tokens, None if cost is None else Decimal(cost))


def project(found: list[Sample], open_work: int = 100, *, of_this_run: bool = True) -> Projection:
    return Projection.make("openai:m", open_work, found, of_this_run=of_this_run)


def test_the_sum_to_come_is_the_mean_times_what_is_open() -> None:
    found = [sample(cost, seconds) for cost, seconds in [("1", 10), ("2", 20), ("3", 30), ("2", 20), ("2", 20)]]
    whole = Estimate((project(found),), concurrency=4)
    assert whole.dollars is not None
    assert whole.seconds is not None
    assert whole.dollars.value == pytest.approx(200)
    assert whole.seconds.value == pytest.approx(100 * 20 / 4)
    # Student's t for 4 degrees is 2.776; the spread of the costs is the root of 1/2.
    assert whole.dollars.margin == pytest.approx(2.776 * sqrt(0.5) * sqrt(100 + 100**2 / 5), rel=0.005)
    assert whole.seconds.margin == pytest.approx(whole.dollars.margin * 10 / 4)


def test_what_differs_little_is_told_closely() -> None:
    whole = Estimate((project([sample()] * 50),), concurrency=1)
    assert whole.dollars == Interval(100.0, 0.0)
    assert whole.as_json()["usd"] == {"value": 100.0, "low": 100.0, "high": 100.0}


def test_no_bound_is_below_nothing() -> None:
    found = [sample("0.01")] * 4 + [sample("5")]
    dollars = project(found).dollars
    assert dollars is not None
    assert dollars.as_json()["low"] == 0.0


def test_too_few_tell_a_sum_and_no_interval() -> None:
    whole = Estimate((project([sample()] * 4),), concurrency=1)
    assert whole.dollars == Interval(100.0, None)
    assert any("too few" in line for line in whole.lines())


def test_an_unknown_price_is_said_and_never_taken_for_nothing() -> None:
    whole = Estimate((project([sample(), *[sample(None)] * 9]),), concurrency=1)
    assert whole.dollars is None
    assert whole.tokens is not None
    assert "not known" in whole.lines()[1]
    assert any("--price" in line for line in whole.lines())
    assert whole.as_json()["usd"] is None


def test_one_teacher_that_is_not_known_leaves_the_sum_of_all_unknown() -> None:
    other = Projection.make("anthropic:n", 5, [], of_this_run=True)
    whole = Estimate((project([sample()] * 9), other), concurrency=1)
    assert whole.dollars is None
    assert any("--pilot" in line for line in whole.lines())
    done = Projection.make("anthropic:n", 0, [], of_this_run=True)
    assert Estimate((project([sample()] * 9), done), concurrency=1).dollars == Interval(100.0, 0.0)


def test_a_trajectory_that_lay_still_over_night_tells_nothing_of_the_time() -> None:
    found = [sample(seconds=10.0)] * 9 + [sample(seconds=30_000.0)]
    assert project(found).seconds == Interval(1000.0, 0.0)
    assert project(found).finished == 10


def test_lines_are_a_table_of_at_most_100_columns() -> None:
    long = Projection.make("openai:" + "x" * 200, 20_000, [sample("1.5"), *[sample()] * 8], of_this_run=False)
    lines = Estimate((long, project([sample()] * 9)), concurrency=8).lines()
    table = lines[:4]
    assert max(map(len, table)) <= 100
    assert len(set(map(len, table))) == 1
    assert table[3].startswith("all")
    assert any("other runs" in line for line in lines)


async def test_a_run_is_judged_by_its_own_trajectories_and_else_by_those_of_others(tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path / 'errata.db'}", create=True) as store:
        for task in range(LEAST):
            await add_trajectory(store, task, "solved" if task else "max_turns", replies=(reply("0.5"),))
            await add_trajectory(store, task, "solved", run="earlier", teacher=STRONG, replies=(reply("2"),))
            await add_trajectory(store, task, "solved", run="earlier", environment="gsm8k", teacher=STRONG)
        work = {WEAK: 10, STRONG: 10, "openai:new": 10}
        plain = await estimate(store, run="r", environment="math", open_work=work, concurrency=2)
        escalated = await estimate(store, run="r", environment="math", open_work=work, concurrency=2, escalate=True)
    weak, strong, new = plain.projections
    assert (weak.dollars, weak.of_this_run) == (Interval(5.0, 0.0), True)
    assert (strong.dollars, strong.of_this_run) == (Interval(20.0, 0.0), False)
    assert (new.dollars, new.finished) == (None, 0)
    # One in five is left unsolved by the first teacher, none by the second.
    assert [one.open for one in escalated.projections] == [10, 2, 0]
    assert escalated.dollars == Interval(9.0, 0.0)
