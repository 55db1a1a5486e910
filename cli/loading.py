"""The tasks of a run: from its source, or from the list of them that an earlier start has kept in the store."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from cli.plan import Plan
from cli.provenance import revision
from collectors.pairing import MARK, names_of
from collectors.teachers.teacher import TeacherSpec
from environments.environment import Environment
from environments.faults import UsageError
from environments.sources import load_tasks
from environments.types import Task
from store.opening import store_file
from store.store import open_store
from store.tasklist import OpenTasks, open_tasks

_MANY_TASKS = 5_000
"""From so many on the list of a run's tasks is kept."""


@dataclass(frozen=True, slots=True)
class RunTasks:
    """What there is to play."""

    tasks: Sequence[Task]
    done: int = 0
    """So many there are besides, of which all is done."""
    mark: str | None = None
    """Under which the list of them is to be kept; None where there is one, or none is wanted."""


async def run_tasks(plan: Plan, environment: Environment) -> RunTasks:
    mark = _mark(plan, environment)
    known = await _known(plan, mark) if mark else None
    if known:
        return RunTasks(known.tasks, known.done)
    with _uncollected():
        tasks = _tasks(plan, environment)
    return RunTasks(tasks, mark=mark if len(tasks) >= _MANY_TASKS else None)


def _mark(plan: Plan, environment: Environment) -> str | None:
    """What the list of a run's tasks rests on: the source as it is, and the code that reads it.

    None where that cannot be told of a file and a version, and where tasks that are done decide about others. What a
    file's rows refer to beside it, such as tables, stays as it was when the list was made.
    """
    config, code = plan.config, revision()
    file = Path(config.data).expanduser() if config.data else None
    ours = type(environment).__module__.startswith("environments.") and not (code or "").endswith("dirty")
    if file is None or not file.is_file() or not ours or config.escalate or plan.estimate or plan.only is not None:
        return None
    told = file.stat()
    source = [str(file.resolve()), told.st_size, told.st_mtime_ns, plan.limit, config.shuffle, config.seed, config.env]
    return hashlib.sha256(json.dumps([*source, version("errata"), code]).encode()).hexdigest()


async def _known(plan: Plan, mark: str) -> OpenTasks | None:
    """Those that are open, where the store has the list of them; None where the source is to be read."""
    file = store_file(plan.store)
    if file is None or not file.exists():
        return None
    names = [MARK.join(map(_shown, names_of(pair))) for pair in plan.config.teachers]
    work = [(name, attempt) for name in names for attempt in range(plan.config.attempts)]
    async with open_store(plan.store) as store:
        return await open_tasks(store, plan.run, mark, work)


def _shown(teacher: str) -> str:
    return TeacherSpec.parse(teacher).name


@contextmanager
def _uncollected() -> Iterator[None]:
    """What is loaded stays to the end: to look through it for garbage, over and over, takes a quarter of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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
