"""Where tasks come from: local files, Hugging Face data sets, and the environment that reads their rows.

A source that cannot be read is the user's to put right (`UsageError` with file and line); a single row
that is no task of its environment is reported and passed over, so one bad row does not cost the others.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from environments.environment import BadRow, Environment, Row
from environments.faults import UsageError
from environments.files import read_file
from environments.taskfile import prepared_task
from environments.types import Task

if TYPE_CHECKING:
    from environments.types import Json

HUB = "hf:"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row was passed over."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Loaded:
    tasks: tuple[Task, ...]
    problems: tuple[str, ...]
    """A line for every row passed over: `train.jsonl:17: no 'answer'`."""


def load_tasks(
    environment: Environment, source: str | Path, *, limit: int | None = None, seed: int | None = None
) -> Loaded:
    """The source's tasks in its order, or shuffled by `seed`; `limit` counts tasks, not rows."""
    if limit is not None and limit < 1:
        raise UsageError(f"{source}: a limit of {limit} tasks leaves nothing to do.")
    problems: list[Problem] = []
    # A shuffle has to see every row first; without one, reading stops as soon as there are enough.
    tasks = list(_take(read_tasks(environment, read_rows(source), problems), None if seed is not None else limit))
    if not tasks:
        told = "; ".join(map(str, problems[:3])) or "it holds no rows"
        raise UsageError(f"{source}: not one task of '{environment.name}' in it: {told}.")
    if seed is not None:
        random.Random(seed).shuffle(tasks)  # noqa: S311
    return Loaded(tuple(tasks[:limit]), tuple(map(str, problems)))


def read_tasks(environment: Environment, rows: Iterable[Row], problems: list[Problem]) -> Iterator[Task]:
    """The tasks of rows, of the environment's own form or of a task file's; what is passed over goes to `problems`."""
    seen: dict[str, tuple[Task, str]] = {}
    for row in rows:
        if row.broken is not None:
            problems.append(Problem(row.where, row.broken))
            continue
        try:
            task = prepared_task(row, environment.name) or environment.task(row)
        except BadRow as error:
            problems.append(Problem(row.where, str(error)))
            continue
        if task.id not in seen:
            seen[task.id] = (task, row.where)
            yield task
        elif seen[task.id][0] != task:
            other = f"'{task.id}' again, with other content than at {seen[task.id][1]}"
            problems.append(Problem(row.where, other))


def read_rows(source: str | Path, *, split: str | None = None) -> Iterator[Row]:
    """Rows of a local file (`environments/files.py` lists the forms) or of a data set on the Hub.

    The Hub is named `hf:owner/name[/config][@revision][#split]`, `split` standing in for a missing
    `#split`; after `hf:` a local folder or Parquet file (a path with `./` or `/` in front) goes too.
    """
    if str(source).startswith(HUB):
        from environments.hub import read_hub

        yield from read_hub(str(source).removeprefix(HUB), split=split)
    else:
        yield from read_file(Path(source).expanduser())


def _take(tasks: Iterator[Task], limit: int | None) -> Iterator[Task]:
    for count, task in enumerate(tasks, start=1):
        yield task
        if count == limit:
            return


# -- what environments read rows with ------------------------------------------------------------


def text_of(row: Row, *names: str) -> str:
    """The first of the named fields that holds text; raises `BadRow` naming them."""
    for name in names:
        value: Json = row.data.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
    raise BadRow(f"no {' or '.join(repr(name) for name in names)}")
