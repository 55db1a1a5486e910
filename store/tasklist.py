"""The list of a run's tasks, kept so that a large source is not read again each time the run goes on.

It holds only rows of `tasks`, which have the tasks whole. Whoever keeps it says in a mark what it rests on: as
soon as the mark is another, the source is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from environments.types import Task
from store import records
from store.schema import RunRow, TaskListRow, TaskRow, TrajectoryRow
from store.store import Store

MOST_OPEN = 5_000
"""With more of them open, the source is read as quickly."""

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class OpenTasks:
    """Those of a list of which not all is done, in its order, and how many tasks there are besides."""

    tasks: tuple[Task, ...]
    done: int


async def keep_list(store: Store, run_id: int, mark: str, task_rows: Sequence[int]) -> None:
    """In place of the run's former one."""

    def job(connection: Connection) -> None:
        connection.execute(delete(TaskListRow).where(TaskListRow.run_id == run_id))
        connection.execute(insert(TaskListRow), {"run_id": run_id, "mark": mark, "tasks": list(task_rows)})

    await store.write(job)


async def open_tasks(store: Store, run: str, mark: str, work: Collection[tuple[str, int]]) -> OpenTasks | None:
    """`work`: what each task is to be played with, (teacher, attempt). None without a list of that mark, and where very
    many are open."""
    query = select(TaskListRow.run_id, TaskListRow.tasks).join(RunRow, RunRow.id == TaskListRow.run_id)
    found = await store.read(query.where(RunRow.name == run, TaskListRow.mark == mark))
    if not found:
        return None
    done = await _done(store, found[0]["run_id"], frozenset(work))
    still_open = [row for row in found[0]["tasks"] if done[row] < len(work)]
    if len(still_open) > MOST_OPEN:
        return None
    tasks = await _tasks(store, still_open)
    return OpenTasks(tuple(tasks[row] for row in still_open), len(found[0]["tasks"]) - len(still_open))


async def _done(store: Store, run_id: int, work: frozenset[tuple[str, int]]) -> Counter[int]:
    """How much of each task is finished, by its row."""
    place = select(TrajectoryRow.task_row, TrajectoryRow.teacher, TrajectoryRow.attempt)
    finished = (TrajectoryRow.stop.is_not(None), TrajectoryRow.stop != "failed")
    rows = await store.read_plain(place.where(TrajectoryRow.run_id == run_id, *finished))
    return Counter(row for row, teacher, attempt in rows if (teacher, attempt) in work)


async def _tasks(store: Store, task_rows: Sequence[int]) -> dict[int, Task]:
    tasks: dict[int, Task] = {}
    for start in range(0, len(task_rows), _AT_ONCE):
        query = select(TaskRow.__table__).where(TaskRow.id.in_(task_rows[start : start + _AT_ONCE]))
        tasks |= {row["id"]: records.task_of(row) for row in await store.read(query)}
    return tasks
