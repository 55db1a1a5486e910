"""One writer a process, many writes a transaction.

A write resolves after the COMMIT that holds it. Writes that arrive while one commit is under way share
the next, so throughput grows with concurrency while every reply is durable before its code runs. A bad
one fails alone: then its transaction is done again, with each write in a savepoint of its own.

All of it happens in one thread beside the event loop's; what asyncio's drivers do, a switch of threads
for each statement, costs several times as much as the statements.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from environments.faults import StoreFault
from store.opening import StoreBusy, explained

T = TypeVar("T")
Job = Callable[[Connection], T]

_IN_DOUBT = (OperationalError, InterfaceError, InternalError)
"""The disk, the file or the server has failed, and with it the whole transaction."""

_MOST_JOBS = 256
_PAUSE = 1.0
_LONGEST_WAIT = 300.0
"""Seconds that a lock or a lost server is waited for; nothing is bought meanwhile, for every reply waits here."""


@dataclass(slots=True)
class _Pending:
    job: Job[Any]
    done: asyncio.Future[Any]
    outcome: Any = None
    error: Exception | None = None


class Writer:
    """Entered once per process and store. After a commit that failed, every later write fails too."""

    def __init__(self, engine: Engine, address: str) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store writer")
        self._address = address
        self._queue: asyncio.Queue[_Pending | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._broken: StoreFault | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name="store writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put_nowait(None)
        if self._task:
            await self._task
        self._thread.shutdown()

    async def write(self, job: Job[T]) -> T:
        """Run `job` in the next transaction; its result once that is committed.

        A cancelled caller does not take its write back: what was queued is committed all the same.
        """
        if self._broken:
            raise self._broken
        pending = _Pending(job, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(pending)
        return cast(T, await asyncio.shield(pending.done))

    async def _work(self) -> None:
        while (first := await self._queue.get()) is not None:
            batch, last = self._gather(first)
            await self._commit(batch)
            if last:
                return

    def _gather(self, first: _Pending) -> tuple[list[_Pending], bool]:
        batch = [first]
        while len(batch) < _MOST_JOBS and not self._queue.empty():
            pending = self._queue.get_nowait()
            if pending is None:
                return batch, True
            batch.append(pending)
        return batch, False

    async def _commit(self, batch: list[_Pending]) -> None:
        try:
            await self._transact(batch)
        except Exception as error:  # noqa: BLE001 - whatever it was: nobody may wait for ever on a writer that died
            self._broken = error if isinstance(error, StoreFault) else StoreFault(f"the store failed: {error!r}.")
            for pending in batch:
                pending.error = self._broken
        for pending in batch:
            _settle(pending)

    async def _transact(self, batch: list[_Pending]) -> None:
        """Commit the batch, again and again while another process holds the store or a server is away."""
        if self._broken:
            raise self._broken

        async def commit() -> None:
            with explained(self._address):
                await asyncio.get_running_loop().run_in_executor(self._thread, _apply, self._engine, batch)

        await patiently(commit)


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again and again while another process holds the store or a server is away."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        try:
            return await work()
        except StoreBusy:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE)


def _apply(engine: Engine, batch: list[_Pending]) -> None:
    try:
        with engine.begin() as connection:
            for pending in batch:
                pending.outcome, pending.error = pending.job(connection), None
    except _IN_DOUBT:
        raise
    except Exception:  # noqa: BLE001 - one of them is bad, and found out below
        with engine.begin() as connection:
            for pending in batch:
                _apply_apart(connection, pending)


def _apply_apart(connection: Connection, pending: _Pending) -> None:
    pending.outcome = pending.error = None
    try:
        with connection.begin_nested():
            pending.outcome = pending.job(connection)
    except _IN_DOUBT:
        raise
    except Exception as error:  # noqa: BLE001 - about this row alone, and told to whoever wrote it
        pending.error = error


def _settle(pending: _Pending) -> None:
    if pending.done.cancelled():
        return
    if pending.error is not None:
        pending.done.set_exception(pending.error)
        pending.done.exception()  # A caller that was cancelled will never look: that is not a warning.
    else:
        pending.done.set_result(pending.outcome)
