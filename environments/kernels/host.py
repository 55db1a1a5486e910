"""What all kernels of a run share: a private folder, a warden, a zmq context, and who starts and ends them."""

from __future__ import annotations

import asyncio
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from environments.faults import KernelFault, UsageError
from environments.kernels.cell import CellOutput
from environments.kernels.environment import common_environment
from environments.kernels.isolation import Isolation, choose_isolation
from environments.kernels.keeper import Keeper
from environments.kernels.limits import Limits
from environments.kernels.preparation import Preparation
from environments.kernels.session import KernelSession
from environments.kernels.warden import Warden
from environments.tools import Function, stubs

if TYPE_CHECKING:
    from environments.kernels.kernel import Kernel
    from environments.kernels.provisioner import WardedProvisioner

NO_FUNCTIONS: Mapping[str, Function] = {}

START_TIMEOUT = 60.0
"""Seconds a kernel may take to start and be set up; waiting for its turn is not counted."""

LONGEST_FOLDER = 80
"""Bytes: a Unix socket's path holds 104 on macOS, 108 on Linux, and `/123456/c-5` still has to follow."""

LONGEST_MESSAGE = 1 << 20
"""Bytes, besides a few texts of the output limit, each character escaped."""

MESSAGES_AHEAD = 100
"""Messages that may wait in the host's memory for each kernel; each is at most about the output limit long."""


class KernelHost:
    """Entered once per run, `async with`; once it is left, no process of any kernel and no file of theirs is left.

    `cell_timeout` is in seconds, `output_limit` in characters kept of each of stdout, stderr, value and traceback,
    `preload` names modules that all sessions find imported. `isolation` is a level, or None for the strongest
    there is. `fork=False` starts an interpreter for each kernel, as is done anyway where a fork is not safe;
    that is never isolated. Raises `UsageError`.
    """

    def __init__(
        self,
        isolation: str | None,
        *,
        limits: Limits | None = None,
        cell_timeout: float = 30.0,
        output_limit: int = 1_000_000,
        preload: Sequence[str] = (),
        fork: bool = True,
    ) -> None:
        self.isolation = choose_isolation(isolation)
        if not fork and self.isolation != "none":
            raise UsageError("isolated kernels are forked: isolation and fork=False do not go together.")
        self._confines = Isolation(self.isolation, limits or Limits())
        self._forks = fork
        self._cell_timeout = cell_timeout
        self._output_limit = output_limit
        self._preload = tuple(preload)
        self._numbers = itertools.count(1)
        self._sessions: list[KernelSession] = []
        self._leaving = AsyncExitStack()

    async def session(
        self,
        *,
        setup: str = "",
        preload: Sequence[str] = (),
        seed: int = 0,
        functions: Mapping[str, Function] = NO_FUNCTIONS,
    ) -> KernelSession:
        """A session whose kernel is on the way; its first cell waits for it.

        `preload` are modules to import (no name is bound), `setup` is code run unseen. Where one of them
        fails, the first cell's `run` raises `KernelFault`: that is never the teacher's doing. `functions`,
        by name, are found by its code, and carried out here (`environments/tools.py`).
        """
        modules = tuple(dict.fromkeys((*preload, *self._preload)))
        preparation = Preparation(self._output_limit, seed, modules, stubs(functions.values()))
        launch = partial(self._launch, preparation, setup)
        session = KernelSession(
            partial(self._keeper.start, launch),
            self._keeper.end,
            functions,
            cell_timeout=self._cell_timeout,
            output_limit=self._output_limit,
        )
        self._sessions = [*(other for other in self._sessions if not other.closed), session]
        return session

    async def _launch(self, preparation: Preparation, setup: str) -> Kernel:
        from environments.kernels.kernel import Kernel

        folder = self._root / str(next(self._numbers))
        places = self._confines.places(folder)
        kernel = Kernel(folder, places, self._environment, self._context, self._provision(preparation))
        async with ours(kernel):
            await kernel.start()
            if not kernel.prepared:
                await run_unseen(kernel, preparation.cell())
            if setup:
                await run_unseen(kernel, setup)
        return kernel

    def _provision(self, preparation: Preparation) -> Callable[..., WardedProvisioner]:
        from environments.kernels.fork_provisioner import ForkProvisioner
        from environments.kernels.provisioner import WardedProvisioner

        if not self._forks:
            return partial(WardedProvisioner, self._warden)
        return partial(
            ForkProvisioner, self._warden, self._servers, preparation.preload, preparation=preparation.told()
        )

    async def __aenter__(self) -> Self:
        import zmq.asyncio

        from environments.kernels.forkserver import ForkServers

        self._environment = common_environment(os.environ)
        self._root = private_folder()
        self._warden = Warden(self._root)
        self._leaving.push_async_callback(self._warden.close)
        self._servers = ForkServers(self._warden, self._confines)
        self._leaving.push_async_callback(self._servers.close)
        self._context = zmq.asyncio.Context()
        self._context.set(zmq.MAX_SOCKETS, 16 * 1024)
        self._context.rcvhwm = MESSAGES_AHEAD
        # Whoever sends more is cut off: the cell is never answered, and ends at its limit.
        self._context.maxmsgsize = LONGEST_MESSAGE + 40 * self._output_limit
        self._leaving.callback(self._context.destroy, linger=0)
        self._keeper = Keeper()
        self._leaving.push_async_callback(self._keeper.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._leaving:
            for session in self._sessions:
                await session.close()


def private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="errata-")).resolve()
    if len(os.fsencode(folder)) > LONGEST_FOLDER:
        folder.rmdir()
        raise UsageError(
            f"{folder.parent}: the temporary folder's path is too long to hold a kernel's sockets. "
            "Name a shorter one with TMPDIR, for instance TMPDIR=/tmp."
        )
    return folder


@asynccontextmanager
async def ours(kernel: Kernel) -> AsyncIterator[None]:
    """Whatever goes wrong in here is a fault of ours, and leaves no kernel behind."""
    try:
        async with asyncio.timeout(START_TIMEOUT):
            yield
    except BaseException as error:
        log = kernel.log
        await kernel.close()
        if isinstance(error, KernelFault) or not isinstance(error, Exception):
            raise
        what = f"took more than {START_TIMEOUT:.0f} s" if isinstance(error, TimeoutError) else f"failed: {error}"
        raise KernelFault(f"starting a kernel {what}. {log}".strip()) from error


async def run_unseen(kernel: Kernel, code: str) -> None:
    """Run code of ours. Raises `KernelFault` with its traceback unless it ends well."""
    output = CellOutput(limit=10_000)
    ending = await kernel.execute(code, output, limit=None, unseen=True)
    result = output.result(0.0, died=ending == "died")
    if result.failed:
        why = result.error.traceback if result.error else "the kernel died of it"
        raise KernelFault(f"preparing a kernel failed: {why}")
