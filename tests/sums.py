"""Fills a real store with trajectories of which only the sums matter."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import delete, select

from environments.types import Assessment, ErrorEvent, Outcome, Prompt, Recovery, Reply, Rules, Run, Task, Usage, Work
from store.lease import Lease
from store.log import Beginning, Claimed, TrajectoryLog, add_prompt, add_tasks, claim, ensure_run
from store.schema import LeaseRow
from store.store import Store

PROMPT = Prompt("system", "example")
WEAK, STRONG = "openai:weak", "openai:strong"
VERSION = 7


def reply(cost: str | None = "0.1") -> Reply:
    return Reply("text", WEAK, "m", "stop", Usage(10, 5, 4, 1), 0.5, None if cost is None else Decimal(cost), {})


def reading(level: str, *kinds: str, version: int = VERSION) -> Assessment:
    events = tuple(ErrorEvent(turn, kind, "signature") for turn, kind in enumerate(kinds))  # type: ignore[arg-type]
    return Assessment(events, 1, Recovery(level), version)  # type: ignore[arg-type]


async def add_trajectory(
    store: Store,
    task: int,
    stop: str | None,
    assessment: Assessment | None = None,
    *,
    teacher: str = WEAK,
    run: str = "r",
    environment: str = "math",
    replies: tuple[Reply, ...] = (reply(), reply()),
    attempt: int = 0,
    epoch: int = 1,
) -> int:
    """One with these replies; without `stop` it is under way."""
    run_id = await ensure_run(store, Run(run, {"teachers": [WEAK, STRONG]}), Rules())
    await add_prompt(store, PROMPT)
    rows = await add_tasks(store, [Task(f"{environment}/{task}", environment, "?", "2")])
    work, lease = Work(f"{environment}/{task}", teacher, attempt), Lease(run_id, epoch)
    beginning = Beginning(work, rows[work.task_id], environment, PROMPT, "none", 7, {})
    held = await store.read(select(LeaseRow.epoch).where(LeaseRow.epoch == epoch))
    claimed = await claim(store, lease, beginning)
    assert isinstance(claimed, Claimed)
    if not held:  # It was made as by a process that has ended since.
        end = delete(LeaseRow).where(LeaseRow.epoch == epoch)
        await store.write(lambda connection: connection.execute(end))
    log = TrajectoryLog(store, lease, claimed.id)
    for index, one in enumerate(replies):
        await log.reply(index, one)
    if stop is not None:
        await log.end(Outcome(stop), assessment)  # type: ignore[arg-type]
    return claimed.id
