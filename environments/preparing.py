"""From sources to the tasks one wants of them: conditions, the largest, a part, a sample, splits. Each step is counted.

What is drawn is drawn by a hash of the seed and the task's own id, so neither the order of the source nor its other
rows decide about a task: the same seed takes the same tasks, a larger count adds to them and drops none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from environments.environment import Environment, Row
from environments.faults import UsageError
from environments.sources import Problem, read_tasks
from environments.taskfile import encoded
from environments.types import Json, Task

_CONDITION = re.compile(r"(\w+)\s*(>=|<=|!=|=|>|<)\s*(\S.*)")
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    ">=": lambda one, other: one >= other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    "<": lambda one, other: one < other,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """`level >= 3`, `subject = Algebra,Geometry`: a field of a task's metadata, and what is wanted of it."""

    field: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        match = _CONDITION.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"--where takes FIELD=VALUE[,VALUE], or FIELD>=NUMBER and its like; not '{text}'.")
        if match[2] in _ORDER and _number(match[3]) is None:
            raise UsageError(f"--where {text}: '{match[3]}' is no number to compare with.")
        return cls(match[1], match[2], match[3])

    def __str__(self) -> str:
        return f"{self.field} {self.sign} {self.value}"

    def holds(self, task: Task) -> bool:
        """A task that lacks the field fails, whatever the condition."""
        value = task.metadata.get(self.field)
        if value is None:
            return False
        if self.sign in _ORDER:
            held, wanted = _number(value), _number(self.value)
            return held is not None and wanted is not None and _ORDER[self.sign](held, wanted)
        named = {word.strip() for word in self.value.split(",")}
        return (str(value) in named) == (self.sign == "=")


@dataclass(frozen=True, slots=True)
class Selection:
    """What to take of a source's tasks, in the order of the fields."""

    where: tuple[Condition, ...] = ()
    largest: tuple[str, ...] = ()
    """Fields of the metadata, the first of most weight, by which `most` tasks are the largest."""
    most: int | None = None
    part: tuple[int, int] = (1, 1)
    """Which of how many equal parts; all of them together are the whole, and no task is in two."""
    count: int | None = None
    splits: tuple[tuple[str, float], ...] = ()
    """Name and share."""
    together: str | None = None
    """A field of the metadata: tasks that are alike in it come into the same split."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    tasks: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Rows that were passed over for one reason."""

    reason: str
    rows: int
    first: tuple[str, ...]


@dataclass(slots=True)
class Preparation:
    """What has been taken so far, and the account of it."""

    steps: list[Step] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    completed: dict[str, int] = field(default_factory=dict)
    """What a source leaves out and was derived → in how many tasks."""

    def read(self, environment: Environment, rows: Iterable[Row]) -> list[Task]:
        count = 0

        def counted() -> Iterable[Row]:
            nonlocal count
            for count, row in enumerate(rows, start=1):  # noqa: B007 - it is read when all is over
                yield row

        tasks = [task for task in read_tasks(environment, counted(), self.problems) if self._encodable(task)]
        self.steps += [Step("rows read", count), Step("tasks", len(tasks))]
        return tasks

    def select(self, tasks: Sequence[Task], wanted: Selection) -> dict[str, list[Task]]:
        """The tasks by split, in the order drawn; a single nameless split where none are asked for."""
        for condition in wanted.where:
            _known([condition.field], tasks)
            tasks = self._counted(str(condition), [task for task in tasks if condition.holds(task)])
        if wanted.most is not None:
            _known(wanted.largest, tasks)
            tasks = self._counted(
                f"the largest by {', '.join(wanted.largest)}", largest(tasks, wanted.largest, wanted.most)
            )
        tasks = drawn(tasks, wanted.seed)
        which, of = wanted.part
        if of > 1:
            tasks = tasks[len(tasks) * (which - 1) // of : len(tasks) * which // of]
            tasks = self._counted(f"part {which} of {of}", tasks)
        if wanted.count is not None:
            tasks = self._counted(f"drawn with seed {wanted.seed}", tasks[: wanted.count])
        if wanted.together is not None:
            _known([wanted.together], tasks)
        return split(tasks, wanted) if wanted.splits else {"": list(tasks)}

    def complete(self, environment: Environment, tasks: Iterable[Task]) -> list[Task]:
        """The tasks with what their source left out."""
        found = [environment.completed(task) for task in tasks]
        for _, derived in found:
            if derived is not None:
                self.completed[derived] = self.completed.get(derived, 0) + 1
        return [task for task, _ in found]

    def refused(self, places: int = 3) -> list[Refused]:
        """Reasons that differ in numbers and quoted words alone are one."""
        found: dict[str, list[Problem]] = {}
        for problem in self.problems:
            found.setdefault(re.sub(r"\d+", "…", problem.reason), []).append(problem)
        by_count = sorted(found.values(), key=lambda alike: -len(alike))
        return [
            Refused(alike[0].reason, len(alike), tuple(problem.where for problem in alike[:places]))
            for alike in by_count
        ]

    def _encodable(self, task: Task) -> bool:
        try:
            encoded(task)
        except (ValueError, TypeError) as error:
            self.problems.append(Problem(task.id, f"cannot be written as JSON: {error}"))
            return False
        return True

    def _counted(self, name: str, tasks: list[Task]) -> list[Task]:
        self.steps.append(Step(name, len(tasks)))
        return tasks


def drawn(tasks: Iterable[Task], seed: int) -> list[Task]:
    return sorted(tasks, key=lambda task: _draw(seed, _own(task)))


def largest(tasks: Iterable[Task], names: Sequence[str], most: int) -> list[Task]:
    """By the first field, then the next; among equals by id. A task that lacks a field is the smallest."""
    return sorted(tasks, key=lambda task: (*(-_size(task, name) for name in names), _own(task)))[:most]


def split(tasks: Sequence[Task], wanted: Selection) -> dict[str, list[Task]]:
    """Shares are exact to a task, or to a group of them where some have to stay together."""
    names = [name for name, _ in wanted.splits]
    ends = list(accumulate(share for _, share in wanted.splits))
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(_own(task) if wanted.together is None else str(task.metadata[wanted.together]), []).append(
            task
        )
    found: dict[str, list[Task]] = {name: [] for name in names}
    begun = 0
    for group in sorted(groups, key=lambda group: _draw(wanted.seed, f"split\0{group}")):
        at = next((at for at, end in enumerate(ends) if begun < round(end * len(tasks))), len(names) - 1)
        found[names[at]] += groups[group]
        begun += len(groups[group])
    for name, members in found.items():
        if not members:
            raise UsageError(f"{len(tasks):,} tasks leave none for the split '{name}'.")
    return found


def _own(task: Task) -> str:
    """The id without the environment's name: a question is the same one in each of its variants."""
    return task.id.removeprefix(f"{task.environment}/")


def _draw(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()


def _size(task: Task, name: str) -> float:
    return _number(task.metadata.get(name)) or 0.0


def _number(value: Json) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _known(names: Iterable[str], tasks: Sequence[Task]) -> None:
    """A field that no task has is a slip of the pen, and would leave nothing."""
    there = {name for task in tasks for name in task.metadata}
    for name in names:
        if tasks and name not in there:
            told = f"there are: {', '.join(sorted(there))}" if there else "there are none"
            raise UsageError(f"no task has '{name}' in its metadata; {told}.")


# -- presets -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preset:
    selection: Selection = Selection()
    sources: tuple[str, ...] = ()
    """Where none are given."""


_SUBJECTS = ("algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
             "precalculus")  # fmt: skip
_WTQ = tuple(f"hf:stanfordnlp/wikitablequestions/random-split-1#{name}" for name in ("train", "validation"))
_LARGE = Selection(largest=("rows", "columns"), most=3_000, seed=42)

_HARD = Preset(
    Selection(where=(Condition("level", "=", "hard"),), count=3_000, seed=42),
    ("hf:hotpotqa/hotpot_qa/distractor#train",),
)
_LEVELS = Selection(where=(Condition("level", ">=", "3"),), seed=42)

PRESETS: Mapping[str, Mapping[str, Preset]] = {
    # What the paper took of each data set (Wang et al. 2024, appendix G, and the scripts beside it).
    "codeactinstruct": {
        "hotpotqa": _HARD,
        "hotpotqa:live": _HARD,
        "math": Preset(_LEVELS, tuple(f"hf:EleutherAI/hendrycks_math/{subject}#train" for subject in _SUBJECTS)),
        "apps": Preset(Selection(seed=42), ("hf:codeparrot/apps#train",)),
        "tables:sql": Preset(replace(_LARGE, part=(1, 2)), _WTQ),
        "tables:pandas": Preset(replace(_LARGE, part=(2, 2)), _WTQ),
        "alfworld": Preset(Selection(seed=42)),
    }
}


def preset(name: str, environment: str) -> Preset:
    if name not in PRESETS:
        raise UsageError(f"there is no preset '{name}'. There is: {', '.join(PRESETS)}.")
    if environment not in PRESETS[name]:
        raise UsageError(f"the preset '{name}' has nothing for {environment}, but for {', '.join(PRESETS[name])}.")
    return PRESETS[name][environment]
