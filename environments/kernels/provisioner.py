"""How a kernel comes to life as a process of this machine: in its own group, known to the warden.

This is the seam for other ways to start one. A provisioner is handed to an unmodified
`AsyncKernelManager`, which asks it to launch, signal, wait and kill; nothing above knows which it is.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from environments.kernels.warden import Warden

REAP = 0.005
POLL = 0.1


class WardedProvisioner(LocalProvisioner):
    """A child process in a session of its own. When it ends, by itself or killed, its whole group ends with it."""

    prepared = False
    """Whether what it launched is the session that the host expects, or has still to be made one."""

    def __init__(self, warden: Warden, log_file: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._warden = warden
        self._log_file = log_file

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        # Nothing is awaited between the process's birth and the warden's knowing of it: no cancellation can fall there.
        with self._log_file.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": log}
            info = await super().launch_kernel(cmd, **kwargs | streams)
        assert self.pgid is not None
        self._warden.watch(self.pgid)
        return info

    async def poll(self) -> int | None:
        if self.process is None:
            return 0
        status: int | None = self.process.poll()
        if status is not None:
            self._end_group()
        return status

    async def wait(self) -> int | None:
        return await self._reaped(POLL)

    def kill_now(self) -> None:
        """Without a wait for its end."""
        self._signal_group(signal.SIGKILL)

    async def kill(self, restart: bool = False) -> None:
        self.kill_now()
        await self._reaped(REAP)

    async def terminate(self, restart: bool = False) -> None:
        await self.kill(restart)

    async def _reaped(self, interval: float) -> int | None:
        # Asked for again and again: nothing that tells of a child's end by itself is there on every platform.
        while (status := await self.poll()) is None:  # noqa: ASYNC110
            await asyncio.sleep(interval)
        return status

    def _end_group(self) -> None:
        """Once: after it the group's number may belong to another."""
        self._signal_group(signal.SIGKILL)
        if self.pgid is not None:
            self._warden.forget(self.pgid)
            self.pgid = None

    def _signal_group(self, number: int) -> None:
        if self.pgid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pgid, number)
