"""The run: which work is open, how much of it at once, and what happens when a piece of it fails.

A piece of work is (task, teacher, attempt). What the store holds finished is skipped; what an earlier
process left half-way is gone on with, and what another process is at is left to it. One task's failure
never ends the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple, TypeAlias

from collectors.attempt import Assess, Item, Observer, Stopped, Workshop, pause
from collectors.config import RunConfig
from collectors.gate import Gate
from collectors.pairing import members
from collectors.purse import BudgetSpent, Purse, require_bound, told
from collectors.resume import OnDivergence
from collectors.teachers.retry import RetryPolicy
from collectors.teachers.teacher import Teacher
from environments.environment import Environment
from environments.faults import InfrastructureFault, StoreFault
from environments.kernels import KernelHost
from environments.types import Assessment, Json, Run, Task, Work
from store.budget import Budget, Caps, find_budget, set_budget
from store.lease import Lease, LeaseLost, leased
from store.load import finished_work
from store.log import Taken, add_tasks, ensure_run
from store.store import Store
from store.tasklist import keep_list

Enough: TypeAlias = Callable[[Assessment | None], Awaitable[bool]]
"""A rule that says whether the run has what it is for: at the start, and each time that a trajectory has ended."""

_LOOK = 2.0
"""Seconds between two looks at what another process is at."""


class _Piece(NamedTuple):
    """Of the work, finished or not."""

    task: Task
    teacher: Teacher
    work: Work


class Collection:
    """One process's share in a run."""

    def __init__(
        self,
        name: str,
        config: RunConfig,
        *,
        store: Store,
        environment: Environment,
        tasks: Sequence[Task],
        teachers: Sequence[Teacher],
        kernels: KernelHost,
        observer: Observer,
        assess: Assess,
        retries: RetryPolicy | None = None,
        on_divergence: OnDivergence = "branch",
        enough: Enough | None = None,
        caps: Caps | None = None,
        provenance: Mapping[str, Json] | None = None,
        list_mark: str | None = None,
        tasks_done: int = 0,
    ) -> None:
        """`list_mark`: under which the list of the tasks is kept. `tasks_done`: so many more there are, all done."""
        self.name, self.config, self.store = name, config, store
        self.environment, self.tasks, self.teachers = environment, tasks, teachers
        self.kernels, self.observer, self.assess = kernels, observer, assess
        self.retries = retries or RetryPolicy()
        self.on_divergence, self.enough, self.caps = on_divergence, enough, caps
        self.provenance = provenance or {}
        self.failed = 0
        """Pieces of work that an infrastructure fault ended in this process; the next start tries them again."""
        self.told_to_stop = False
        self.stopping = asyncio.Event()
        self.ended_by: Literal["budget", "enough"] | None = None
        """Why it has ended before all was done, if it was not told to."""
        self.gates: dict[str, Gate] = {}
        """By teacher."""
        self._broken: StoreFault | None = None
        self._list_mark = list_mark
        self._rows: Mapping[str, int] = {}
        self._planned = self._finished = tasks_done * len(teachers) * config.attempts
        self._run_id = 0
        self._has_budget = False

    def stop(self) -> None:
        """Let what is under way come to the end of its turn, and begin nothing new."""
        self.told_to_stop = True
        self.stopping.set()

    async def budget(self) -> Budget | None:
        """How it stands; None where the run has none, or has not begun."""
        return await find_budget(self.store, self._run_id) if self._has_budget else None

    async def collect(self, concurrency: int) -> None:
        """Do all open work, `concurrency` pieces at a time."""
        rules = self.config.rules
        if self.caps:
            self._require_bounds(price=self.caps.usd is not None)
        run_id = await ensure_run(self.store, Run(self.name, self.config.saved()), rules)
        self.gates = {one.name: self._gate(one, concurrency) for one in self._members()}
        caps = self.caps
        given = (lambda connection, lease: set_budget(connection, lease, caps)) if caps else None
        async with leased(self.store, run_id, given) as lease:
            await self._find_budget(lease)
            workshop = Workshop(
                self.name, self.store, lease, self.environment, self.kernels, rules, self.config.seed,
                self.provenance, self.retries, self.on_divergence, self.gates,
                Purse(self.store, lease, self._pause) if self._has_budget else None, self.assess, self.observer,
                self.stopping,
            )  # fmt: skip
            if self._list_mark:
                self._rows = await add_tasks(self.store, self.tasks)
                await keep_list(self.store, run_id, self._list_mark, [self._rows[task.id] for task in self.tasks])
            if self.enough and await self.enough(None):
                self.ended_by = "enough"
            for teachers in self._stages():
                await self._stage(workshop, teachers, concurrency)
            if self.ended_by == "budget":
                await self._tell_budget()

    def _members(self) -> list[Teacher]:
        """Those of pairs singly."""
        return [one for teacher in self.teachers for one in members(teacher)]

    async def _find_budget(self, lease: Lease) -> None:
        """Raises `UsageError` where it could not be kept."""
        budget = await find_budget(self.store, lease.run_id)
        if budget:
            self._require_bounds(price=budget.cap_usd is not None)
        self._run_id, self._has_budget = lease.run_id, budget is not None

    def _require_bounds(self, *, price: bool) -> None:
        for teacher in self._members():
            require_bound(teacher, price=price)

    def _stages(self) -> Sequence[Sequence[Teacher]]:
        """All teachers at once; or one after the other, each with what those before it have failed."""
        return [[teacher] for teacher in self.teachers] if self.config.escalate else [self.teachers]

    async def _stage(self, workshop: Workshop, teachers: Sequence[Teacher], concurrency: int) -> None:
        finished = await finished_work(self.store, workshop.lease.run_id, [task.id for task in self.tasks])
        wanted = [piece for piece in self._work(teachers) if self._is_wanted(piece, finished)]
        todo = await self._items([piece for piece in wanted if piece.work not in finished])
        self._planned += len(wanted)
        self._finished += len(wanted) - len(todo)
        self.observer.planned(self._planned, self._finished)
        while todo and not self._over:
            todo = await self._work_through(workshop, todo, min(concurrency, len(todo)))
            if todo and not self._over:
                self.observer.waiting(len(todo))
                await self._look_again()

    def _work(self, teachers: Sequence[Teacher]) -> Iterator[_Piece]:
        """Attempt by attempt, so that every task is tried once before any is tried again."""
        for attempt in range(self.config.attempts):
            for task in self.tasks:
                for teacher in teachers:
                    yield _Piece(task, teacher, Work(task.id, teacher.name, attempt))

    async def _items(self, pieces: Sequence[_Piece]) -> list[Item]:
        """What is to be done, its tasks in the store: those of finished work are there, and were many."""
        tasks = {piece.task.id: piece.task for piece in pieces}
        rows = self._rows or await add_tasks(self.store, tasks.values())
        return [Item(task, rows[task.id], teacher, work.attempt) for task, teacher, work in pieces]

    def _is_wanted(self, piece: _Piece, finished: Mapping[Work, bool]) -> bool:
        """Whether all teachers before this one, if they come before it, have tried the task and failed."""
        if not self.config.escalate:
            return True
        before = self.teachers[: self.teachers.index(piece.teacher)]
        tried = [
            finished.get(Work(piece.task.id, earlier.name, attempt))
            for earlier in before
            for attempt in range(self.config.attempts)
        ]
        return all(solved is False for solved in tried)

    async def _work_through(self, workshop: Workshop, todo: Sequence[Item], workers: int) -> list[Item]:
        """Those that another process is at, and may have to be done yet."""
        open_items = iter(todo)
        elsewhere: list[Item] = []

        async def worker() -> None:
            for item in open_items:
                if self._over:
                    return
                if self._is_asked(item.teacher) and not await self._do(workshop, item):
                    elsewhere.append(item)

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
        if self._broken:
            raise self._broken
        return elsewhere

    async def _do(self, workshop: Workshop, item: Item) -> bool:
        """Whether nothing more is to be done about it in this process."""
        try:
            done = await workshop.attempt(item)
            if isinstance(done, Taken):
                return self._leave(item, done)
            if self.enough and await self.enough(done):
                self.ended_by = "enough"
        except Stopped:
            return True
        except LeaseLost as lost:
            self.observer.warned(f"{item.task.id}: {lost}")
            return False
        except BudgetSpent:
            self.ended_by = "budget"
            self.stopping.set()
        except StoreFault as fault:
            # The others are let come to the end of their turns: cancelled, they would lose what they have bought.
            self._broken = self._broken or fault
            self.stopping.set()
        except InfrastructureFault as fault:
            self.failed += 1
            self.observer.warned(f"{item.task.id}: {fault}")
        return True

    def _leave(self, item: Item, taken: Taken) -> bool:
        if taken.ended:
            self.observer.ended_elsewhere(item.work)
        return taken.ended

    @property
    def _over(self) -> bool:
        """Whether nothing new is to be begun. What is enough lets trajectories under way come to their ends."""
        return self.stopping.is_set() or self.ended_by == "enough"

    def _is_asked(self, teacher: Teacher) -> bool:
        return not any(self.gates[one.name].closed for one in members(teacher))

    def _gate(self, teacher: Teacher, concurrency: int) -> Gate:
        return Gate(teacher, concurrency, self.observer.warned, self.retries, self._pause)

    async def _pause(self, seconds: float) -> None:
        await pause(self.stopping, seconds)

    async def _look_again(self) -> None:
        with suppress(Stopped):
            await self._pause(_LOOK)

    async def _tell_budget(self) -> None:
        budget = await self.budget()
        if budget:
            self.observer.warned(
                f"The budget is used up: {told(budget)}. Give a higher one with the same command to go on."
            )
