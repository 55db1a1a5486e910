"""The tables. One schema for SQLite and Postgres; `migrations/` makes them, and a test holds both equal.

A turn is one row, written in two steps: the reply when it arrives, what came of it when it is known.
A reply without an observation is a turn that was interrupted, and is where a resume goes on.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, MetaData, String, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from store.columns import CompressedJson, Dollars, Moment

_Id = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, datetime: Moment, Decimal: Dollars}  # noqa: RUF012 - SQLAlchemy's form


class RunRow(Base):
    """A named configuration, whole, with the versions it was started with."""

    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    config: Mapped[dict[str, Any]]
    rules: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class LeaseRow(Base):
    """Which process works on a run; `owner` is null when none does. The epoch only ever rises, so a
    process that slept through its own end finds that it has lost the run."""

    __tablename__ = "leases"
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    owner: Mapped[str | None] = mapped_column(String(200))
    epoch: Mapped[int]
    renewed: Mapped[datetime]


class TaskRow(Base):
    """A task as it was given; the same id with other content is another row."""

    __tablename__ = "tasks"
    __table_args__ = (UniqueConstraint("task_id", "digest"),)
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    task_id: Mapped[str] = mapped_column(String(400))
    digest: Mapped[str] = mapped_column(String(64))
    environment: Mapped[str] = mapped_column(String(200))
    prompt: Mapped[str] = mapped_column(Text)
    reference: Mapped[Any] = mapped_column(CompressedJson(holds_none=True), nullable=False)
    inputs: Mapped[Any] = mapped_column(CompressedJson, nullable=False)
    details: Mapped[dict[str, Any]]


class PromptRow(Base):
    """The texts before the task, once each, by content."""

    __tablename__ = "prompts"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    system: Mapped[str] = mapped_column(Text)
    example: Mapped[str] = mapped_column(Text)


class TrajectoryRow(Base):
    """One attempt of one teacher at one task. `stop` is null while it is under way."""

    __tablename__ = "trajectories"
    __table_args__ = (UniqueConstraint("run_id", "task_row", "teacher", "attempt"),)
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    task_row: Mapped[int] = mapped_column(ForeignKey("tasks.id"), index=True)
    teacher: Mapped[str] = mapped_column(String(400))
    attempt: Mapped[int]
    prompt_digest: Mapped[str] = mapped_column(ForeignKey("prompts.digest"))
    isolation: Mapped[str] = mapped_column(String(40))
    seed: Mapped[int] = mapped_column(BigInteger)
    provenance: Mapped[dict[str, Any]]
    stop: Mapped[str | None] = mapped_column(String(40))
    note: Mapped[str | None] = mapped_column(Text)
    started: Mapped[datetime]
    ended: Mapped[datetime | None]
    diverged_at: Mapped[int | None]


class TurnRow(Base):
    """A reply, raw and read, and what came of it. `abandoned` ones were left behind by a resume that diverged."""

    __tablename__ = "turns"
    __table_args__ = (
        Index(
            "ix_turns_place",
            "trajectory_id",
            "position",
            unique=True,
            sqlite_where=text("NOT abandoned"),
            postgresql_where=text("NOT abandoned"),
        ),
        Index("ix_turns_trajectory_id", "trajectory_id"),
    )
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    trajectory_id: Mapped[int] = mapped_column(ForeignKey("trajectories.id"))
    position: Mapped[int]
    abandoned: Mapped[bool] = mapped_column(default=False)
    # What a provider sends has no lengths of ours: a reply that was paid for must not be refused by a column.
    teacher: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    stop_reason: Mapped[str] = mapped_column(Text)
    tokens_in: Mapped[int] = mapped_column(BigInteger)
    tokens_out: Mapped[int] = mapped_column(BigInteger)
    tokens_cache_read: Mapped[int] = mapped_column(BigInteger)
    tokens_cache_write: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[Decimal | None]
    latency: Mapped[float]
    raw: Mapped[Any] = mapped_column(CompressedJson, nullable=False)
    received: Mapped[datetime]
    action_kind: Mapped[str | None] = mapped_column(String(20))
    action: Mapped[Any] = mapped_column(CompressedJson, nullable=True)
    observation: Mapped[str | None] = mapped_column(Text)
    result: Mapped[Any] = mapped_column(CompressedJson, nullable=True)
    observed: Mapped[datetime | None]
    superseded: Mapped[Any] = mapped_column(CompressedJson, nullable=True)


class GradeRow(Base):
    """The grader's verdict on a turn."""

    __tablename__ = "grades"
    turn_id: Mapped[int] = mapped_column(ForeignKey("turns.id"), primary_key=True, autoincrement=False)
    correct: Mapped[bool]
    score: Mapped[float]
    tests: Mapped[Any] = mapped_column(CompressedJson, nullable=True)
    note: Mapped[str] = mapped_column(Text)


class CallRow(Base):
    """One attempt at a provider, whether it brought a reply or a fault."""

    __tablename__ = "calls"
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    trajectory_id: Mapped[int] = mapped_column(ForeignKey("trajectories.id"), index=True)
    position: Mapped[int]
    started: Mapped[datetime]
    seconds: Mapped[float]
    fault: Mapped[str | None] = mapped_column(String(40))
    status: Mapped[int | None]
    retry_after: Mapped[float | None]
    request_id: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    body: Mapped[Any] = mapped_column(CompressedJson, nullable=True)


class SearchReplyRow(Base):
    """What a live server has answered, once for all runs: the same search has the same reply when a run goes on."""

    __tablename__ = "search_replies"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    request: Mapped[str] = mapped_column(Text)
    reply: Mapped[Any] = mapped_column(CompressedJson, nullable=False)


class ErrorEventRow(Base):
    """An error the teacher made, as `environments.errors` of that version reads it."""

    __tablename__ = "error_events"
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    trajectory_id: Mapped[int] = mapped_column(ForeignKey("trajectories.id"), index=True)
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(4))
    signature: Mapped[str] = mapped_column(Text)
    detail: Mapped[Any] = mapped_column(CompressedJson, nullable=False)
    version: Mapped[int]


class VerdictRow(Base):
    """The ledger: a filter's word on a trajectory. `parameters` is their canonical JSON."""

    __tablename__ = "verdicts"
    __table_args__ = (UniqueConstraint("trajectory_id", "filter", "version", "parameters"),)
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    trajectory_id: Mapped[int] = mapped_column(ForeignKey("trajectories.id"))
    filter: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    parameters: Mapped[str] = mapped_column(String(1000))
    keep: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    evidence: Mapped[Any] = mapped_column(CompressedJson, nullable=False)
    judged: Mapped[datetime]


class ExportRow(Base):
    """A data set that was written: where, from what, by which recipe."""

    __tablename__ = "exports"
    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    format: Mapped[str] = mapped_column(String(40))
    recipe: Mapped[Any] = mapped_column(CompressedJson, nullable=False)
    rows: Mapped[int]
    written: Mapped[datetime]
