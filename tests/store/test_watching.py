"""A run of other processes, followed by reading the store alone."""

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from environments.types import Call, Most
from store.budget import Caps, set_budget
from store.lease import Lease, leased
from store.log import TrajectoryLog
from store.queries import group_sums, total
from store.store import open_store
from store.watching import Watch, run_named, runs_at_work
from tests.sums import STRONG, VERSION, WEAK, add_trajectory, reading, reply

NOBODY = 1_000_000


async def test_look_by_look_the_sums_are_those_of_the_whole_run(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.watching._RECENT", 2)
    monkeypatch.setattr("store.watching._AT_ONCE", 2)
    async with open_store(address, create=True) as store:
        for task, stop in enumerate(["solved", "failed", None, "max_turns", "failed", None]):
            await add_trajectory(store, task, stop, reading("R2") if stop == "solved" else None)
        await add_trajectory(store, 0, "solved", run="other")
        watch = Watch(store, *await run_named(store, "r"), VERSION)
        new = (reply(None), reply())
        for task, stop, teacher, replies in [
            (10, "solved", STRONG, new), (2, "solved", WEAK, ()), (1, None, WEAK, ()), (1, "failed", WEAK, ()),
            (4, "solved", WEAK, ()), (11, None, STRONG, new), (12, "solved", WEAK, new), (13, "failed", WEAK, new),
            (11, "max_turns", STRONG, ()),
        ]:  # fmt: skip
            assessment = reading("U") if stop == "max_turns" else None
            await add_trajectory(store, task, stop, assessment, teacher=teacher, replies=replies)
            for _ in range(2):
                view = await watch.look()
                whole = total(await group_sums(store, "r", reading=VERSION))
                assert view.sums == replace(whole, errors=Counter())


async def test_who_works_is_told_from_what_the_dead_have_left(address: str) -> None:
    async with open_store(address, create=True) as store:
        await add_trajectory(store, 1, None, epoch=NOBODY)
        run_id, name = await run_named(store, "r")
        watch = Watch(store, run_id, name, VERSION)
        assert await runs_at_work(store) == []
        async with leased(store, run_id) as lease:
            await add_trajectory(store, 2, None, epoch=lease.epoch)
            await add_trajectory(store, 3, None, epoch=lease.epoch)
            assert await runs_at_work(store) == [(run_id, "r")]
            view = await watch.look()
            (worker,) = view.workers
            assert (worker.pid, worker.under_way) == (os.getpid(), 2)
            assert (view.sums.unfinished, view.left) == (3, 1)
        view = await watch.look()
        assert (view.workers, view.left) == ((), 3)


async def test_what_is_reserved_for_answers_that_will_not_come_is_told(address: str) -> None:
    async with open_store(address, create=True) as store:
        assert await add_trajectory(store, 1, None, epoch=NOBODY, replies=()) == 1
        run_id, name = await run_named(store, "r")
        await store.write(lambda connection: set_budget(connection, Lease(run_id, 1), Caps(usd=Decimal(10))))
        watch = Watch(store, run_id, name, VERSION)
        async with leased(store, run_id) as lease:
            open_one, lost_one = [await add_trajectory(store, n, None, epoch=lease.epoch, replies=()) for n in (2, 3)]
            for epoch, trajectory_id in ((NOBODY, 1), (lease.epoch, open_one), (lease.epoch, lost_one)):
                log = TrajectoryLog(store, Lease(run_id, epoch), trajectory_id)
                assert await log.reserve(0, Most(100, Decimal(1)))
            await log.call(Call(0, datetime.now(UTC), 1.0, "timeout", message="no answer", lost=True))
            view = await watch.look()
    assert view.budget is not None
    assert (view.budget.cap_usd, view.budget.reserved_usd) == (Decimal(10), Decimal(3))
    assert (view.lost.calls, view.lost.usd, view.lost.tokens) == (2, Decimal(2), 200)


async def test_the_newest_faults_of_this_run_are_told_once(address: str) -> None:
    async with open_store(address, create=True) as store:
        other = await add_trajectory(store, 1, None, run="other")
        mine = await add_trajectory(store, 1, None)
        run_id, name = await run_named(store, "r")
        watch = Watch(store, run_id, name, VERSION)
        for number in range(5):
            for trajectory_id, message in ((mine, f"mine {number}"), (other, "other")):
                log = TrajectoryLog(store, Lease(run_id, 1), trajectory_id)
                await log.call(Call(0, datetime.now(UTC), 1.0, "server", 500, message=message))
        first = await watch.look()
        await TrajectoryLog(store, Lease(run_id, 1), mine).call(Call(0, datetime.now(UTC), 1.0, "rate_limited", 429))
        second, third = await watch.look(), await watch.look()
    assert [fault.message for fault in first.faults] == ["mine 2", "mine 3", "mine 4"]
    assert [fault.message for fault in second.faults] == ["mine 3", "mine 4", "status 429"]
    assert third.faults == second.faults


async def test_the_pace_is_that_of_late(address: str) -> None:
    async with open_store(address, create=True) as store:
        await add_trajectory(store, 1, "solved")
        watch = Watch(store, *await run_named(store, "r"), VERSION)
        assert (await watch.look()).pace is None
        for task in range(2, 12):
            await add_trajectory(store, task, "max_turns")
        pace = (await watch.look()).pace
    assert pace is not None
    assert pace > 1
