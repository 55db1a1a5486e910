"""From a checked plan to a finished run: opens what a run needs, watches it, and ends it gently.

Ctrl-C once lets the replies that are already being paid for arrive and be committed; twice stops at once.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from cli.progress import Progress, Tally
from collectors.config import RunConfig, make_config
from collectors.run import Collection
from collectors.teachers.teacher import Teacher, TeacherSpec, make_teacher, without_password
from environments.environment import Environment, make_environment
from environments.faults import UsageError
from environments.kernels import KernelHost, Limits, choose_isolation
from environments.kernels.limits import make_limits
from environments.search.cache import Caching
from environments.sources import load_tasks
from environments.types import Json, Task
from store.recordings import read_recordings
from store.searches import StoredReplies
from store.store import open_store

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration, and how fast, how far and where it is carried out."""

    run: str
    config: RunConfig
    store: str
    isolation: str
    limits: Limits
    preload: tuple[str, ...] = ()
    """Modules that kernels find imported, besides the environment's."""
    concurrency: int = 8
    limit: int | None = None
    only: frozenset[str] | None = None
    """The ids of the tasks to take; None for all."""

    @classmethod
    def make(cls, values: Mapping[str, Any], store: str, *, only: frozenset[str] | None = None) -> Self:
        """Checks everything that can be checked before anything is opened. Raises `UsageError`."""
        values = dict(values)
        limit, concurrency = _count(values, "limit"), _count(values, "concurrency") or 8
        run, asked = _word(values, "run"), _word(values, "isolation")
        limits, preload = make_limits(_table(values, "limits")), _modules(values)
        if "env" not in values:
            raise UsageError("no environment: give --env, such as --env math.")
        if not values.get("teachers"):
            raise UsageError("no teacher: give --teacher, such as --teacher openai:gpt-5.5.")
        config = make_config(values)
        return cls(
            run or _name(config), config, store, choose_isolation(asked), limits, preload, concurrency, limit, only
        )


def _count(values: dict[str, Any], name: str) -> int | None:
    value = values.pop(name, None)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return value


def _word(values: dict[str, Any], name: str) -> str | None:
    value = values.pop(name, None)
    if value is not None and (not isinstance(value, str) or not value or len(value) > _LONGEST_NAME):
        raise UsageError(f"{name} must be a text of 1 to {_LONGEST_NAME} characters, not {value!r}.")
    return value


def _modules(values: dict[str, Any]) -> tuple[str, ...]:
    names = values.pop("preload", ())
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise UsageError(f"preload must be a list of modules, not {names!r}.")
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(f"preload: {name!r} is not a module's name.")
        if find_spec(name.partition(".")[0]) is None:
            raise UsageError(f"preload: there is no module '{name}' beside Errata; install it there.")
    return tuple(names)


def _table(values: dict[str, Any], name: str) -> Mapping[str, Any]:
    value = values.pop(name, {})
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} must be a table, not {value!r}.")
    return value


@dataclass(slots=True)
class Ended:
    """How a run's process ended."""

    run: str
    tally: Tally
    failed: int = 0
    interrupted: bool = False
    hurried: bool = False
    """It was told twice to stop, and did not wait for the replies under way."""

    def as_json(self) -> dict[str, object]:
        return {"run": self.run, **self.tally.as_json(), "failed": self.failed, "interrupted": self.interrupted}


async def carry_out(plan: Plan) -> Ended:
    """Collect until all is done, or until it is stopped."""
    environment = make_environment(plan.config.env)
    tasks = _tasks(plan, environment)
    needed = environment.ready(tasks)
    async with AsyncExitStack() as stack:
        teachers = await _teachers(plan, stack)
        store = await stack.enter_async_context(open_store(plan.store, create=True))
        if isinstance(environment, Caching):
            environment.cache = StoredReplies(store)
        await stack.enter_async_context(environment)
        kernels = await stack.enter_async_context(KernelHost(plan.isolation, limits=plan.limits, preload=plan.preload))
        progress = stack.enter_context(Progress(plan.run))
        collection = Collection(
            plan.run, plan.config, store=store, environment=environment, tasks=tasks, teachers=teachers,
            kernels=kernels, observer=progress, provenance={**_provenance(plan), **needed},
        )  # fmt: skip
        ended = Ended(plan.run, progress.tally)
        with _stopped_gently(collection, progress):
            try:
                await collection.collect(plan.concurrency)
            except asyncio.CancelledError:
                if not collection.stopping.is_set():
                    raise
                ended.hurried = True
        ended.failed, ended.interrupted = collection.failed, collection.stopping.is_set()
        return ended


def _tasks(plan: Plan, environment: Environment) -> Sequence[Task]:
    config = plan.config
    seed = config.seed if config.shuffle else None
    source = config.data or environment.demo
    if source is None:
        raise UsageError(f"{config.env} has no bundled tasks; give --data.")
    loaded = load_tasks(environment, source, limit=plan.limit, seed=seed)
    for problem in loaded.problems:
        print(problem, file=sys.stderr)  # noqa: T201 - prose for people goes to stderr
    return [task for task in loaded.tasks if plan.only is None or task.id in plan.only]


async def _teachers(plan: Plan, stack: AsyncExitStack) -> list[Teacher]:
    names = plan.config.teachers
    replayed = [spec.target for spec in map(TeacherSpec.parse, names) if spec.provider == "replay"]
    recordings = {target: await read_recordings(target) for target in replayed if "://" in target}
    teachers = [make_teacher(name, plan.config.sampling, recordings=recordings.__getitem__) for name in names]
    for teacher in teachers:
        stack.push_async_callback(teacher.aclose)
    return teachers


@contextmanager
def _stopped_gently(collection: Collection, progress: Progress) -> Iterator[None]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_signal() -> None:
        if collection.stopping.is_set() and task:
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
    return re.sub(r"[^\w.+-]+", "-", "-".join([config.env, *map(without_password, config.teachers)])).strip("-")[:100]


def _provenance(plan: Plan) -> dict[str, Json]:
    """What decides besides the configuration what a run makes: versions, the code's revision, a kernel's limits."""
    names = ("errata", "ipykernel", "ipython", "numpy", "pandas", "sympy", "math-verify", "openai", "anthropic")
    versions = {name: version(name) for name in names}
    own: dict[str, Json] = {"revision": _revision(), "limits": asdict(plan.limits)}
    return {"python": sys.version.split()[0], "platform": sys.platform, **own, **versions}


def _revision() -> str | None:
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603 - our words only
    except (OSError, subprocess.SubprocessError):
        return None
