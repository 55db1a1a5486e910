"""One trajectory's Python session, always there: after a timeout or a death the next cell meets a fresh kernel."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from environments.faults import KernelFault
from environments.kernels.cell import CellOutput
from environments.types import CellResult, clean

if TYPE_CHECKING:
    from environments.kernels.kernel import Kernel


class KernelSession:
    """Runs one cell at a time. Made by `KernelHost.session`.

    After a `run` that timed out or died its session is gone, and the next cell meets a fresh one.
    """

    def __init__(self, launch: Callable[[], Awaitable[Kernel]], *, cell_timeout: float, output_limit: int) -> None:
        self._launch = launch
        self._cell_timeout = cell_timeout
        self._output_limit = output_limit
        self._kernel: Kernel | None = None
        self.closed = False

    async def start(self) -> None:
        """Have a fresh kernel ready, set up. Raises `KernelFault`."""
        if self.closed:
            raise KernelFault("the kernel session is closed; open another.")
        if self._kernel is None:
            self._kernel = await self._launch()

    async def run(self, code: str, timeout: float | None = None) -> CellResult:  # noqa: ASYNC109  # the cell is told, too
        """Run a cell for at most `timeout` seconds, or the host's. Raises `KernelFault`: what the code does is data."""
        await self.start()
        assert self._kernel is not None
        output, started = CellOutput(self._output_limit), time.monotonic()
        try:
            limit = self._cell_timeout if timeout is None else timeout
            ending = await self._kernel.execute(clean(code), output, limit=limit)
        except BaseException:
            # Also when we are cancelled: the cell may be running still, and nobody would hear of it.
            await self._discard()
            raise
        seconds = time.monotonic() - started
        if ending != "done":
            await self._discard()
        return output.result(seconds, timed_out=ending == "timed_out", died=ending == "died")

    async def close(self) -> None:
        """Kills the kernel and all it has started. May be called again."""
        self.closed = True
        await self._discard()

    async def _discard(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            await kernel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
