"""A process that answers one question at a time and can be killed: it bounds what a solution may cost.

Two causes are kept apart. A question that exhausts its CPU seconds or memory kills its worker: that is the
teacher's doing (`Exhausted`). A worker that does not come up, or that gets no CPU, is ours (`GraderFault`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from environments.faults import GraderFault
from environments.types import Json

WALL_SECONDS = 120.0
"""Far above a worker's own CPU limit: reached only when the machine gives it no time."""
_PASSED = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class Exhausted(Exception):
    """The question was too much: its worker ran out of CPU seconds or memory, or crashed."""


class Worker:
    """One process, started when first asked and started again after it was killed."""

    def __init__(self, script: Path, probe: Mapping[str, Json]) -> None:
        self._script = script
        self._probe = probe
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, question: Mapping[str, Json]) -> dict[str, Json]:
        if self._process is None or self._process.returncode is not None:
            await self._start()
        return await self._exchange(question)

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            # Not `process.kill()`: it reaps by itself, and asyncio then misses the exit status.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        await process.wait()

    async def _start(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", str(self._script), str(os.getpid()),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env=_environment(), start_new_session=True,
            )  # fmt: skip
            answer = await self._exchange(self._probe)
        except (OSError, Exhausted) as error:
            raise GraderFault(f"{self._script.name}: the grader's worker does not start: {error}") from error
        if answer.get("equal") is not True:
            await self.close()
            raise GraderFault(f"{self._script.name}: the grader's worker fails its own test: {answer}")

    async def _exchange(self, question: Mapping[str, Json]) -> dict[str, Json]:
        try:
            async with asyncio.timeout(WALL_SECONDS):
                line = await self._send(json.dumps(question))
        except TimeoutError as error:
            await self.close()
            raise GraderFault(
                f"{self._script.name}: no verdict within {WALL_SECONDS:g} s; is the machine full?"
            ) from error
        except BaseException:
            # A reply still on its way would answer the next question.
            await self.close()
            raise
        if not line.endswith(b"\n"):
            await self.close()
            raise Exhausted("the worker ended without a verdict")
        answer: dict[str, Json] = json.loads(line)
        return answer

    async def _send(self, line: str) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        # A worker that dies while it is written to is seen by the empty read.
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
        return await process.stdout.readline()


class Pool:
    """A few workers shared by every trajectory."""

    def __init__(self, script: Path, probe: Mapping[str, Json], size: int = 2) -> None:
        self._idle = [Worker(script, probe) for _ in range(size)]
        self._all = tuple(self._idle)
        self._free = asyncio.Semaphore(size)

    async def ask(self, question: Mapping[str, Json]) -> dict[str, Json]:
        async with self._lent() as worker:
            return await worker.ask(question)

    async def close(self) -> None:
        for worker in self._all:
            await worker.close()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Worker]:
        async with self._free:
            # Last in, first out: one worker suffices while no two questions meet.
            worker = self._idle.pop()
            try:
                yield worker
            finally:
                self._idle.append(worker)


def _environment() -> dict[str, str]:
    """No keys: only what Python needs to start, and a fixed hash seed for sympy's orderings."""
    return {name: os.environ[name] for name in _PASSED if name in os.environ} | {"PYTHONHASHSEED": "0"}
