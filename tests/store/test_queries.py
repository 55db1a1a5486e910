"""Sums over the log: of what has ended, of what is under way, and of tasks over all teachers of a run."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from store import queries
from store.queries import Group, Pass, group_sums, samples, task_passes
from store.store import open_store
from tests.sums import STRONG, VERSION, WEAK, add_trajectory, reading, reply


async def test_what_has_ended_and_what_is_under_way_are_summed_alike(address: str) -> None:
    async with open_store(address, create=True) as store:
        await add_trajectory(store, 1, "solved", replies=(reply("0.1"), reply("0.2"), reply(None)))
        await add_trajectory(store, 2, "failed")
        await add_trajectory(store, 3, None)
        await add_trajectory(store, 4, None, replies=())
        (group,) = await group_sums(store)
        sums = group.sums
    assert (group.run, group.environment, group.teacher) == ("r", "math", WEAK)
    assert (sums.trajectories, sums.finished, sums.solved, sums.failed, sums.unfinished) == (4, 1, 1, 1, 2)
    assert (sums.turns, sums.tokens_in, sums.tokens_out) == (7, 70, 35)
    assert (sums.tokens_cache_read, sums.tokens_cache_write) == (28, 7)
    assert (sums.cost, sums.unpriced) == (Decimal("0.7"), 1)


async def test_levels_and_errors_are_summed_by_class(address: str) -> None:
    async with open_store(address, create=True) as store:
        await add_trajectory(store, 1, "solved", reading("R2", "E1", "E1", "E4"))
        await add_trajectory(store, 2, "solved", reading("R2", "E1", "E1", "E4"))
        await add_trajectory(store, 3, "max_turns", reading("U", "E3"))
        await add_trajectory(store, 4, "solved", reading("R0"))
        (group,) = await group_sums(store, reading=VERSION)
    assert group.sums.levels == Counter(R2=2, U=1, R0=1)
    assert group.sums.errors == Counter(E1=4, E4=2, E3=1)
    assert group.sums.unread == 0


async def test_a_reading_of_another_version_counts_for_nothing_and_is_told(address: str) -> None:
    async with open_store(address, create=True) as store:
        await add_trajectory(store, 1, "solved", reading("R2", "E1"))
        await add_trajectory(store, 2, "solved", reading("R2", "E1", version=VERSION - 1))
        await add_trajectory(store, 3, "max_turns")
        await add_trajectory(store, 4, "failed")
        await add_trajectory(store, 5, None)
        (group,) = await group_sums(store, reading=VERSION)
        (unasked,) = await group_sums(store)
    assert (group.sums.finished, group.sums.unread) == (3, 2)
    assert group.sums.levels == Counter(R2=1)
    assert group.sums.errors == Counter(E1=1)
    assert (unasked.sums.unread, unasked.sums.levels, unasked.sums.errors) == (0, Counter(), Counter())


async def test_groups_stand_in_the_order_of_their_runs_and_of_the_configured_teachers(address: str) -> None:
    async with open_store(address, create=True) as store:
        for run in ("z", "a"):
            for teacher in ("other:one", STRONG, WEAK, f"{WEAK}>{STRONG}"):
                await add_trajectory(store, 1, "solved", teacher=teacher, run=run, replies=())
        await add_trajectory(store, 1, "solved", environment="gsm8k", run="a", replies=())
        found = [(one.run, one.environment, one.teacher) for one in await group_sums(store)]
        only = await group_sums(store, "a")
    order = [WEAK, STRONG, f"{WEAK}>{STRONG}", "other:one"]
    assert found == [*(("z", "math", one) for one in order), ("a", "gsm8k", WEAK), *(("a", "math", o) for o in order)]
    assert {one.run for one in only} == {"a"}


async def test_tasks_are_followed_from_teacher_to_teacher(address: str) -> None:
    async with open_store(address, create=True) as store:
        for task, stop in enumerate(["solved", "solved", "max_turns", "max_turns", "max_turns", "failed"]):
            await add_trajectory(store, task, stop, replies=())
        await add_trajectory(store, 2, "solved", attempt=1, replies=())
        for task, stop in [(3, "solved"), (4, "max_turns"), (0, "solved")]:
            await add_trajectory(store, task, stop, teacher=STRONG, replies=())
        await add_trajectory(store, 1, "solved", run="other", replies=())
        one, other = await task_passes(store, await group_sums(store))
    assert (one.run, one.environment, one.tasks, one.solved) == ("r", "math", 6, 4)
    assert one.passes == (Pass(WEAK, given=6, solved=3, first=3), Pass(STRONG, given=3, solved=2, first=1))
    assert (other.run, other.tasks, other.solved) == ("other", 1, 1)


async def test_samples_are_the_newest_that_have_finished(address: str) -> None:
    async with open_store(address, create=True) as store:
        await add_trajectory(store, 1, "solved", replies=(reply("0.5"),))
        await add_trajectory(store, 2, "max_turns", replies=(reply(None), reply()))
        await add_trajectory(store, 3, "failed")
        await add_trajectory(store, 4, None)
        await add_trajectory(store, 5, "solved", replies=())
        await add_trajectory(store, 6, "solved", teacher=STRONG)
        await add_trajectory(store, 7, "solved", environment="gsm8k")
        await add_trajectory(store, 8, "solved", run="other", replies=(reply("0.25"),))
        own = await samples(store, environment="math", teacher=WEAK, run="r")
        everywhere = await samples(store, environment="math", teacher=WEAK)
        newest = await samples(store, environment="math", teacher=WEAK, newest=1)
    assert [(one.solved, one.tokens, one.cost) for one in own] == [(False, 30, None), (True, 15, Decimal("0.5"))]
    assert [one.cost for one in everywhere] == [Decimal("0.25"), None, Decimal("0.5")]
    assert newest == everywhere[:1]
    assert all(0 <= one.seconds < 60 for one in everywhere)


@pytest.mark.parametrize("run", [None, "r"])
async def test_sums_are_read_from_the_index_alone_and_in_its_order(address: str, run: str | None) -> None:
    if not address.startswith("sqlite"):
        pytest.skip("how SQLite goes about it")
    async with open_store(address, create=True) as store:
        await add_trajectory(store, 1, "solved")
        query = queries._ended(run, VERSION)
        sql = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        plan = [row["detail"] for row in await store.read(text(f"EXPLAIN QUERY PLAN {sql}"))]
    assert "USING COVERING INDEX ix_trajectories_sums" in plan[0]
    assert not [step for step in plan if "TEMP B-TREE" in step]


def test_groups_are_added_up_whole() -> None:
    sums = queries.Sums(*range(1, 11), Decimal(11), 12, Counter(R2=1), Counter(E1=2))  # type: ignore[arg-type]
    group = Group("r", None, "math", WEAK, sums)  # type: ignore[arg-type]
    both = queries.total([group, replace(group, teacher=STRONG)])
    assert both.trajectories == 2
    assert both == queries.Sums(*(2 * n for n in range(1, 11)), Decimal(22), 24, Counter(R2=2), Counter(E1=4))  # type: ignore[arg-type]
