"""What is appended while trajectories are made: runs, tasks, replies, turns, calls, outcomes.

Every function returns once its rows are committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from environments.faults import UsageError
from environments.types import Call, Grade, Json, Outcome, Prompt, Reply, Rules, Run, Task, Turn, Work, clean
from store import records
from store.schema import Base, CallRow, GradeRow, PromptRow, RunRow, TaskRow, TrajectoryRow, TurnRow
from store.store import Store

_TASKS_AT_ONCE = 1000

# A statement that is built anew for its values costs more than its execution: what is written each turn stands here.
_PLACE = (TurnRow.trajectory_id == bindparam("of")) & (TurnRow.position == bindparam("at")) & ~TurnRow.abandoned
_TURN = select(TurnRow.id, TurnRow.superseded).where(_PLACE)
_OBSERVE = update(TurnRow).where(_PLACE)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a new trajectory starts from."""

    work: Work
    task_row: int
    prompt: Prompt
    isolation: str
    seed: int
    provenance: Mapping[str, Json]


async def ensure_run(store: Store, run: Run, rules: Rules) -> int:
    """The run's row, made if there is none. Refuses a name whose configuration was another."""

    def job(connection: Connection) -> int:
        values = {"name": run.name, "config": run.config, "rules": asdict(rules), "created": _now()}
        insert_new(connection, RunRow, [values])
        found = connection.execute(select(RunRow.id, RunRow.config).where(RunRow.name == run.name)).one()
        if found.config != run.config:
            raise UsageError(_difference(run.name, found.config, run.config))
        return int(found.id)

    return await store.write(job)


async def add_tasks(store: Store, tasks: Iterable[Task]) -> dict[str, int]:
    """The tasks' rows by their ids; what the store holds already is found, not doubled.

    In transactions of a thousand, so that a large source does not keep other processes waiting.
    """
    rows: dict[str, int] = {}
    # In one order for every process: two that add the same tasks would otherwise wait for each other.
    values = sorted(map(records.task_values, tasks), key=lambda value: value["digest"])
    for start in range(0, len(values), _TASKS_AT_ONCE):
        part = values[start : start + _TASKS_AT_ONCE]
        rows |= await store.write(partial(_add_tasks, values=part))
    return rows


async def add_prompt(store: Store, prompt: Prompt) -> None:
    values = {"digest": prompt.digest, **asdict(prompt)}
    await store.write(lambda connection: insert_new(connection, PromptRow, [values]))


async def begin_trajectory(store: Store, run_id: int, beginning: Beginning) -> int:
    """The trajectory's row: a new one, or the unfinished one that an earlier process left."""

    def job(connection: Connection) -> int:
        row = connection.execute(
            select(TrajectoryRow.id).where(
                TrajectoryRow.run_id == run_id,
                TrajectoryRow.task_row == beginning.task_row,
                TrajectoryRow.teacher == beginning.work.teacher,
                TrajectoryRow.attempt == beginning.work.attempt,
            )
        ).first()
        if row is not None:
            again = {"stop": None, "note": None, "ended": None, "isolation": beginning.isolation}
            connection.execute(update(TrajectoryRow).where(TrajectoryRow.id == row.id).values(**again))
            return int(row.id)
        return _insert(
            connection,
            TrajectoryRow,
            run_id=run_id,
            task_row=beginning.task_row,
            teacher=beginning.work.teacher,
            attempt=beginning.work.attempt,
            prompt_digest=beginning.prompt.digest,
            isolation=beginning.isolation,
            seed=beginning.seed,
            provenance=beginning.provenance,
            started=_now(),
        )

    return await store.write(job)


class TrajectoryLog:
    """Where one rollout is written down."""

    def __init__(self, store: Store, trajectory_id: int) -> None:
        self._store = store
        self._id = trajectory_id
        self._answered: Call | None = None

    async def reply(self, index: int, reply: Reply) -> None:
        values = {"trajectory_id": self._id, "position": index, "received": _now(), **records.reply_values(reply)}
        answered, self._answered = self._answered, None

        def job(connection: Connection) -> None:
            if answered:
                self._insert_call(connection, answered)
            _insert(connection, TurnRow, **values)

        await self._store.write(job)

    async def turn(self, turn: Turn) -> Turn:
        """Write what came of a reply, which holds nothing of that yet."""

        def job(connection: Connection) -> None:
            self._observe(connection, turn)
            if turn.grade:
                self._grade(connection, turn.grade, connection.execute(_TURN, self._place(turn)).one().id)

        await self._store.write(job)
        return turn

    async def call(self, call: Call) -> None:
        """Write a fault now; a call that brought a reply is written with it, so the reply waits for one commit."""
        if call.fault is None:
            self._answered = call
        else:
            await self._store.write(lambda connection: self._insert_call(connection, call))

    async def end(self, outcome: Outcome) -> None:
        values = {"stop": outcome.stop, "note": clean(outcome.note), "ended": _now()}
        await self._store.write(
            lambda connection: connection.execute(
                update(TrajectoryRow).where(TrajectoryRow.id == self._id).values(**values)
            )
        )

    async def branch(self, turn: Turn, recorded: Turn) -> Turn:
        """The re-run of `recorded` observed something else: `turn` takes its place, and what followed is abandoned."""

        def job(connection: Connection) -> None:
            later = (TurnRow.trajectory_id == self._id, TurnRow.position > turn.index, ~TurnRow.abandoned)
            connection.execute(update(TurnRow).where(*later).values(abandoned=True))
            row = connection.execute(_TURN, self._place(turn)).one()
            self._observe(connection, turn, superseded=[*(row.superseded or []), records.outcome_values(recorded)])
            connection.execute(delete(GradeRow).where(GradeRow.turn_id == row.id))
            if turn.grade:
                self._grade(connection, turn.grade, row.id)
            diverged = update(TrajectoryRow).where(TrajectoryRow.id == self._id).values(diverged_at=turn.index)
            connection.execute(diverged)

        await self._store.write(job)
        return turn

    def _insert_call(self, connection: Connection, call: Call) -> None:
        values = asdict(call)
        message = clean(call.message) if call.message else None
        values |= {"trajectory_id": self._id, "position": values.pop("turn"), "message": message}
        _insert(connection, CallRow, **values)

    def _place(self, turn: Turn) -> dict[str, int]:
        return {"of": self._id, "at": turn.index}

    def _observe(self, connection: Connection, turn: Turn, **more: Any) -> None:
        values = {**records.turn_values(turn), "observed": _now(), **more}
        if connection.execute(_OBSERVE, self._place(turn) | values).rowcount != 1:
            raise LookupError(f"trajectory {self._id} holds no reply for turn {turn.index}")

    def _grade(self, connection: Connection, grade: Grade, turn_id: int) -> None:
        _insert(connection, GradeRow, turn_id=turn_id, **asdict(grade))


def _add_tasks(connection: Connection, values: list[dict[str, Any]]) -> dict[str, int]:
    asked = TaskRow.digest.in_([value["digest"] for value in values])
    known = select(TaskRow.id, TaskRow.task_id, TaskRow.digest).where(asked)
    held = {(row.task_id, row.digest) for row in connection.execute(known)}
    insert_new(connection, TaskRow, [value for value in values if (value["task_id"], value["digest"]) not in held])
    wanted = {(value["task_id"], value["digest"]) for value in values}
    return {row.task_id: int(row.id) for row in connection.execute(known) if (row.task_id, row.digest) in wanted}


def insert_new(connection: Connection, table: type[Base], values: list[dict[str, Any]]) -> None:
    """Insert what is not there yet, whoever else inserts it at this moment."""
    if not values:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), values)


def _insert(connection: Connection, table: type[Base], **values: Any) -> int:
    key = connection.execute(insert(table), values).inserted_primary_key
    return int(key[0]) if key else 0


def _difference(name: str, stored: Mapping[str, Json], asked: Mapping[str, Json]) -> str:
    keys = sorted(key for key in {*stored, *asked} if stored.get(key) != asked.get(key))
    changes = "; ".join(f"{key} was {json.dumps(stored.get(key))}, now {json.dumps(asked.get(key))}" for key in keys)
    return f"run '{name}' was started with another configuration ({changes}). Give it back, or another --run name."


def _now() -> datetime:
    return datetime.now(UTC)
