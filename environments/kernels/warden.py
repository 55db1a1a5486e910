"""The host's side of the warden: a small process that outlives the host by the moment it takes to clean up."""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

from environments.faults import KernelFault
from environments.kernels.removal import remove_tree

PROCESS = Path(__file__).with_name("warden_process.py")

FAREWELL = 10.0
"""Seconds the warden may take to end what is left and remove the folder."""


class Warden:
    """Owns the folder from here on, and every process group it is told of."""

    def __init__(self, folder: Path) -> None:
        # In a session of its own: a terminal's Ctrl-C is the host's to handle, and must find the warden alive after it.
        self.folder = folder
        self._process = subprocess.Popen(  # noqa: S603  # our own file
            [sys.executable, "-I", "-S", PROCESS, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin

    def watch(self, group: int) -> None:
        """Raises `KernelFault` when the warden is gone: no kernel may run that nobody would end."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """To be told before the group's number can belong to another."""
        with contextlib.suppress(KernelFault):
            self._tell(f"-{group}\n")

    def sweep(self, cgroup: Path) -> None:
        """A folder of control groups, to be removed with them. Raises `KernelFault`."""
        self._tell(f"{cgroup}\n")

    async def close(self) -> None:
        await asyncio.to_thread(self.end)

    def end(self) -> None:
        """Ends what is left, removes the folder; removes it even where the warden has been killed before."""
        self._pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it goes on by itself
            self._process.wait(FAREWELL)
        remove_tree(self.folder)

    def _tell(self, line: str) -> None:
        try:
            os.write(self._pipe.fileno(), line.encode())
        except (OSError, ValueError) as error:
            raise KernelFault(f"the kernels' warden process has ended ({error}). Start the run again.") from error
