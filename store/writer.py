"""One writer a process, many writes a transaction.

A write resolves after the COMMIT that holds it. Writes that arrive while one commit is under way share
the next, so throughput grows with concurrency while every reply is durable before its code runs. Each
write stands in a savepoint of its own: a bad one fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from environments.faults import ErrataError
from store.opening import explained

T = TypeVar("T")
Job = Callable[[Connection], T]

_MOST_JOBS = 256


@dataclass(slots=True)
class _Pending:
    job: Job[Any]
    done: asyncio.Future[Any]
    outcome: Any = None
    error: Exception | None = None


class Writer:
    """Entered once per process and store. After a commit that failed, every later write fails too."""

    def __init__(self, engine: AsyncEngine, address: str) -> None:
        self._engine = engine
        self._address = address
        self._queue: asyncio.Queue[_Pending | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._broken: ErrataError | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._work(), name="store writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put_nowait(None)
        if self._task:
            await self._task

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
            if self._broken:
                raise self._broken
            with explained(self._address):
                async with self._engine.begin() as connection:
                    await connection.run_sync(_apply, batch)
        except ErrataError as error:
            self._broken = error
            for pending in batch:
                pending.error = error
        for pending in batch:
            _settle(pending)


def _apply(connection: Connection, batch: list[_Pending]) -> None:
    for pending in batch:
        try:
            with connection.begin_nested():
                pending.outcome = pending.job(connection)
        except (IntegrityError, DataError, ProgrammingError) as error:
            pending.error = error  # About this row alone; any other database error fails the transaction.
        except (ErrataError, ValueError, TypeError, LookupError) as error:
            pending.error = error


def _settle(pending: _Pending) -> None:
    if pending.done.cancelled():
        return
    if pending.error is not None:
        pending.done.set_exception(pending.error)
        pending.done.exception()  # A caller that was cancelled will never look: that is not a warning.
    else:
        pending.done.set_result(pending.outcome)
