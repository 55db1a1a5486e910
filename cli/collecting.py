"""From a checked plan to a finished run: opens what a run needs, watches it, and ends it gently.

Ctrl-C once lets the replies that are already being paid for arrive and be committed; twice stops at once.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import hashlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, get_args

from cli.progress import RECOVERED, Progress, Tally
from cli.runlog import Observers, RunLog
from collectors.config import RunConfig, make_config
from collectors.pairing import Handover, names_of
from collectors.purse import told
from collectors.resume import OnDivergence
from collectors.run import Collection, Enough
from collectors.teachers.retry import RetryPolicy
from collectors.teachers.teacher import Teacher, TeacherSpec, make_teacher, without_password
from environments.environment import Environment, make_environment
from environments.faults import UsageError
from environments.kernels import KernelHost, Limits, choose_isolation
from environments.kernels.limits import make_limits
from environments.search.cache import Caching
from environments.sources import load_tasks
from environments.types import Assessment, Json, Task, Work
from filters.filter import assess, reads_errors
from store.budget import Caps
from store.ledger import count_levels, count_unread
from store.load import finished_work_of
from store.opening import store_file
from store.recordings import read_recordings
from store.searches import StoredReplies
from store.store import Store, open_store
from store.tasklist import OpenTasks, open_tasks

if TYPE_CHECKING:
    from cli.estimate import Estimate

_LONGEST_NAME = 200
_WATCH_SECONDS = 1.0
_GOAL_SECONDS = 5.0
_MANY_TASKS = 5_000
"""From so many on the list of a run's tasks is kept."""


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
    caps: Caps | None = None
    """None leaves the run's budget as it is, if it has one."""
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    on_divergence: OnDivergence = "branch"
    until_recovered: int | None = None
    estimate: bool = False
    """Play nothing but the pilot's tasks, and say what the rest would come to."""
    pilot: int = 0
    log: Path | None = None
    """Of what happens; None for the default place."""

    @classmethod
    def make(cls, values: Mapping[str, Any], store: str, *, only: frozenset[str] | None = None) -> Self:
        """Checks everything that can be checked before anything is opened. Raises `UsageError`."""
        values = dict(values)
        limit, concurrency = _count(values, "limit"), _count(values, "concurrency") or 8
        run, asked = _word(values, "run"), _word(values, "isolation")
        limits, preload = make_limits(_table(values, "limits")), _modules(values)
        caps = Caps(_dollars(values, "budget_usd"), _count(values, "budget_tokens"))
        wait, log = _seconds(values, "longest_wait"), _word(values, "log")
        until, pilot = _count(values, "until_recovered"), _count(values, "pilot")
        estimate, diverging = bool(values.pop("estimate", False)), _divergence(values)
        if pilot and not estimate:
            raise UsageError("--pilot goes with --estimate: the tasks to play before anything is estimated.")
        if "env" not in values:
            raise UsageError("no environment: give --env, such as --env math.")
        if not values.get("teachers"):
            raise UsageError("no teacher: give --teacher, such as --teacher openai:gpt-5.5.")
        config = make_config(values)
        return cls(
            run or _name(config), config, store, choose_isolation(asked), limits, preload, concurrency, limit, only,
            None if caps == Caps() else caps, RetryPolicy(longest_wait=wait) if wait else RetryPolicy(), diverging,
            until, estimate, pilot or 0, Path(log) if log else None,
        )  # fmt: skip


def _dollars(values: dict[str, Any], name: str) -> Decimal | None:
    value = values.pop(name, None)
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise UsageError(f"{name} must be an amount of dollars above 0, not {value!r}.")
    return amount


def _seconds(values: dict[str, Any], name: str) -> float | None:
    value = values.pop(name, None)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < inf):
        raise UsageError(f"{name} must be a number of seconds above 0, not {value!r}.")
    return value


def _divergence(values: dict[str, Any]) -> OnDivergence:
    value = values.pop("on_divergence", None) or "branch"
    if value not in get_args(OnDivergence):
        raise UsageError(f"on_divergence must be one of {', '.join(get_args(OnDivergence))}, not {value!r}.")
    return cast(OnDivergence, value)


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
    mark = _list_mark(plan, environment)
    known = await _known_tasks(plan, mark) if mark else None
    with _uncollected():
        tasks = known.tasks if known else _tasks(plan, environment)
    needed = environment.ready(tasks)
    async with AsyncExitStack() as stack:
        teachers = await _teachers(plan, stack)
        store = await stack.enter_async_context(open_store(plan.store, create=True))
        if isinstance(environment, Caching):
            environment.cache = StoredReplies(store)
        await stack.enter_async_context(environment)
        kernels = await stack.enter_async_context(KernelHost(plan.isolation, limits=plan.limits, preload=plan.preload))
        progress = stack.enter_context(Progress(plan.run))
        log = stack.enter_context(RunLog(plan.log or _log_place(plan), progress.warned))
        provenance = {**_provenance(plan), **needed}
        log.started(plan.run, plan.config.saved(), provenance, concurrency=plan.concurrency)
        collection = Collection(
            plan.run, plan.config, store=store, environment=environment,
            tasks=tasks[: plan.pilot] if plan.estimate else tasks, teachers=teachers, kernels=kernels,
            observer=Observers(progress, log), assess=assess, retries=plan.retries,
            on_divergence=plan.on_divergence, enough=_goal(plan, store), caps=plan.caps, provenance=provenance,
            list_mark=mark if known is None and len(tasks) >= _MANY_TASKS else None,
            tasks_done=known.done if known else 0,
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
    with _stopped_gently(collection, progress):
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


def _goal(plan: Plan, store: Store) -> Enough | None:
    """Enough trajectories that recovered, those of earlier and of other processes counted in."""
    wanted = plan.until_recovered
    if wanted is None:
        return None

    asked = 0.0

    async def reached(assessment: Assessment | None) -> bool:
        nonlocal asked
        now = time.monotonic()
        counts = assessment is None or assessment.recovery.level in RECOVERED
        # Others' count too, whether or not any of ours does.
        if not counts and now - asked < _GOAL_SECONDS:
            return False
        asked = now
        if assessment is None:
            await _require_read(store, plan.run)
        return await count_levels(store, plan.run, RECOVERED, reads_errors(0)) >= wanted

    return reached


async def _require_read(store: Store, run: str) -> None:
    """What has not been read, or not by this version, would count as not recovered, and be bought again."""
    unread = await count_unread(store, run, reads_errors(0))
    if unread:
        told = f"{unread:,} finished trajectories of run '{run}' have not been read for errors yet"
        raise UsageError(f"{told}: `errata filter --run {run}` reads them; then start again.")


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


def _log_place(plan: Plan) -> Path:
    """Beside the store; a server has no folder."""
    file = store_file(plan.store) or Path("errata.db")
    return file.with_suffix(".logs") / f"{_plain(plan.run)}.jsonl"


def _list_mark(plan: Plan, environment: Environment) -> str | None:
    """What the list of a run's tasks rests on: the source as it is, and the code that reads it.

    None where that cannot be told of a file and a version, and where tasks that are done decide about others.
    """
    config, revision = plan.config, _revision()
    file = Path(config.data).expanduser() if config.data else None
    ours = type(environment).__module__.startswith("environments.") and not (revision or "").endswith("dirty")
    if file is None or not file.is_file() or not ours or config.escalate or plan.estimate or plan.only is not None:
        return None
    told = file.stat()
    source = [str(file.resolve()), told.st_size, told.st_mtime_ns, plan.limit, config.shuffle, config.seed, config.env]
    return hashlib.sha256(json.dumps([*source, version("errata"), revision]).encode()).hexdigest()


async def _known_tasks(plan: Plan, mark: str) -> OpenTasks | None:
    """Those that are open, where the store has the list of them; None where the source is to be read."""
    file = store_file(plan.store)
    if file is None or not file.exists():
        return None
    names = [">".join(map(_shown, names_of(pair))) for pair in plan.config.teachers]
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


@contextmanager
def _stopped_gently(collection: Collection, progress: Progress) -> Iterator[None]:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def on_signal() -> None:
        if collection.told_to_stop and task:
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
    return _plain("-".join([config.env, *map(without_password, config.teachers)]))


def _plain(name: str) -> str:
    """As a file may be called everywhere."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-")[:100]


def _provenance(plan: Plan) -> dict[str, Json]:
    """What decides besides the configuration what a run makes: versions, the code's revision, a kernel's limits."""
    names = ("errata", "ipykernel", "ipython", "numpy", "pandas", "sympy", "math-verify", "openai", "anthropic")
    versions = {name: version(name) for name in names}
    own: dict[str, Json] = {"revision": _revision(), "limits": asdict(plan.limits)}
    return {"python": sys.version.split()[0], "platform": sys.platform, **own, **versions}


@functools.cache
def _revision() -> str | None:
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603 - our words only
    except (OSError, subprocess.SubprocessError):
        return None
