"""One trajectory's Python session, always there: after a timeout or a death the next cell meets a fresh kernel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from environments.faults import KernelFault
from environments.kernels.cell import CellOutput
from environments.tools import Function
from environments.types import CellResult, clean

if TYPE_CHECKING:
    from environments.kernels.kernel import Kernel

Birth: TypeAlias = "asyncio.Task[Kernel]"
"""A kernel that is starting, or has started."""


class KernelSession:
    """Runs one cell at a time. Made by `KernelHost.session`, with its kernel on the way.

    After a `run` that timed out or died its session is gone, and the next cell meets a fresh one.
    """

    def __init__(
        self,
        start: Callable[[], Birth],
        end: Callable[[Birth], None],
        functions: Mapping[str, Function],
        *,
        cell_timeout: float,
        output_limit: int,
    ) -> None:
        self._start, self._end, self._functions = start, end, functions
        self._cell_timeout = cell_timeout
        self._output_limit = output_limit
        self._birth: Birth | None = start()
        self.closed = False

    async def run(self, code: str, timeout: float | None = None) -> CellResult:  # noqa: ASYNC109  # the cell is told, too
        """Run a cell for at most `timeout` seconds, or the host's.

        Raises `KernelFault`, or the fault of a function that failed: what the code does is data.
        """
        try:
            kernel = await self._kernel()
            output, started = CellOutput(self._output_limit), time.monotonic()
            limit = self._cell_timeout if timeout is None else timeout
            ending = await kernel.execute(clean(code), output, limit=limit, functions=self._functions)
        except BaseException:
            # Also when we are cancelled: the cell may be running still, and nobody would hear of it.
            self._discard()
            raise
        seconds = time.monotonic() - started - sum(call.seconds for call in output.calls)
        if ending != "done":
            self._discard()
            # The next is on its way while the teacher reads of it; where none can start, the next cell tells.
            if not self.closed:
                with suppress(KernelFault):
                    self._birth = self._start()
        return output.result(seconds, timed_out=ending == "timed_out", died=ending == "died")

    async def close(self) -> None:
        """Kills the kernel and all it has started; what it leaves is cleared away later. May be called again."""
        self.closed = True
        self._discard()

    async def _kernel(self) -> Kernel:
        if self.closed:
            raise KernelFault("the kernel session is closed; open another.")
        birth = self._birth = self._birth or self._start()
        if not birth.done():
            # A birth that was awaited itself would be cancelled with us, and could not be told from one cut short.
            await asyncio.wait({birth})
        if birth.cancelled():
            raise KernelFault("the kernel session was closed before its kernel had started.")
        if birth.exception() is not None:
            self._birth = None
        return birth.result()

    def _discard(self) -> None:
        birth, self._birth = self._birth, None
        if birth is not None:
            self._end(birth)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
