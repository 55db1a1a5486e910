"""Budgets: whatever is committed, settled and reserved are at most the cap."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Connection, select

from environments.faults import UsageError
from environments.types import Call, Most, Outcome, Prompt, Reply, Rules, Run, Task, Usage, Work
from store.budget import Budget, Caps, calls_are_out, find_budget, set_budget, settle
from store.lease import Lease, leased
from store.log import Beginning, Claimed, TrajectoryLog, add_prompt, add_tasks, claim, ensure_run
from store.schema import ReservationRow
from store.store import Store, open_store

PROMPT = Prompt("system", "example")
REPLY = Reply("hm", "x:y", "y", "stop", Usage(60, 40), 0.1, Decimal("0.25"), {})
WORST = Most(200, Decimal("0.5"))


@pytest.fixture
async def store(address: str) -> AsyncIterator[Store]:
    async with open_store(address, create=True) as opened:
        yield opened


async def begun(store: Store, lease: Lease, number: int = 0) -> TrajectoryLog:
    await add_prompt(store, PROMPT)
    task = Task(f"math/{number}", "math", "What is 1+1?", "2")
    rows = await add_tasks(store, [task])
    got = await claim(store, lease, Beginning(Work(task.id, "x:y", 0), rows[task.id], "math", PROMPT, "none", 7, {}))
    assert isinstance(got, Claimed)
    return TrajectoryLog(store, lease, got.id)


async def capped(store: Store, **caps: object) -> Lease:
    run_id = await ensure_run(store, Run("r", {}), Rules())
    lease = Lease(run_id, 1)
    await store.write(lambda connection: set_budget(connection, lease, Caps(**caps)))  # type: ignore[arg-type]
    return lease


async def stands(store: Store, lease: Lease) -> Budget:
    budget = await find_budget(store, lease.run_id)
    assert budget is not None
    return budget


def fault(*, lost: bool) -> Call:
    return Call(0, datetime.now(UTC), 0.1, "timeout" if lost else "rate_limited", lost=lost)


async def test_a_call_is_held_at_its_worst_and_settled_at_what_it_came_to(store: Store) -> None:
    lease = await capped(store, usd=Decimal(1))
    log = await begun(store, lease)
    assert await log.reserve(0, WORST)
    held = await stands(store, lease)
    assert (held.reserved_usd, held.settled_usd, held.reserved_tokens) == (Decimal("0.5"), 0, 200)
    await log.reply(0, REPLY)
    settled = await stands(store, lease)
    assert (settled.reserved_usd, settled.settled_usd) == (0, Decimal("0.25"))
    assert (settled.reserved_tokens, settled.settled_tokens) == (0, 100)


@pytest.mark.parametrize("caps", [{"usd": Decimal("0.9")}, {"tokens": 399}], ids=["dollars", "tokens"])
async def test_what_does_not_fit_is_not_reserved(store: Store, caps: dict[str, object]) -> None:
    lease = await capped(store, **caps)
    one, other = await begun(store, lease), await begun(store, lease, 1)
    assert await one.reserve(0, WORST)
    assert not await other.reserve(0, WORST)
    await one.reply(0, REPLY)
    assert await other.reserve(0, WORST)


async def test_a_fault_gives_back_what_it_held_unless_a_reply_may_have_been_sold(store: Store) -> None:
    lease = await capped(store, usd=Decimal(1))
    log = await begun(store, lease)
    await log.reserve(0, WORST)
    await log.call(fault(lost=False))
    assert (await stands(store, lease)).reserved_usd == 0
    await log.reserve(0, WORST)
    await log.call(fault(lost=True))
    assert (await stands(store, lease)).reserved_usd == Decimal("0.5")
    assert len(await store.read(select(ReservationRow.id))) == 1


@pytest.mark.parametrize(
    ("reply", "usd", "tokens"),
    [
        (replace(REPLY, cost=None), Decimal("0.5"), 100),
        (replace(REPLY, cost=None, usage=Usage()), Decimal("0.5"), 200),
        (replace(REPLY, cost=Decimal(0)), Decimal(0), 100),
    ],
    ids=["no price", "no usage", "free"],
)
async def test_where_nobody_says_what_a_reply_cost_the_worst_is_taken_for_true(
    store: Store, reply: Reply, usd: Decimal, tokens: int
) -> None:
    lease = await capped(store, usd=Decimal(1))
    log = await begun(store, lease)
    await log.reserve(0, WORST)
    await log.reply(0, reply)
    settled = await stands(store, lease)
    assert (settled.settled_usd, settled.settled_tokens, settled.reserved_usd) == (usd, tokens, 0)


async def test_what_a_run_had_spent_before_it_had_a_budget_counts(store: Store) -> None:
    run_id = await ensure_run(store, Run("r", {}), Rules())
    log = await begun(store, Lease(run_id, 1))
    await log.reply(0, REPLY)
    lease = await capped(store, usd=Decimal("0.3"))
    assert (await stands(store, lease)).settled_usd == Decimal("0.25")
    assert not await log.reserve(1, WORST)


async def test_a_cap_can_be_raised_and_one_that_is_not_given_stays(store: Store) -> None:
    lease = await capped(store, usd=Decimal(1), tokens=1000)
    await store.write(lambda connection: set_budget(connection, lease, Caps(usd=Decimal(2))))
    budget = await stands(store, lease)
    assert (budget.cap_usd, budget.cap_tokens) == (2, 1000)


async def test_only_a_living_processs_calls_may_yet_come_back(address: str) -> None:
    async with open_store(address, create=True) as here, open_store(address) as there:
        run_id = (await capped(here, usd=Decimal(1))).run_id
        async with leased(here, run_id) as one:
            async with leased(there, run_id) as other:
                assert not await calls_are_out(here, one)
                log = await begun(there, other)
                await log.reserve(0, WORST)
                assert await calls_are_out(here, one)
                await log.call(fault(lost=True))
                assert not await calls_are_out(here, one)
                await log.reserve(0, WORST)
                assert await calls_are_out(there, other)
            assert not await calls_are_out(here, one)


async def test_however_calls_interleave_the_cap_holds_at_every_commit(address: str) -> None:
    draw = random.Random(3)
    over: list[Budget] = []
    async with open_store(address, create=True) as here, open_store(address) as there:
        lease = await capped(here, usd=Decimal(5), tokens=2000)
        logs = [await begun(store, lease, n) for n, store in enumerate([here, there] * 8)]
        done = asyncio.Event()

        async def work(log: TrajectoryLog) -> None:
            for turn in range(6):
                most = Most(draw.randint(50, 200), Decimal(draw.randint(1, 90)) / 100)
                if not await log.reserve(turn, most):
                    continue
                await asyncio.sleep(draw.random() / 100)
                if draw.random() < 0.3:
                    await log.call(fault(lost=draw.random() < 0.3))
                else:
                    usage = Usage(most.tokens // 2, most.tokens // 3)
                    cost = (most.dollars or 0) * draw.randint(0, 100) / 100
                    await log.reply(turn, replace(REPLY, cost=Decimal(cost), usage=usage))
            await log.end(Outcome("max_turns"))

        async def watch() -> None:
            while not done.is_set():
                budget = await stands(here, lease)
                if (
                    budget.settled_usd + budget.reserved_usd > 5
                    or budget.settled_tokens + budget.reserved_tokens > 2000
                ):
                    over.append(budget)
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*map(work, logs))
        done.set()
        await watching
        rows = await here.read(select(ReservationRow.usd))
        assert (await stands(here, lease)).reserved_usd == sum((row["usd"] for row in rows), Decimal(0))
    assert over == []


def giving(usd: int) -> Callable[[Connection, Lease], None]:
    return lambda connection, lease: set_budget(connection, lease, Caps(usd=Decimal(usd)))


async def test_a_run_that_others_are_at_without_a_budget_is_given_none(address: str) -> None:
    async with open_store(address, create=True) as here, open_store(address) as there:
        run_id = await ensure_run(here, Run("r", {}), Rules())
        async with leased(here, run_id):
            with pytest.raises(UsageError, match="without a budget"):
                async with leased(there, run_id, giving(2)):
                    pass
        assert await find_budget(here, run_id) is None
        async with leased(there, run_id, giving(2)), leased(here, run_id, giving(3)) as one:
            assert (await stands(here, one)).cap_usd == 3


async def test_two_may_give_a_run_its_budget_at_once(address: str) -> None:
    async with open_store(address, create=True) as here, open_store(address) as there:
        for number in range(10):
            run_id = await ensure_run(here, Run(f"r{number}", {}), Rules())
            both = asyncio.Barrier(2)

            async def work(store: Store, run_id: int = run_id, both: asyncio.Barrier = both) -> None:
                async with leased(store, run_id, giving(2)) as lease:
                    assert (await stands(store, lease)).cap_usd == 2
                    await both.wait()

            await asyncio.gather(work(here), work(there))


async def test_what_was_settled_is_not_settled_again(store: Store) -> None:
    lease = await capped(store, usd=Decimal(1))
    log = await begun(store, lease)
    await log.reserve(0, WORST)
    held = log._held
    assert held is not None
    for _ in range(2):
        await store.write(lambda connection: settle(connection, held, REPLY))
    budget = await stands(store, lease)
    assert (budget.settled_usd, budget.reserved_usd) == (Decimal("0.25"), 0)
