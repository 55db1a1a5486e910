"""From a checked plan to a finished run: opens what a run needs, watches it, and ends it gently.

Ctrl-C once lets the replies that are already being paid for arrive and be committed; twice stops at once.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self

from cli.progress import Progress, Tally
from collectors.config import RunConfig, make_config
from collectors.run import Collection
from collectors.teachers.teacher import Teacher, make_teacher
from environments.environment import Environment, make_environment
from environments.faults import UsageError
from environments.kernels import KernelHost, choose_isolation
from environments.sources import load_tasks
from environments.types import Json, Task
from store.store import open_store


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration, and how fast, how far and where it is carried out."""

    run: str
    config: RunConfig
    store: str
    isolation: str
    concurrency: int = 8
    limit: int | None = None
    only: frozenset[str] | None = None
    """The ids of the tasks to take; None for all."""

    @classmethod
    def make(cls, values: Mapping[str, Any], store: str, *, only: frozenset[str] | None = None) -> Self:
        """Checks everything that can be checked before anything is opened. Raises `UsageError`."""
        values = dict(values)
        run, limit = values.pop("run", None), values.pop("limit", None)
        concurrency, asked = values.pop("concurrency", 8), values.pop("isolation", None)
        store = values.pop("store", store)
        if "env" not in values:
            raise UsageError("no environment: give --env, such as --env math.")
        if not values.get("teachers"):
            raise UsageError("no teacher: give --teacher, such as --teacher openai:gpt-5.5.")
        config = make_config(values)
        return cls(run or _name(config), config, store, choose_isolation(asked), concurrency, limit, only)


@dataclass(slots=True)
class Ended:
    """How a run's process ended."""

    run: str
    tally: Tally
    failed: int = 0
    interrupted: bool = False

    def as_json(self) -> dict[str, object]:
        return {"run": self.run, **self.tally.as_json(), "failed": self.failed, "interrupted": self.interrupted}


async def carry_out(plan: Plan) -> Ended:
    """Collect until all is done, or until it is stopped."""
    environment = make_environment(plan.config.env)
    tasks = _tasks(plan, environment)
    async with AsyncExitStack() as stack:
        teachers = await _teachers(plan, stack)
        store = await stack.enter_async_context(open_store(plan.store, create=True))
        await stack.enter_async_context(environment)
        kernels = await stack.enter_async_context(KernelHost(plan.isolation))
        progress = stack.enter_context(Progress(plan.run))
        collection = Collection(
            plan.run, plan.config, store=store, environment=environment, tasks=tasks, teachers=teachers,
            kernels=kernels, observer=progress, provenance=_provenance(),
        )  # fmt: skip
        ended = Ended(plan.run, progress.tally)
        with _stopped_gently(collection, progress):
            try:
                await collection.collect(plan.concurrency)
            except asyncio.CancelledError:
                if not collection.stopping:
                    raise
        ended.failed, ended.interrupted = collection.failed, collection.stopping
        return ended


def _tasks(plan: Plan, environment: Environment) -> Sequence[Task]:
    config = plan.config
    seed = config.seed if config.shuffle else None
    loaded = load_tasks(environment, config.data or environment.demo, limit=plan.limit, seed=seed)
    for problem in loaded.problems:
        print(problem, file=sys.stderr)  # noqa: T201 - prose for people goes to stderr
    return [task for task in loaded.tasks if plan.only is None or task.id in plan.only]


async def _teachers(plan: Plan, stack: AsyncExitStack) -> list[Teacher]:
    teachers = [make_teacher(name, plan.config.sampling) for name in plan.config.teachers]
    for teacher in teachers:
        stack.push_async_callback(teacher.aclose)
    return teachers


@contextmanager
def _stopped_gently(collection: Collection, progress: Progress) -> Iterator[None]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_signal() -> None:
        if collection.stopping and task:
            task.cancel()
            return
        collection.stop()
        progress.warned("Stopping after the replies that are under way. Ctrl-C again stops at once.")

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _name(config: RunConfig) -> str:
    """A run that was given no name is named by its environment and teachers, so the same command goes on with it."""
    return re.sub(r"[^\w.+-]+", "-", "-".join([config.env, *config.teachers])).strip("-")[:100]


def _provenance() -> dict[str, Json]:
    names = ("errata", "ipykernel", "ipython", "numpy", "pandas", "sympy", "math-verify", "openai", "anthropic")
    return {"python": sys.version.split()[0], **{name: version(name) for name in names}}
