"""Several processes on one run, budgets, what a trajectory came to, and what came of running it again."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SUMS = ("turns", "tokens_in", "tokens_out", "tokens_cache_read", "tokens_cache_write", "cost", "unpriced")

_INDEXED = ("run_id", "environment", "teacher", "stop", "assessed", "level", "errors", "attempt", "task_row")


def upgrade() -> None:
    _leases()
    _budgets()
    _trajectories()
    _judged()
    op.add_column("calls", sa.Column("lost", sa.Boolean(), nullable=True))


def _leases() -> None:
    """A lease lasts as long as its process: none is lost."""
    op.drop_table("leases")
    op.create_table(
        "leases",
        sa.Column("epoch", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column("beats", sa.Integer(), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renewed", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_leases_run_id")),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_leases")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_leases_run_id"), "leases", ["run_id"])


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("run_id", _ID, autoincrement=False, nullable=False),
        sa.Column("cap_usd", sa.BigInteger(), nullable=True),
        sa.Column("cap_tokens", sa.BigInteger(), nullable=True),
        sa.Column("settled_usd", sa.BigInteger(), nullable=False),
        sa.Column("settled_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reserved_usd", sa.BigInteger(), nullable=False),
        sa.Column("reserved_tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_budgets_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_budgets")),
    )
    op.create_table(
        "reservations",
        sa.Column("id", _ID, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("trajectory_id", _ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("usd", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("made", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_reservations_run_id")),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectories.id"], name=op.f("fk_reservations_trajectory_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservations")),
    )
    op.create_index(op.f("ix_reservations_run_id"), "reservations", ["run_id"])


def _trajectories() -> None:
    whole = sa.Integer()
    for name in ("epoch", *_SUMS):
        kind = whole if name in ("turns", "unpriced") else sa.BigInteger()
        op.add_column("trajectories", sa.Column(name, kind, nullable=True))
    op.add_column("trajectories", sa.Column("environment", sa.String(length=200), nullable=False, server_default=""))
    op.add_column("trajectories", sa.Column("assessed", whole, nullable=True))
    op.add_column("trajectories", sa.Column("level", sa.String(length=4), nullable=True))
    op.add_column("trajectories", sa.Column("errors", sa.String(length=200), nullable=True))
    of_its_task = "SELECT environment FROM tasks WHERE tasks.id = trajectories.task_row"
    op.execute(f"UPDATE trajectories SET environment = ({of_its_task})")  # noqa: S608 - our words
    bought = ", ".join(f"coalesce(sum({name}), 0)" for name in _SUMS[1:-1])
    sums = f"SELECT count(*), {bought}, count(*) - count(cost) FROM turns WHERE turns.trajectory_id = trajectories.id"  # noqa: S608
    op.execute(f"UPDATE trajectories SET ({', '.join(_SUMS)}) = ({sums}) WHERE stop IS NOT NULL")  # noqa: S608
    op.create_index("ix_trajectories_sums", "trajectories", [*_INDEXED, *_SUMS])


def _judged() -> None:
    op.create_table(
        "task_lists",
        sa.Column("run_id", _ID, autoincrement=False, nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=False),
        sa.Column("tasks", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_task_lists_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_task_lists")),
    )
    op.create_table(
        "verifications",
        sa.Column("trajectory_id", _ID, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("differences", sa.LargeBinary(), nullable=False),
        sa.Column("isolation", sa.String(length=40), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("verified", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["trajectory_id"], ["trajectories.id"], name=op.f("fk_verifications_trajectory_id")),
        sa.PrimaryKeyConstraint("trajectory_id", name=op.f("pk_verifications")),
    )
