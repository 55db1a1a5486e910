"""Teachers together: handed over to, escalated to, sharing a run; and runs that end when they have enough."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collectors.config import make_config
from collectors.pairing import Handover, names_of
from collectors.purse import told
from collectors.run import Collection
from collectors.teachers.retry import RetryPolicy
from environments.environment import make_environment
from environments.faults import TeacherFault, UsageError
from environments.kernels import KernelHost
from environments.types import Assessment, Json, Most, Reply, Request, Task, Trajectory, Usage
from filters.filter import assess
from store.budget import Caps
from store.load import load_trajectories
from store.store import Store, open_store
from tests.collectors.test_run import CELL, RIGHT, TASKS, Taught, Watcher

FAST = RetryPolicy(first_backoff=0.01, longest_backoff=0.02)
WRONG = "<solution>no</solution>"


class Named(Taught):
    """Replies by task and turn; the last ones again where they run out."""

    def __init__(self, name: str, **replies: list[str | Exception]) -> None:
        super().__init__()
        self.name = name
        self.by_task = replies

    def of(self, request: Request) -> list[str | Exception]:
        return self.by_task.get(f"t{request.task_id[-1]}", self.by_task.get("any", []))

    async def reply(self, request: Request) -> Reply:
        self.replies = [*self.of(request)]  # type: ignore[assignment]
        self.replies += self.replies[-1:] * 9
        return await super().reply(request)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(str(tmp_path / "e.db"), create=True) as opened:
        yield opened


@asynccontextmanager
async def collection(
    store: Store, *teachers: Any, tasks: tuple[Task, ...] = TASKS, config: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Collection]:
    names = tuple(teacher.name for teacher in teachers)
    made = make_config({"env": "gsm8k", "teachers": names, **(config or {})})
    environment = make_environment("gsm8k")
    async with environment, KernelHost("none") as kernels:
        yield Collection(
            "r", made, store=store, environment=environment, tasks=tasks, teachers=teachers, kernels=kernels,
            assess=assess, **{"observer": Watcher(), **more},
        )  # fmt: skip


async def collect(store: Store, *teachers: Any, concurrency: int = 2, **more: Any) -> Collection:
    async with collection(store, *teachers, **more) as made:
        await made.collect(concurrency)
    return made


def solving(name: str) -> Named:
    return Named(name, t1=[RIGHT], t2=["<solution>4</solution>"], t3=["<solution>6</solution>"])


async def ended(store: Store) -> list[Trajectory]:
    return [one async for one in load_trajectories(store)]


# -- escalation ----------------------------------------------------------------------------------


async def test_the_next_teacher_gets_only_what_those_before_it_have_failed(store: Store) -> None:
    weak = Named("weak:a", t1=[RIGHT], t2=[WRONG], t3=[WRONG])
    middle = Named("middle:b", t2=["<solution>4</solution>"], t3=[WRONG])
    strong = solving("strong:c")
    await collect(store, weak, middle, strong, config={"escalate": True})
    given = {teacher.name: {request.task_id for request in teacher.asked} for teacher in (weak, middle, strong)}
    assert given == {
        "weak:a": {"gsm8k/1", "gsm8k/2", "gsm8k/3"}, "middle:b": {"gsm8k/2", "gsm8k/3"}, "strong:c": {"gsm8k/3"},
    }  # fmt: skip


async def test_a_task_is_escalated_when_every_attempt_at_it_has_failed(store: Store) -> None:
    class Second(Named):
        async def reply(self, request: Request) -> Reply:
            self.by_task = {"any": [RIGHT if request.attempt else WRONG]}
            return await super().reply(request)

    strong = solving("strong:c")
    await collect(store, Second("weak:a"), strong, config={"escalate": True, "attempts": 2})
    assert {request.task_id for request in strong.asked} == {"gsm8k/2", "gsm8k/3"}


async def test_what_infrastructure_ended_was_not_failed_by_the_teacher(store: Store) -> None:
    broken = Named("weak:a", t1=[TeacherFault("no such model", kind="bad_request", status=400)], any=[WRONG])
    strong = solving("strong:c")
    await collect(store, broken, strong, config={"escalate": True})
    assert {request.task_id for request in strong.asked} == {"gsm8k/2", "gsm8k/3"}
    weak = Named("weak:a", t1=[WRONG])
    await collect(store, weak, strong, config={"escalate": True})
    assert {request.task_id for request in weak.asked} == {"gsm8k/1"}
    assert "gsm8k/1" in {request.task_id for request in strong.asked}


def test_there_must_be_someone_to_escalate_to() -> None:
    with pytest.raises(UsageError, match="no teacher to escalate to"):
        make_config({"env": "math", "teachers": ["openai:x"], "escalate": True})


# -- handover ------------------------------------------------------------------------------------


async def test_from_the_first_error_on_the_strong_teacher_answers(store: Store) -> None:
    weak = Named("weak:a", any=[CELL.format("x = 1"), CELL.format("print(y)"), "not asked"])
    strong = Named("strong:c", any=["not asked", "not asked", CELL.format("print(x + 1)"), RIGHT])
    await collect(store, Handover(weak, strong), tasks=TASKS[:1])
    (trajectory,) = await ended(store)
    assert trajectory.teacher == "weak:a>strong:c"
    assert [turn.reply.teacher for turn in trajectory.turns] == ["weak:a", "weak:a", "strong:c", "strong:c"]
    assert trajectory.solved
    assert [event.turn for event in assess(trajectory).events] == [1]


async def test_without_an_error_the_strong_teacher_is_never_asked(store: Store) -> None:
    weak, strong = solving("weak:a"), Named("strong:c")
    await collect(store, Handover(weak, strong))
    assert strong.asked == []
    assert all(one.solved for one in await ended(store))


async def test_a_pair_whose_strong_teacher_is_refused_is_asked_no_more(store: Store) -> None:
    weak = Named("weak:a", any=[WRONG])
    strong = Named("strong:c", any=[TeacherFault("bad key", kind="denied", status=401)])
    made = await collect(store, Handover(weak, strong), concurrency=1)
    assert (len(weak.asked), len(strong.asked), made.failed) == (1, 1, 1)


def test_the_name_of_a_pair_tells_both() -> None:
    assert names_of("openai:a@http://h/v1>anthropic:b") == ("openai:a@http://h/v1", "anthropic:b")
    assert names_of("openai:a") == ("openai:a",)
    for wrong in ("openai:a>", "a:b>c:d>e:f", "a:b>a:b"):
        with pytest.raises(UsageError):
            names_of(wrong)


# -- several processes ---------------------------------------------------------------------------


async def test_two_collections_share_a_run_and_nothing_is_bought_twice(tmp_path: Path) -> None:
    address = str(tmp_path / "e.db")
    tasks = tuple(Task(f"gsm8k/{n}", "gsm8k", f"What is twice {n}?", "2") for n in range(30))
    here, there = Named("t:x", any=[CELL.format("x = 1"), RIGHT]), Named("t:x", any=[CELL.format("x = 1"), RIGHT])
    async with open_store(address, create=True) as one, open_store(address) as other:
        await asyncio.gather(
            collect(one, here, tasks=tasks, concurrency=4), collect(other, there, tasks=tasks, concurrency=4)
        )
        bought = sorted((request.task_id, request.turn) for request in here.asked + there.asked)
        assert bought == sorted((task.id, turn) for task in tasks for turn in (0, 1))
        assert here.asked
        assert there.asked
        assert len(await ended(one)) == 30


async def test_a_collection_waits_for_what_others_are_at_and_takes_up_what_they_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.run._LOOK", 0.05)
    address = str(tmp_path / "e.db")
    started = asyncio.Event()

    class Slow(Named):
        async def reply(self, request: Request) -> Reply:
            started.set()
            await asyncio.sleep(60)
            return await super().reply(request)

    class Waiting(Watcher):
        waited = 0

        def waiting(self, count: int) -> None:
            self.waited = count

    watcher, second = Waiting(), solving("t:x")
    async with open_store(address, create=True) as one, open_store(address) as other:
        first = asyncio.create_task(collect(one, Slow("t:x"), tasks=TASKS[:1]))
        await started.wait()
        working = asyncio.create_task(collect(other, second, tasks=TASKS[:1], observer=watcher))
        while not watcher.waited:
            await asyncio.sleep(0.01)
        assert second.asked == []
        first.cancel()  # as if it had died, but that its lease ends with it
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(working, 30)
        assert [one.solved for one in await ended(other)] == [True]


# -- ends ----------------------------------------------------------------------------------------


async def test_a_run_ends_when_it_has_enough_and_what_is_under_way_is_finished(store: Store) -> None:
    seen: list[Assessment] = []

    async def two(assessment: Assessment | None) -> bool:
        seen.extend([assessment] if assessment else [])
        return len(seen) >= 2

    tasks = tuple(Task(f"gsm8k/{n}", "gsm8k", f"What is twice {n}?", "2") for n in range(9))
    made = await collect(store, Named("t:x", any=[RIGHT]), tasks=tasks, concurrency=1, enough=two)
    assert (made.ended_by, len(await ended(store)), made.told_to_stop) == ("enough", 2, False)
    made = await collect(store, Named("t:x", any=[RIGHT]), tasks=tasks, concurrency=1, enough=two)
    assert len(await ended(store)) == 2


class Priced(Named):
    """A dollar a reply, and at the worst two."""

    async def reply(self, request: Request) -> Reply:
        return replace(await super().reply(request), cost=Decimal(1), usage=Usage(5, 5))

    def most(self, request: Request) -> Most | None:
        return Most(20, Decimal(2))


async def test_a_run_ends_when_no_further_call_fits_into_its_budget_and_goes_on_with_a_higher_one(
    store: Store,
) -> None:
    tasks = tuple(Task(f"gsm8k/{n}", "gsm8k", f"What is twice {n}?", "2") for n in range(9))
    teacher = Priced("t:x", any=[RIGHT])
    made = await collect(store, teacher, tasks=tasks, concurrency=4, caps=Caps(usd=Decimal("5.5")))
    budget = await made.budget()
    assert budget is not None
    assert (made.ended_by, len(teacher.asked)) == ("budget", 4)
    assert told(budget) == "$4.00 of $5.50 spent, $0.00 held"
    again = await collect(store, Priced("t:x", any=[RIGHT]), tasks=tasks, concurrency=4)
    assert again.ended_by == "budget"
    await collect(store, teacher, tasks=tasks, concurrency=4, caps=Caps(usd=Decimal(20)))
    assert len(await ended(store)) == 9


async def test_where_money_is_tight_what_was_begun_is_ended_before_more_is_begun(store: Store) -> None:
    class Slow(Priced):
        async def reply(self, request: Request) -> Reply:
            await asyncio.sleep(0.02)
            return await super().reply(request)

    tasks = tuple(Task(f"gsm8k/{n}", "gsm8k", f"What is twice {n}?", "2") for n in range(40))
    teacher = Slow("t:x", any=[CELL.format("x = 1"), CELL.format("x = 2"), RIGHT])
    await collect(store, teacher, tasks=tasks, concurrency=20, caps=Caps(usd=Decimal(20)))
    assert len(await ended(store)) >= 2
    assert len({request.task_id for request in teacher.asked}) <= 12


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_a_first_turn_that_has_to_be_asked_again_does_not_hold_itself_back(
    store: Store, concurrency: int
) -> None:
    fault = TeacherFault("broken off", kind="timeout")
    teacher = Priced("t:x", any=[fault])
    working = collect(store, teacher, concurrency=concurrency, caps=Caps(usd=Decimal("2.5")), retries=FAST)
    assert (await asyncio.wait_for(working, 60)).ended_by == "budget"


async def test_whoever_waits_for_money_keeps_nobody_from_the_provider(store: Store) -> None:
    class Limiting(Priced):
        refused = False

        async def reply(self, request: Request) -> Reply:
            if not self.refused:
                self.refused = True
                raise TeacherFault("slow down", kind="rate_limited", status=429, retry_after=0.01)
            await asyncio.sleep(0.05)
            return await super().reply(request)

    teacher = Limiting("t:x", any=[CELL.format("x = 1"), RIGHT])
    working = collect(store, teacher, concurrency=2, caps=Caps(usd=Decimal("3.5")), retries=FAST)
    assert (await asyncio.wait_for(working, 60)).ended_by == "budget"


async def test_a_budget_that_is_refused_leaves_the_run_as_it_was(store: Store) -> None:
    class Unpriced(Priced):
        def most(self, request: Request) -> Most | None:
            return Most(20, None)

    with pytest.raises(UsageError, match="--price"):
        await collect(store, Unpriced("t:x", any=[RIGHT]), caps=Caps(usd=Decimal(5)))
    await collect(store, Unpriced("t:x", any=[RIGHT]))
    assert len(await ended(store)) == 3


async def test_a_token_budget_needs_no_price(store: Store) -> None:
    class Unpriced(Priced):
        async def reply(self, request: Request) -> Reply:
            return replace(await super().reply(request), cost=None)

        def most(self, request: Request) -> Most | None:
            return Most(20, None)

    teacher = Unpriced("t:x", any=[RIGHT])
    made = await collect(store, teacher, caps=Caps(tokens=35))
    assert (made.ended_by, len(teacher.asked)) == ("budget", 2)


@pytest.mark.parametrize(("most", "said"), [(None, "--max-tokens"), (Most(20, None), "--price")])
async def test_a_budget_that_nobody_could_keep_is_refused_before_anything_is_bought(
    store: Store, most: Most | None, said: str
) -> None:
    class Vague(Named):
        def most(self, request: Request) -> Most | None:
            return most

    teacher = Vague("t:x", any=[RIGHT])
    with pytest.raises(UsageError, match=said):
        await collect(store, teacher, caps=Caps(usd=Decimal(1)))
    assert teacher.asked == []


async def test_an_older_run_goes_on_though_its_configuration_knows_no_escalation(store: Store) -> None:
    saved: dict[str, Json] = make_config({"env": "gsm8k", "teachers": ("t:x",)}).saved()
    assert "escalate" not in saved
    assert make_config({"env": "gsm8k", "teachers": ("t:x", "t:y"), "escalate": True}).saved()["escalate"] is True
