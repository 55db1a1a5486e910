"""From a checked plan to a finished run: opens what a run needs, watches it, and ends it gently.

Ctrl-C once lets the replies that are already being paid for arrive and be committed; twice stops at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, cast

from cli.goal import until_recovered
from cli.loading import run_tasks
from cli.plan import Plan
from cli.progress import Progress, Tally
from cli.provenance import provenance
from cli.runlog import Observers, RunLog
from cli.stopping import on_stop
from collectors.pairing import Handover, names_of
from collectors.purse import told
from collectors.run import Collection
from collectors.teachers.teacher import Teacher, TeacherSpec, make_teacher
from environments.environment import make_environment
from environments.kernels import KernelHost
from environments.search.cache import Caching
from environments.types import Json, Task, Work
from filters.filter import assess
from store.load import finished_work_of
from store.recordings import read_recordings
from store.searches import StoredReplies
from store.store import Store, open_store

if TYPE_CHECKING:
    from cli.estimate import Estimate

_WATCH_SECONDS = 1.0


@dataclass(slots=True)
class Ended:
    """How a run's process ended."""

    run: str
    tally: Tally
    failed: int = 0
    interrupted: bool = False
    hurried: bool = False
    """It was told twice to stop, and did not wait for the replies under way."""
    ended_by: Literal["budget", "enough"] | None = None
    """Why it ended before all was done, where nobody has stopped it."""
    estimate: Estimate | None = None

    def as_json(self) -> dict[str, object]:
        ended = {"failed": self.failed, "interrupted": self.interrupted, "ended_by": self.ended_by}
        estimate = {"estimate": self.estimate.as_json()} if self.estimate else {}
        return {"run": self.run, **self.tally.as_json(), **ended, **estimate}


async def carry_out(plan: Plan) -> Ended:
    """Collect until all is done, or enough, or the budget is used up, or until it is stopped."""
    environment = make_environment(plan.config.env)
    found = await run_tasks(plan, environment)
    tasks, needed = found.tasks, environment.ready(found.tasks)
    async with AsyncExitStack() as stack:
        teachers = await _teachers(plan, stack)
        store = await stack.enter_async_context(open_store(plan.store, create=True))
        if isinstance(environment, Caching):
            environment.cache = StoredReplies(store)
        await stack.enter_async_context(environment)
        kernels = await stack.enter_async_context(KernelHost(plan.isolation, limits=plan.limits, preload=plan.preload))
        progress = stack.enter_context(Progress(plan.run))
        log = stack.enter_context(RunLog(plan.log_file, progress.warned))
        made_with = {**provenance(), "limits": cast(Json, asdict(plan.limits)), **needed}
        log.started(plan.run, plan.config.saved(), made_with, concurrency=plan.concurrency)
        goal = until_recovered(plan.until_recovered, plan.run, store) if plan.until_recovered else None
        collection = Collection(
            plan.run, plan.config, store=store, environment=environment,
            tasks=tasks[: plan.pilot] if plan.estimate else tasks, teachers=teachers, kernels=kernels,
            observer=Observers(progress, log), assess=assess, retries=plan.retries,
            on_divergence=plan.on_divergence, enough=goal, caps=plan.caps, provenance=made_with,
            list_mark=found.mark, tasks_done=found.done,
        )  # fmt: skip
        ended = Ended(plan.run, progress.tally)
        if plan.pilot or not plan.estimate:
            await _collect(plan, collection, progress, ended)
            log.event("stopped", **cast(Mapping[str, Json], ended.as_json()))
        if plan.estimate:
            from cli.estimate import estimate

            ended.estimate = await estimate(
                store, run=plan.run, environment=environment.name, open_work=await _open(plan, store, tasks, teachers),
                concurrency=plan.concurrency, escalate=plan.config.escalate,
            )  # fmt: skip
        return ended


async def _collect(plan: Plan, collection: Collection, progress: Progress, ended: Ended) -> None:
    watching = asyncio.create_task(_watch(collection, progress), name="watch")
    with on_stop(_stopping(collection, progress)):
        try:
            await collection.collect(plan.concurrency)
        except asyncio.CancelledError:
            if not collection.told_to_stop:
                raise
            ended.hurried = True
        finally:
            watching.cancel()
    ended.failed, ended.interrupted, ended.ended_by = collection.failed, collection.told_to_stop, collection.ended_by


async def _watch(collection: Collection, progress: Progress) -> None:
    """Keep what is shown of budget and limits up to date."""
    while True:
        progress.limits = "; ".join(
            f"{name}: {gate.state.words}" for name, gate in collection.gates.items() if gate.state.words
        )
        budget = await collection.budget()
        progress.budget = told(budget) if budget else ""
        await asyncio.sleep(_WATCH_SECONDS)


async def _open(plan: Plan, store: Store, tasks: Sequence[Task], teachers: Sequence[Teacher]) -> Mapping[str, int]:
    """How many pieces of work each teacher has before it, at the most: whom an escalation spares is not known yet."""
    finished = await finished_work_of(store, plan.run)
    return {
        teacher.name: sum(
            Work(task.id, teacher.name, attempt) not in finished
            for task in tasks
            for attempt in range(plan.config.attempts)
        )
        for teacher in teachers
    }


async def _teachers(plan: Plan, stack: AsyncExitStack) -> list[Teacher]:
    """In the order of the configuration. One that is in several pairs is one teacher."""
    names = list(dict.fromkeys(name for pair in plan.config.teachers for name in names_of(pair)))
    replayed = [spec.target for spec in map(TeacherSpec.parse, names) if spec.provider == "replay"]
    recordings = {target: await read_recordings(target) for target in replayed if "://" in target}
    made = {name: make_teacher(name, plan.config.sampling, recordings=recordings.__getitem__) for name in names}
    for teacher in made.values():
        stack.push_async_callback(teacher.aclose)
    return [_together([made[name] for name in names_of(pair)]) for pair in plan.config.teachers]


def _together(teachers: Sequence[Teacher]) -> Teacher:
    return Handover(*teachers) if len(teachers) == 2 else teachers[0]


def _stopping(collection: Collection, progress: Progress) -> Callable[[], None]:
    """Gently at first, then at once."""
    task = asyncio.current_task()

    def stop() -> None:
        if collection.told_to_stop and task:
            task.cancel()
            return
        collection.stop()
        progress.warned("Stopping after the replies that are under way. Ctrl-C again stops at once.")

    return stop
