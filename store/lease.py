"""Who works on a run. Two processes on one run would buy every reply twice, so the second is refused.

A lease has an epoch: whoever takes it over raises it, and the former holder notices at its next renewal.
A dead process on this host is known to be dead; one on another host is presumed so after a minute.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, select, update

from environments.faults import ErrataError
from store.log import insert_new
from store.schema import LeaseRow
from store.store import Store

_RENEW_SECONDS = 15.0
_EXPIRES = timedelta(seconds=60)


@asynccontextmanager
async def leased(store: Store, run_id: int, name: str) -> AsyncIterator[None]:
    """Hold the run for as long as the block lasts. Raises `ErrataError` when a living process holds it."""
    epoch = await store.write(lambda connection: _take(connection, run_id, name))
    worker = asyncio.current_task()
    keeper = asyncio.create_task(_keep(store, run_id, epoch, worker), name="lease")
    try:
        yield
    except asyncio.CancelledError as cancelled:
        if keeper.done() and keeper.result():
            raise ErrataError(f"run '{name}' was taken over by another process; this one has stopped.") from cancelled
        raise
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        with suppress(ErrataError):  # A store that broke is what the block itself has raised.
            await store.write(lambda connection: _change(connection, run_id, epoch, {"owner": None}))


def _take(connection: Connection, run_id: int, name: str) -> int:
    now = datetime.now(UTC)
    insert_new(connection, LeaseRow, [{"run_id": run_id, "owner": None, "epoch": 0, "renewed": now}])
    query = select(LeaseRow.owner, LeaseRow.epoch, LeaseRow.renewed).where(LeaseRow.run_id == run_id)
    lease = connection.execute(query).one()
    if lease.owner and _is_alive(lease.owner, lease.renewed, now):
        raise _Held(name, lease.owner)
    # Only from the epoch just read: of two processes that both find the run free, one gets it.
    if not _change(connection, run_id, lease.epoch, {"owner": _me(), "epoch": lease.epoch + 1}):
        raise _Held(name, "another process")
    return int(lease.epoch) + 1


class _Held(ErrataError):
    def __init__(self, name: str, owner: str) -> None:
        who = f"process {_pid(owner)} on {_host(owner)}" if "/" in owner else owner
        super().__init__(f"run '{name}' is being collected by {who}. Wait for it, end it, or give another --run name.")


def _change(connection: Connection, run_id: int, epoch: int, values: Mapping[str, object]) -> bool:
    """Write to the lease if it is still of this epoch."""
    mine = update(LeaseRow).where(LeaseRow.run_id == run_id, LeaseRow.epoch == epoch)
    return connection.execute(mine.values(renewed=datetime.now(UTC), **values)).rowcount == 1


async def _keep(store: Store, run_id: int, epoch: int, worker: asyncio.Task[object] | None) -> bool:
    """Renew until another process has the run; then stop the worker. True when that is why it ended."""
    while True:
        if not await store.write(lambda connection: _change(connection, run_id, epoch, {})):
            break
        await asyncio.sleep(_RENEW_SECONDS)
    if worker:
        worker.cancel()
    return True


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
