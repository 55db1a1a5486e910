"""Who works on a run. Two processes on one run would buy every reply twice, so the second is refused.

A lease has an epoch: whoever takes it over raises it, and the former holder notices at its next renewal.
A dead process on this host is known to be dead; one on another host is presumed so after a minute.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select, update

from environments.faults import ErrataError
from store.schema import LeaseRow
from store.store import Store

_RENEW_SECONDS = 15.0
_EXPIRES = timedelta(seconds=60)


@asynccontextmanager
async def leased(store: Store, run_id: int, name: str) -> AsyncIterator[None]:
    """Hold the run for as long as the block lasts. Raises `ErrataError` when a living process holds it."""
    owner = _me()
    epoch = await store.write(lambda connection: _take(connection, run_id, name, owner))
    current = asyncio.current_task()
    keeper = asyncio.create_task(_keep(store, run_id, epoch, current), name="lease")
    try:
        yield
    except asyncio.CancelledError as cancelled:
        if keeper.done():
            raise ErrataError(f"run '{name}' was taken over by another process; this one has stopped.") from cancelled
        raise
    finally:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper
        mine = (LeaseRow.run_id == run_id, LeaseRow.epoch == epoch)
        await store.write(lambda connection: connection.execute(delete(LeaseRow).where(*mine)))


def _take(connection: Connection, run_id: int, name: str, owner: str) -> int:
    now = datetime.now(UTC)
    held = connection.execute(select(LeaseRow.owner, LeaseRow.epoch, LeaseRow.renewed).where(LeaseRow.run_id == run_id))
    lease = held.first()
    if lease is None:
        connection.execute(insert(LeaseRow).values(run_id=run_id, owner=owner, epoch=1, renewed=now))
        return 1
    if _is_alive(lease.owner, lease.renewed, now):
        raise ErrataError(
            f"run '{name}' is being collected by process {_pid(lease.owner)} on {_host(lease.owner)}. "
            "Wait for it, end it, or give this one another --run name."
        )
    taken = {"owner": owner, "epoch": lease.epoch + 1, "renewed": now}
    connection.execute(update(LeaseRow).where(LeaseRow.run_id == run_id).values(**taken))
    return int(lease.epoch) + 1


async def _keep(store: Store, run_id: int, epoch: int, worker: asyncio.Task[object] | None) -> None:
    def renew(connection: Connection) -> bool:
        mine = update(LeaseRow).where(LeaseRow.run_id == run_id, LeaseRow.epoch == epoch)
        return connection.execute(mine.values(renewed=datetime.now(UTC))).rowcount == 1

    while True:
        if not await store.write(renew):
            break
        await asyncio.sleep(_RENEW_SECONDS)
    if worker:
        worker.cancel()


def _me() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _host(owner: str) -> str:
    return owner.split("/")[0]


def _pid(owner: str) -> int:
    return int(owner.split("/")[1])


def _is_alive(owner: str, renewed: datetime, now: datetime) -> bool:
    if _host(owner) == socket.gethostname():
        return _started(_pid(owner)) == owner.split("/")[2]
    return now - renewed < _EXPIRES


def _started(pid: int) -> str:
    """When a process started, so that a pid used again is not taken for the process that had it; '' if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _exists(pid)
    return stat.rpartition(")")[2].split()[19]


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
