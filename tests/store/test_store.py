"""The store on a real SQLite file and a real Postgres: what is written comes back."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from sqlalchemy import event, insert, select, text

from environments.faults import UsageError
from environments.types import (
    Action,
    Call,
    CellError,
    CellResult,
    Grade,
    Observation,
    Outcome,
    Prompt,
    Reply,
    Rules,
    Run,
    Task,
    Turn,
    Usage,
    Work,
)
from store.lease import Lease
from store.load import finished_work, load_partial, load_trajectories, load_trajectory
from store.log import Beginning, Claimed, TrajectoryLog, add_prompt, add_tasks, claim, ensure_run
from store.queries import group_sums, total
from store.schema import CallRow, PromptRow, TaskRow
from store.store import Store, open_store

TASK = Task("math/1", "math", "What is 1+1?", "2", {"rows": [["a", "\ud800"]]}, {"level": 1})
PROMPT = Prompt("system", "example")
RULES = Rules(max_turns=3)


def reply(text: str = "<execute>1/0</execute>", cost: Decimal | None = Decimal("0.001234567")) -> Reply:
    return Reply(text, "scripted:x", "x-1", "stop", Usage(10, 5, 2, 1), 0.5, cost, {"choices": ["\ud800\x00 ü"]})


def turn(index: int, *, correct: bool | None = None) -> Turn:
    result = CellResult("out\x00 \ud800" * 500, "err", None, CellError("ZeroDivisionError", "division by zero", "tb"))
    grade = None if correct is None else Grade(correct, float(correct), (True, False), "note")
    return Turn(index, reply(), Action("code", "1/0", 22, ("no_tag",)), Observation("Observation:\n…", result), grade)


async def begin(store: Store, run: str = "r", attempt: int = 0) -> tuple[Lease, int]:
    run_id = await ensure_run(store, Run(run, {"env": "math", "teachers": ["scripted:x"]}), RULES)
    await add_prompt(store, PROMPT)
    rows = await add_tasks(store, [TASK])
    work = Work(TASK.id, "scripted:x", attempt)
    lease = Lease(run_id, 1)
    claimed = await claim(store, lease, Beginning(work, rows[TASK.id], "math", PROMPT, "none", 7, {"version": "0"}))
    assert isinstance(claimed, Claimed)
    return lease, claimed.id


async def test_a_trajectory_comes_back_as_it_was_written(address: str) -> None:
    turns = (turn(0), turn(1, correct=True))
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        log = TrajectoryLog(store, lease, trajectory_id)
        for each in turns:
            await log.reply(each.index, each.reply)
            await log.turn(each)
        await log.end(Outcome("solved"))
    async with open_store(address) as store:
        loaded = await load_trajectory(store, trajectory_id)
    assert loaded.turns == turns
    assert loaded.task == TASK
    assert loaded.prompt == PROMPT
    assert loaded.rules == RULES
    assert (loaded.run, loaded.seed, loaded.isolation, loaded.outcome) == ("r", 7, "none", Outcome("solved"))


async def test_a_reply_without_its_turn_is_pending_and_the_work_is_not_finished(address: str) -> None:
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        log = TrajectoryLog(store, lease, trajectory_id)
        await log.reply(0, turn(0).reply)
        await log.turn(turn(0))
        await log.reply(1, reply("<solution>2</solution>"))
    async with open_store(address) as store:
        assert await begin(store) == (lease, trajectory_id)
        partial = await load_partial(store, trajectory_id)
        assert partial.turns == (turn(0),)
        assert partial.pending == reply("<solution>2</solution>")
        assert partial.seed == 7
        assert await finished_work(store, lease.run_id) == {}


async def test_failed_work_is_not_finished_and_solved_work_is(address: str) -> None:
    async with open_store(address, create=True) as store:
        for attempt, stop in enumerate(["failed", "solved", "max_turns"]):
            lease, trajectory_id = await begin(store, attempt=attempt)
            await TrajectoryLog(store, lease, trajectory_id).end(Outcome(stop))  # type: ignore[arg-type]
        assert {work.attempt for work in await finished_work(store, lease.run_id)} == {1, 2}


async def test_the_same_reply_cannot_be_written_twice(address: str) -> None:
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        log = TrajectoryLog(store, lease, trajectory_id)
        await log.reply(0, reply())
        with pytest.raises(Exception, match=r"(?i)unique"):
            await log.reply(0, reply())


async def test_what_came_of_a_reply_that_is_not_there_is_refused(address: str) -> None:
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        with pytest.raises(LookupError, match="holds no reply for turn 0"):
            await TrajectoryLog(store, lease, trajectory_id).turn(turn(0))


async def test_a_branch_takes_the_place_of_what_it_contradicts_and_keeps_both(address: str) -> None:
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        log = TrajectoryLog(store, lease, trajectory_id)
        for each in (turn(0), turn(1), turn(2)):
            await log.reply(each.index, each.reply)
            await log.turn(each)
        graded = turn(1, correct=False)
        other = Turn(1, reply(), turn(1).action, Observation("another", CellResult("2")), Grade(True, 1.0))
        await log.branch(graded, turn(1))
        assert (await load_partial(store, trajectory_id)).turns == (turn(0), graded)
        await log.branch(other, graded)
        assert (await load_partial(store, trajectory_id)).turns == (turn(0), other)
        await log.reply(2, reply("again"))
        query = text("SELECT count(*) AS n FROM turns WHERE abandoned OR superseded IS NOT NULL")
        assert (await store.read(query))[0]["n"] == 2


async def test_a_run_with_another_configuration_is_refused_by_what_differs(address: str) -> None:
    async with open_store(address, create=True) as store:
        await ensure_run(store, Run("r", {"env": "math", "seed": 1}), RULES)
        assert await ensure_run(store, Run("r", {"env": "math", "seed": 1}), RULES) == 1
        with pytest.raises(UsageError, match="seed was 1, now 2"):
            await ensure_run(store, Run("r", {"env": "math", "seed": 2}), RULES)


async def test_a_task_with_one_id_and_other_content_is_another_row(address: str) -> None:
    other = Task("math/1", "math", "What is 2+2?", "4")
    async with open_store(address, create=True) as store:
        first = await add_tasks(store, [TASK])
        assert await add_tasks(store, [TASK]) == first
        assert await add_tasks(store, [other]) != first


async def test_a_bad_write_fails_alone_and_its_neighbours_in_the_commit_hold(address: str) -> None:
    def put(digest: str) -> object:
        return insert(PromptRow).values(digest=digest, system="s", example="e")

    async with open_store(address, create=True) as store:
        digests = ["a", "b", "a", "c"]
        writes = [store.write(lambda connection, digest=digest: connection.execute(put(digest))) for digest in digests]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, False, True, False]
        assert {row["digest"] for row in await store.read(select(PromptRow.digest))} == {"a", "b", "c"}


async def test_concurrent_writes_share_commits(address: str) -> None:
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        log = TrajectoryLog(store, lease, trajectory_id)
        commits = 0

        def count(*_: object) -> None:
            nonlocal commits
            commits += 1

        event.listen(store._engines.writer, "commit", count)
        now = datetime.now(UTC)
        await asyncio.gather(*(log.call(Call(0, now, 0.1, "server", 500, None, "id", "m")) for _ in range(200)))
        assert len(await store.read(select(CallRow.id))) == 200
        assert commits < 20


async def test_a_cancelled_caller_does_not_take_its_write_back(address: str) -> None:
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        writing = asyncio.create_task(TrajectoryLog(store, lease, trajectory_id).reply(0, reply()))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    async with open_store(address) as store:
        assert (await load_partial(store, trajectory_id)).pending == reply()


async def test_sums_are_exact_and_say_how_many_replies_have_no_price(address: str) -> None:
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        log = TrajectoryLog(store, lease, trajectory_id)
        for index, cost in enumerate([Decimal("0.1"), Decimal("0.2"), None]):
            await log.reply(index, reply(cost=cost))
        (group,) = await group_sums(store)
        assert (group.run, group.environment, group.teacher) == ("r", "math", "scripted:x")
        assert (group.sums.cost, group.sums.unpriced, group.sums.turns) == (Decimal("0.3"), 1, 3)
        assert (group.sums.unfinished, group.sums.finished, group.sums.tokens_in) == (1, 0, 30)
        assert total([group, group]).cost == Decimal("0.6")


async def test_reading_goes_page_by_page_in_order(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.load._PAGE", 3)
    async with open_store(address, create=True) as store:
        for attempt in range(8):
            lease, trajectory_id = await begin(store, attempt=attempt)
            await TrajectoryLog(store, lease, trajectory_id).end(Outcome("max_turns"))
        assert [each.attempt async for each in load_trajectories(store, run="r")] == list(range(8))


async def test_an_unknown_run_is_answered_with_those_there_are(address: str) -> None:
    async with open_store(address, create=True) as store:
        await begin(store, "first")
        with pytest.raises(UsageError, match="There are: first"):
            [each async for each in load_trajectories(store, run="other")]


async def test_a_call_that_brought_a_reply_is_written_with_it(address: str) -> None:
    now = datetime.now(UTC)
    async with open_store(address, create=True) as store:
        lease, trajectory_id = await begin(store)
        log = TrajectoryLog(store, lease, trajectory_id)
        await log.call(Call(0, now, 0.1, "rate_limited", 429, 2.0, "a", "slow down"))
        await log.call(Call(0, now, 0.1))
        assert [row["fault"] for row in await store.read(select(CallRow.fault))] == ["rate_limited"]
        await log.reply(0, reply())
        rows = await store.read(select(CallRow.fault, CallRow.retry_after).order_by(CallRow.id))
        assert [(row["fault"], row["retry_after"]) for row in rows] == [("rate_limited", 2.0), (None, None)]


async def test_a_task_without_a_reference_is_kept_as_it_is(address: str) -> None:
    judged_by_its_state = Task("house/1", "house", "Put a mug on the shelf.", None, {"game": None})
    async with open_store(address, create=True) as store:
        (row,) = (await add_tasks(store, [judged_by_its_state])).values()
        assert await add_tasks(store, [judged_by_its_state]) == {"house/1": row}
        (held,) = await store.read(select(TaskRow.reference, TaskRow.inputs))
        assert (held["reference"], held["inputs"]) == (None, {"game": None})


async def test_what_is_finished_is_the_same_asked_for_by_name_or_not(address: str) -> None:
    async with open_store(address, create=True) as store:
        for attempt, stop in enumerate(["failed", "solved", "max_turns"]):
            lease, trajectory_id = await begin(store, attempt=attempt)
            await TrajectoryLog(store, lease, trajectory_id).end(Outcome(stop))  # type: ignore[arg-type]
        all_of_it = await finished_work(store, lease.run_id)
        assert await finished_work(store, lease.run_id, [TASK.id, "another"]) == all_of_it
        assert {work.attempt: solved for work, solved in all_of_it.items()} == {1: True, 2: False}
        assert await finished_work(store, lease.run_id, ["another"]) == {}
