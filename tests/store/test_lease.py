"""Several processes on one run: each has its own trajectories, and none writes into another's."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import delete, select, update

from environments.types import Outcome, Prompt, Reply, Rules, Run, Task, Usage, Work
from store import lease as leases
from store.lease import Lease, LeaseLost, leased
from store.load import load_partial
from store.log import Beginning, Claimed, Taken, TrajectoryLog, add_prompt, add_tasks, claim, ensure_run
from store.schema import LeaseRow, TrajectoryRow, TurnRow
from store.store import Store, open_store

TASK = Task("math/1", "math", "What is 1+1?", "2")
PROMPT = Prompt("system", "example")
REPLY = Reply("<solution>2</solution>", "x:y", "y", "stop", Usage(1, 1), 0.1, None, {})


@pytest.fixture
async def store(address: str) -> AsyncIterator[Store]:
    async with open_store(address, create=True) as opened:
        yield opened


async def run_of(store: Store) -> int:
    return await ensure_run(store, Run("r", {}), Rules())


async def claimed(store: Store, lease: Lease, attempt: int = 0) -> Claimed | Taken:
    await add_prompt(store, PROMPT)
    rows = await add_tasks(store, [TASK])
    return await claim(
        store, lease, Beginning(Work(TASK.id, "x:y", attempt), rows[TASK.id], "math", PROMPT, "none", 7, {})
    )


async def mine(store: Store, lease: Lease) -> TrajectoryLog:
    got = await claimed(store, lease)
    assert isinstance(got, Claimed)
    return TrajectoryLog(store, lease, got.id)


async def pretend(store: Store, lease: Lease, owner: str) -> None:
    """The lease is another process's."""
    of_it = update(LeaseRow).where(LeaseRow.epoch == lease.epoch).values(owner=owner)
    await store.write(lambda connection: connection.execute(of_it))


async def test_what_a_living_process_is_at_is_left_to_it(store: Store) -> None:
    run_id = await run_of(store)
    async with leased(store, run_id) as one, leased(store, run_id) as other:
        log = await mine(store, one)
        assert await claimed(store, other) == Taken(ended=False)
        assert isinstance(await claimed(store, other, attempt=1), Claimed)
        await log.end(Outcome("max_turns"))
        assert await claimed(store, other) == Taken(ended=True)


async def test_what_infrastructure_ended_is_for_whoever_comes_first(store: Store) -> None:
    run_id = await run_of(store)
    async with leased(store, run_id) as one, leased(store, run_id) as other:
        await (await mine(store, one)).end(Outcome("failed", "the server was down"))
        assert isinstance(await claimed(store, other), Claimed)
        assert await claimed(store, one) == Taken(ended=False)


async def test_of_two_that_want_the_same_at_once_one_gets_it(address: str) -> None:
    async with open_store(address, create=True) as here, open_store(address) as there:
        run_id = await run_of(here)
        async with leased(here, run_id) as one, leased(there, run_id) as other:
            for attempt in range(20):
                got = await asyncio.gather(claimed(here, one, attempt), claimed(there, other, attempt))
                assert sorted(type(each).__name__ for each in got) == ["Claimed", "Taken"]


@pytest.mark.parametrize("pid", [2**22 + 1, os.getpid()], ids=["a pid that is gone", "a pid that is used again"])
async def test_a_dead_processs_work_is_taken_up_at_once(store: Store, pid: int) -> None:
    run_id = await run_of(store)
    async with leased(store, run_id) as dead, leased(store, run_id) as living:
        await mine(store, dead)
        await pretend(store, dead, f"{leases._host()}/{pid}/1")
        assert isinstance(await claimed(store, living), Claimed)
        assert [row["epoch"] for row in await store.read(select(LeaseRow.epoch))] == [living.epoch]


async def test_a_silent_host_is_believed_dead_after_a_minute_of_ones_own_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(leases, "_clock", lambda: now)
    run_id = await run_of(store)
    async with leased(store, run_id) as far, leased(store, run_id) as near:
        await mine(store, far)
        await pretend(store, far, "elsewhere/1/1")

        async def left_for(seconds: float, each: float) -> list[bool]:
            nonlocal now
            seen = []
            for _ in range(int(seconds / each)):
                now += each
                seen.append(await claimed(store, near) == Taken(ended=False))
            return seen

        assert all(await left_for(58, 2))
        beat = update(LeaseRow).where(LeaseRow.epoch == far.epoch).values(beats=7)
        await store.write(lambda connection: connection.execute(beat))
        assert all(await left_for(58, 2))
        assert not all(await left_for(6, 2))


async def test_while_the_store_was_away_nobody_has_died(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(leases, "_clock", lambda: now)
    run_id = await run_of(store)
    async with leased(store, run_id) as far, leased(store, run_id) as near:
        await mine(store, far)
        await pretend(store, far, "elsewhere/1/1")
        assert await claimed(store, near) == Taken(ended=False)
        now += 3600
        assert await claimed(store, near) == Taken(ended=False)


async def test_a_host_that_is_only_named_alike_is_another(store: Store) -> None:
    run_id = await run_of(store)
    async with leased(store, run_id) as far, leased(store, run_id) as near:
        await mine(store, far)
        await pretend(store, far, f"{os.uname().nodename}~0000~1/{2**22 + 1}/1")
        assert await claimed(store, near) == Taken(ended=False)


async def test_one_that_was_thought_dead_writes_nothing_more_but_keeps_what_it_has_bought(store: Store) -> None:
    run_id = await run_of(store)
    async with leased(store, run_id) as slept, leased(store, run_id) as other:
        log = await mine(store, slept)
        await pretend(store, slept, f"{leases._host()}/1/none")
        taken = await mine(store, other)
        with pytest.raises(LeaseLost):
            await log.reply(0, REPLY)
        with pytest.raises(LeaseLost):
            await log.end(Outcome("solved"))
        bought = replace(REPLY, text="<solution>3</solution>")
        await taken.reply(0, bought)
        kept = await store.read(select(TurnRow.text, TurnRow.abandoned).order_by(TurnRow.id))
        assert [tuple(row.values()) for row in kept] == [(REPLY.text, True), (bought.text, False)]
        assert (await load_partial(store, 1)).pending == bought


async def test_a_lease_is_renewed_and_one_that_was_ended_by_others_comes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_RENEW_SECONDS", 0.02)
    run_id = await run_of(store)
    async with leased(store, run_id) as lease:
        await pretend(store, lease, f"{leases._host()}/1/none")
        other = Lease(run_id, 99)
        assert await store.write(other.living) == set()
        for _ in range(200):
            rows = await store.read(select(LeaseRow.epoch, LeaseRow.beats))
            if rows and rows[0]["beats"] > 0:
                break
            await asyncio.sleep(0.02)
        assert [row["epoch"] for row in rows] == [lease.epoch]
    assert not await store.read(select(LeaseRow.epoch))


async def test_an_epoch_is_never_given_twice(store: Store) -> None:
    run_id = await run_of(store)
    epochs = []
    for _ in range(3):
        async with leased(store, run_id) as lease:
            epochs.append(lease.epoch)
    assert epochs == sorted(set(epochs))


async def test_a_reply_that_comes_after_its_trajectory_was_ended_by_another_is_in_its_sums(store: Store) -> None:
    run_id = await run_of(store)
    async with leased(store, run_id) as slept, leased(store, run_id) as other:
        log = await mine(store, slept)
        await pretend(store, slept, f"{leases._host()}/1/none")
        taken = await mine(store, other)
        await taken.reply(0, REPLY)
        await taken.end(Outcome("max_turns"))
        with pytest.raises(LeaseLost):
            await log.reply(0, REPLY)
        (row,) = await store.read(select(TrajectoryRow.turns, TrajectoryRow.tokens_in))
        assert tuple(row.values()) == (2, 2)


async def test_one_that_was_thought_dead_is_seen_to_live_when_it_claims_something(store: Store) -> None:
    run_id = await run_of(store)
    async with leased(store, run_id) as slept, leased(store, run_id) as other:
        end = delete(LeaseRow).where(LeaseRow.epoch == slept.epoch)
        await store.write(lambda connection: connection.execute(end))
        await mine(store, slept)
        assert await claimed(store, other) == Taken(ended=False)
