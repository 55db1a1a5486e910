"""The run: which work is open, how much of it at once, and what happens when a piece of it fails.

A piece of work is (task, teacher, attempt). What the store holds finished is skipped; what an earlier
process left half-way is gone on with. One task's failure never ends the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from collectors.attempt import Item, Observer, Stopped, Workshop
from collectors.config import RunConfig
from collectors.teachers.retry import RetryPolicy
from collectors.teachers.teacher import Teacher
from environments.environment import Environment
from environments.faults import InfrastructureFault, StoreFault, TeacherFault
from environments.kernels import KernelHost
from environments.protocol.render import make_prompt
from environments.types import Json, Run, Task
from store.lease import leased
from store.load import finished_work
from store.log import add_prompt, add_tasks, ensure_run
from store.store import Store


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
        retries: RetryPolicy | None = None,
        provenance: Mapping[str, Json] | None = None,
    ) -> None:
        self.name, self.config, self.store = name, config, store
        self.environment, self.tasks, self.teachers = environment, tasks, teachers
        self.kernels, self.observer = kernels, observer
        self.retries = retries or RetryPolicy()
        self.provenance = provenance or {}
        self.failed = 0
        """Pieces of work that an infrastructure fault ended in this process; the next start tries them again."""
        self.stopping = asyncio.Event()
        self._given_up: set[str] = set()
        self._broken: StoreFault | None = None

    def stop(self) -> None:
        """Let what is under way come to the end of its turn, and begin nothing new."""
        self.stopping.set()

    async def collect(self, concurrency: int) -> None:
        """Do all open work, `concurrency` pieces at a time."""
        rules = self.config.rules
        run_id = await ensure_run(self.store, Run(self.name, self.config.saved()), rules)
        async with leased(self.store, run_id, self.name):
            prompts = {task.id: make_prompt(self.environment, rules, task) for task in self.tasks}
            for prompt in {prompt.digest: prompt for prompt in prompts.values()}.values():
                await add_prompt(self.store, prompt)
            items = list(self._items(await add_tasks(self.store, self.tasks)))
            finished = await finished_work(self.store, run_id)
            todo = [item for item in items if item.work not in finished]
            self.observer.planned(len(items), len(items) - len(todo))
            workshop = Workshop(
                self.name, run_id, self.store, self.environment, self.kernels, prompts, rules, self.config.seed,
                self.provenance, self.retries, self.observer, self.stopping,
            )  # fmt: skip
            await self._work_through(workshop, todo, min(concurrency, len(todo)))

    def _items(self, rows: Mapping[str, int]) -> Iterator[Item]:
        """Attempt by attempt, so that every task is tried once before any is tried again."""
        for attempt in range(self.config.attempts):
            for task in self.tasks:
                for teacher in self.teachers:
                    yield Item(task, rows[task.id], teacher, attempt)

    async def _work_through(self, workshop: Workshop, todo: Sequence[Item], workers: int) -> None:
        open_items = iter(todo)

        async def worker() -> None:
            for item in open_items:
                if self.stopping.is_set():
                    return
                if item.teacher.name not in self._given_up:
                    await self._do(workshop, item)

        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
        if self._broken:
            raise self._broken

    async def _do(self, workshop: Workshop, item: Item) -> None:
        try:
            await workshop.attempt(item)
        except Stopped:
            return
        except StoreFault as fault:
            # The others are let come to the end of their turns: cancelled, they would lose what they have bought.
            self._broken = self._broken or fault
            self.stop()
        except InfrastructureFault as fault:
            self.failed += 1
            self.observer.warned(f"{item.task.id}: {fault}")
            if isinstance(fault, TeacherFault) and fault.ends_teacher:
                self._give_up(item.teacher.name)

    def _give_up(self, teacher: str) -> None:
        if teacher not in self._given_up:
            self._given_up.add(teacher)
            self.observer.warned(f"{teacher} is not asked again in this run.")
