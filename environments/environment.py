"""What an environment is: where tasks come from, what the kernel holds, how a solution is graded.

One file per environment. It is found by name through the `errata.environments` entry points, ours
by the same door as a third party's, or as `package.module:Class`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Self

from environments.faults import UsageError
from environments.kernels import KernelHost
from environments.tools import Function, is_method
from environments.types import Grade, Json, Task

ENTRY_POINTS = "errata.environments"


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a source, and where it stands (`train.jsonl:17`), for messages about it."""

    data: Mapping[str, Json]
    where: str
    folder: Path | None = None
    """The folder of a local source, to find files that the record names."""
    broken: str | None = None
    """Why there is no record here to read."""


class BadRow(Exception):
    """The row is not a task of this environment; says what is missing or wrong."""


class Episode:
    """One trajectory's side of an environment: the state that lives on the host while the teacher acts."""

    stateful = False
    """Whether what a function does changes what the next one finds: then a resume makes all calls again."""

    def __init__(self, environment: Environment, task: Task, kernels: KernelHost) -> None:
        self.environment = environment
        self.task = task
        self.kernels = kernels
        """Where a grader runs what the teacher has written."""

    def functions(self) -> Mapping[str, Function]:
        """The environment's functions by name, methods among them as this episode's own."""
        return {
            function.__name__: function.__get__(self) if is_method(function) else function
            for function in self.environment.functions
        }

    async def grade(self, solution: str) -> Grade:
        """Judge a proposed solution. Raises `GraderFault` when it cannot be judged."""
        return await self.environment.grade(self.task, solution)

    async def judge_state(self) -> Grade | None:
        """Judge the state a cell left the environment in; None where only solutions are judged."""
        return None


class Environment(ABC):
    """A kind of task. Entered once per run (`async with`), it holds what all its episodes share."""

    name: str
    """As in the registry, variant included: `tables:sql`."""
    summary: str = ""
    """What a task is, in a few words: `a problem of competition mathematics`."""
    grading: str = ""
    """What decides whether a solution is right, in a few words."""
    data: str = ""
    """Where its tasks come from; of a data set on the Hub as `--data` names it."""
    variants: tuple[str, ...] = ()
    """What may stand after its name: `sql`."""
    extra: str | None = None
    """The optional group of packages that it needs: `alfworld` for `errata[alfworld]`."""
    preload: tuple[str, ...] = ()
    """Modules worth importing in a kernel before the first turn."""
    functions: tuple[Function, ...] = ()
    """What the kernel can call and the host carries out; `environments/tools.py` says what one may be."""
    demo: str | None = None
    """Path of bundled tasks, which stand in where no data is given."""

    def __init__(self, variant: str | None = None) -> None:
        if variant is not None:
            raise UsageError(f"{self.name} has no variants; drop ':{variant}'.")

    @property
    @abstractmethod
    def tools(self) -> str:
        """What the kernel holds besides Python, as told to the teacher."""

    @property
    @abstractmethod
    def example(self) -> str:
        """The one-shot example, from its `Task:` to its last reply."""

    def example_for(self, task: Task) -> str:
        """The example that a task's teacher is shown, where not all are shown the same."""
        return self.example

    @abstractmethod
    def task(self, row: Row) -> Task:
        """Read a record. Raises `BadRow`."""

    def completed(self, task: Task) -> tuple[Task, str | None]:
        """The task with what its source left out and can be derived, and what was; `errata prepare` tells how often."""
        return task, None

    def setup(self, task: Task) -> str:
        """Code run unseen in a fresh kernel before the teacher's first cell. Holds no reference."""
        return ""

    def ready(self, tasks: Sequence[Task]) -> Mapping[str, Json]:
        """Before anything is bought: is there what these tasks need? Raises `UsageError`, and says what to do.

        What is returned goes into the trajectories' provenance: versions, and the digest of what is searched.
        """
        return {}

    @abstractmethod
    async def grade(self, task: Task, solution: str) -> Grade:
        """Judge a proposed solution. Raises `GraderFault` when it cannot be judged."""

    @asynccontextmanager
    async def episode(self, task: Task, kernels: KernelHost) -> AsyncIterator[Episode]:
        yield Episode(self, task, kernels)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def environment_names() -> Iterator[str]:
    yield from sorted(point.name for point in entry_points(group=ENTRY_POINTS))


def registered_environments() -> Iterator[str]:
    """Every name that `make_environment` takes, variants told apart; one that cannot be imported by its bare name."""
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        try:
            variants = getattr(point.load(), "variants", ())
        except ImportError:
            variants = ()
        yield from (f"{point.name}:{variant}" for variant in variants) if variants else (point.name,)


def make_environment(name: str) -> Environment:
    """`math`, `tables:sql` or `package.module:Class`."""
    head, _, rest = name.partition(":")
    for point in entry_points(group=ENTRY_POINTS):
        if point.name == head:
            made = point.load()(rest or None)
            break
    else:
        made = _outsider(head, rest, name)
    if not isinstance(made, Environment):
        raise UsageError(f"{name}: {type(made).__name__} is not an environments.environment.Environment.")
    return made


def _outsider(module: str, attribute: str, name: str) -> object:
    known = f"There are: {', '.join(environment_names())}; or package.module:Class."
    if not attribute or "." not in module:
        raise UsageError(f"unknown environment '{name}'. {known}")
    try:
        return getattr(import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"environment '{name}' cannot be imported: {error}. {known}") from error
