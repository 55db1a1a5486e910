"""Who works on a run, and on which of its trajectories: several processes may, each on its own.

A process holds a lease while it works; the lease's epoch stands at every trajectory that it has claimed, and
every write to one asks whether it still does. So whoever was thought dead and was not can write nothing into
what others have taken up. A dead process on this host is known to be dead; one on another host is when its
lease has not been renewed for a minute of this host's own time: two clocks are never compared.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, RowMapping, delete, select, update

from environments.faults import ErrataError
from store.inserts import insert_one
from store.schema import LeaseRow
from store.store import Store

NOBODY = 0
"""No lease's epoch."""

_RENEW_SECONDS = 15.0
_SILENT_SECONDS = 60.0
_clock = time.monotonic


class LeaseLost(ErrataError):
    """Another process has taken a trajectory up: this one was thought dead."""

    def __init__(self, trajectory_id: int) -> None:
        super().__init__(f"trajectory {trajectory_id} was taken up by another process.")


@dataclass(slots=True)
class Lease:
    """A process's share in a run."""

    run_id: int
    epoch: int
    _heard: dict[int, tuple[int, float, float]] = field(default_factory=dict)
    """Of processes on other hosts, by epoch: the last beat seen, the seconds without one, and when it was looked."""

    def living(self, connection: Connection) -> set[int]:
        """The epochs of the run's processes that are not known to be dead; the leases of those that are end here."""
        rows = connection.execute(select(LeaseRow.__table__).where(LeaseRow.run_id == self.run_id)).mappings().all()
        dead = {row["epoch"] for row in rows if not self.lives(row)}
        if dead:
            connection.execute(delete(LeaseRow).where(LeaseRow.epoch.in_(dead)))
        return {row["epoch"] for row in rows} - dead

    def lives(self, row: RowMapping) -> bool:
        if row["epoch"] == self.epoch:
            return True
        host, pid, started = row["owner"].split("/")
        if host == _host():
            return bool(_started(int(pid)) == started)
        now = _clock()
        beats, silent, looked = self._heard.get(row["epoch"], (-1, 0.0, now))
        # Between two looks that lie far apart the store itself may have been away, and nobody could be heard.
        silent = silent + min(now - looked, _RENEW_SECONDS) if row["beats"] == beats else 0.0
        self._heard[row["epoch"]] = (row["beats"], silent, now)
        return silent < _SILENT_SECONDS

    def keep(self, connection: Connection) -> None:
        """Renew it. One that others thought dead comes back: what they have not taken up is its own still."""
        mine = update(LeaseRow).where(LeaseRow.epoch == self.epoch)
        beaten = connection.execute(mine.values(beats=LeaseRow.beats + 1, renewed=datetime.now(UTC)))
        if not beaten.rowcount:
            insert_one(connection, LeaseRow, epoch=self.epoch, **_values(self.run_id))


@asynccontextmanager
async def leased(
    store: Store, run_id: int, first: Callable[[Connection, Lease], None] | None = None
) -> AsyncIterator[Lease]:
    """A lease on the run for as long as the block lasts. `first` is done in the transaction that begins it."""
    lease = Lease(run_id, NOBODY)

    def take(connection: Connection) -> int:
        if first:
            first(connection, lease)
        return insert_one(connection, LeaseRow, **_values(run_id))

    lease.epoch = await store.write(take)
    keeper = asyncio.create_task(_keep(store, lease), name="lease")
    try:
        yield lease
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        with suppress(ErrataError):  # A store that broke is what the block itself has raised.
            await store.write(
                lambda connection: connection.execute(delete(LeaseRow).where(LeaseRow.epoch == lease.epoch))
            )


async def _keep(store: Store, lease: Lease) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        await store.write(lease.keep)


def _values(run_id: int) -> dict[str, object]:
    now = datetime.now(UTC)
    return {"run_id": run_id, "owner": _me(), "beats": 0, "started": now, "renewed": now}


def _host() -> str:
    """With what its processes are counted in: machines and containers that are named alike are several."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        counted = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}~{boot}~{counted}"


def _me() -> str:
    return f"{_host()}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process started, so that a pid used again is not taken for the process that had it; '' if it is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _exists(pid)
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> str:
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
