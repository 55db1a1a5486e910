"""What a run may spend: reserved at its worst before a call goes out, settled at what it came to.

One conditional UPDATE reserves, so that of all processes on a run together no more can be under way than the
cap allows; whatever is committed, settled and reserved are at most the cap. What an answer that never came may
have cost stays reserved for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import BigInteger, Connection, bindparam, delete, func, or_, select, update

from environments.faults import UsageError
from environments.types import Most, Reply
from store.columns import Dollars
from store.inserts import insert_new, insert_one
from store.lease import NOBODY, Lease
from store.schema import BudgetRow, ReservationRow, RunRow, TrajectoryRow, TurnRow
from store.store import Store


@dataclass(frozen=True, slots=True)
class Budget:
    """How a run's budget stands. `reserved` holds open calls, and those whose answers were lost."""

    cap_usd: Decimal | None
    cap_tokens: int | None
    settled_usd: Decimal
    settled_tokens: int
    reserved_usd: Decimal
    reserved_tokens: int


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a run may spend; None is no bound."""

    usd: Decimal | None = None
    tokens: int | None = None


def set_budget(connection: Connection, lease: Lease, caps: Caps) -> None:
    """Give the run a budget, or its budget another cap; None leaves a cap as it is.

    Done in the transaction that begins the lease, so that whoever is at the run then has the budget or never had one.
    What was spent before there was a budget counts. Raises `UsageError` where others are at the run without one.
    """
    connection.execute(select(RunRow.id).where(RunRow.id == lease.run_id).with_for_update())
    if connection.execute(select(BudgetRow.run_id).where(BudgetRow.run_id == lease.run_id)).first() is None:
        if lease.living(connection) - {lease.epoch}:
            raise UsageError(
                "other processes are at this run without a budget: stop them, and start them again with it."
            )
        insert_new(connection, BudgetRow, [{"run_id": lease.run_id, **_spent(connection, lease.run_id)}])
    given = {name: cap for name, cap in (("cap_usd", caps.usd), ("cap_tokens", caps.tokens)) if cap is not None}
    connection.execute(update(BudgetRow).where(BudgetRow.run_id == lease.run_id).values(**given))


async def find_budget(store: Store, run_id: int) -> Budget | None:
    """None for a run that was never given one."""
    columns = [getattr(BudgetRow, name) for name in Budget.__dataclass_fields__]
    rows = await store.read(select(*columns).where(BudgetRow.run_id == run_id))
    return Budget(**rows[0]) if rows else None


async def calls_are_out(store: Store, lease: Lease) -> bool:
    """Whether a living process, this one or another, has a call under way, and so may free some of the budget."""

    def job(connection: Connection) -> bool:
        of_the_living = ReservationRow.epoch.in_(lease.living(connection))
        query = select(ReservationRow.id).where(ReservationRow.run_id == lease.run_id, of_the_living)
        return connection.execute(query.limit(1)).first() is not None

    return await store.write(job)


def _spent(connection: Connection, run_id: int) -> dict[str, object]:
    spent = connection.execute(
        select(func.sum(TurnRow.cost), func.sum(TurnRow.tokens_in + TurnRow.tokens_out))
        .join(TrajectoryRow, TrajectoryRow.id == TurnRow.trajectory_id)
        .where(TrajectoryRow.run_id == run_id)
    ).one()
    return {
        "settled_usd": spent[0] or Decimal(0), "settled_tokens": int(spent[1] or 0),
        "reserved_usd": Decimal(0), "reserved_tokens": 0,
    }  # fmt: skip


# -- one call ------------------------------------------------------------------------------------

_RUN = BudgetRow.run_id == bindparam("run")
_USD, _TOKENS = bindparam("usd", type_=Dollars()), bindparam("tokens", type_=BigInteger())
_RESERVE = (
    update(BudgetRow)
    .where(
        _RUN,
        or_(BudgetRow.cap_usd.is_(None), BudgetRow.settled_usd + BudgetRow.reserved_usd + _USD <= BudgetRow.cap_usd),
        or_(
            BudgetRow.cap_tokens.is_(None),
            BudgetRow.settled_tokens + BudgetRow.reserved_tokens + _TOKENS <= BudgetRow.cap_tokens,
        ),
    )
    .values(reserved_usd=BudgetRow.reserved_usd + _USD, reserved_tokens=BudgetRow.reserved_tokens + _TOKENS)
)
_SETTLE = (
    update(BudgetRow)
    .where(_RUN)
    .values(
        reserved_usd=BudgetRow.reserved_usd - bindparam("usd_freed", type_=Dollars()),
        reserved_tokens=BudgetRow.reserved_tokens - bindparam("tokens_freed", type_=BigInteger()),
        settled_usd=BudgetRow.settled_usd + _USD,
        settled_tokens=BudgetRow.settled_tokens + _TOKENS,
    )
)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Held for one call."""

    id: int
    run_id: int
    usd: Decimal
    tokens: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, and for what."""

    run_id: int
    trajectory_id: int
    epoch: int


def reserve(connection: Connection, caller: Caller, turn: int, most: Most) -> Reservation | None:
    """None where it does not fit. A price that is not known counts as nothing: where dollars are capped it is refused
    before."""
    usd = most.dollars or Decimal(0)
    fits = connection.execute(_RESERVE, {"run": caller.run_id, "usd": usd, "tokens": most.tokens})
    if not fits.rowcount:
        return None
    values = {
        "run_id": caller.run_id, "trajectory_id": caller.trajectory_id, "epoch": caller.epoch, "position": turn,
        "usd": usd, "tokens": most.tokens, "made": datetime.now(UTC),
    }  # fmt: skip
    return Reservation(insert_one(connection, ReservationRow, **values), caller.run_id, usd, most.tokens)


def settle(connection: Connection, held: Reservation, reply: Reply | None) -> None:
    """What the call came to takes the reservation's place; nothing, where there was no reply and none was sold.

    Where the provider told no usage, the worst is taken for true."""
    usd, tokens = (Decimal(0), 0) if reply is None else (reply.cost, reply.usage.input + reply.usage.output)
    values = {
        "run": held.run_id, "usd_freed": held.usd, "tokens_freed": held.tokens,
        "usd": held.usd if usd is None else usd, "tokens": held.tokens if reply and not tokens else tokens,
    }  # fmt: skip
    # A transaction whose commit was in doubt is done again: what was settled then is not settled twice.
    if connection.execute(delete(ReservationRow).where(ReservationRow.id == held.id)).rowcount:
        connection.execute(_SETTLE, values)


def lose(connection: Connection, held: Reservation) -> None:
    """Nobody will ever know what the call came to: it stays held, as no living process's."""
    connection.execute(update(ReservationRow).where(ReservationRow.id == held.id).values(epoch=NOBODY))
