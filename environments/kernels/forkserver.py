"""The host's side of the fork servers: processes that have imported what kernels need, and fork them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from environments.faults import KernelFault
from environments.kernels.cgroups import Cgroups
from environments.kernels.environment import common_environment
from environments.kernels.forked import ForkedProcess, ServerGoneError
from environments.kernels.isolation import Isolation
from environments.kernels.warden import Warden

PROGRAM = "environments.kernels.forkserver_process"
PROJECT = Path(__file__).resolve().parents[2]

MOST = 4
"""Servers with a preload of their own; whoever comes with a further one gets a bare server's kernels."""

WITHOUT = Isolation("none")

FAREWELL = 10.0
"""Seconds a server may take to end."""

logger = logging.getLogger(__name__)


class ForkServers:
    """A server for each set of modules, started when first asked for, and anew when one has been killed."""

    def __init__(self, warden: Warden, isolation: Isolation = WITHOUT) -> None:
        """Raises `OSError` where kernels' control groups cannot be had."""
        self._warden = warden
        self.isolation = isolation
        self._cgroups: Cgroups | None = None
        if isolation.has_cgroups:
            self._cgroups = Cgroups(warden.folder.name, isolation.limits)
            for folder in self._cgroups.folders:
                warden.sweep(folder)
        self._servers: dict[tuple[str, ...], ForkServer] = {}
        self._useless: set[tuple[str, ...]] = set()
        self._last_words = "a fork is safe on Linux only"
        if sys.platform != "linux":
            logger.info("Kernels start without a fork server: a fork is safe on Linux only.")

    @property
    def isolated(self) -> bool:
        """A kernel that is not forked behind its walls is then none at all."""
        return self.isolation.level != WITHOUT.level

    def server(self, preload: Sequence[str]) -> ForkServer | None:
        """None where kernels must be started otherwise. Raises `KernelFault` where that would be without isolation."""
        wanted = tuple(sorted(set(preload)))
        if wanted not in self._servers and len(self._servers) >= MOST:
            wanted = ()
        if self.isolated and wanted in self._useless:
            wanted = ()
        if sys.platform != "linux" or wanted in self._useless:
            if self.isolated:
                raise KernelFault(f"no isolated kernel can be started: {self._last_words}.")
            return None
        if wanted not in self._servers:
            self._servers[wanted] = ForkServer(wanted, self._warden, self.isolation.level)
        return self._servers[wanted]

    def confine(self, pid: int) -> None:
        if self._cgroups is not None:
            self._cgroups.confine(pid)

    def release(self, pid: int) -> None:
        if self._cgroups is not None:
            self._cgroups.release(pid)

    async def lost(self, server: ForkServer) -> None:
        """The server is gone. One that ended by itself would do so again: it is not started any more."""
        status = await server.close()
        if self._servers.get(server.preload) is server:
            del self._servers[server.preload]
            if status >= 0:
                self._useless.add(server.preload)
                self._last_words = server.last_words
                logger.warning("Kernels start without a fork server, and slowly: %s", server.last_words)

    async def close(self) -> None:
        """Ends all servers, and any kernels of theirs that are left."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))
        if self._cgroups is not None:
            self._cgroups.close()


class ForkServer:
    """One server process. It is asked at once; what it still has to import only delays its answers."""

    def __init__(self, preload: tuple[str, ...], warden: Warden, level: str) -> None:
        self.preload = preload
        self._warden = warden
        self._level = level
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if level != WITHOUT.level:
            (warden.folder / "world").mkdir(exist_ok=True)
        with theirs:
            self._process = self._start(theirs.fileno())
        self.last_words = "it ended without a word"
        try:
            warden.watch(self._process.pid)
        except KernelFault:
            self._process.kill()
            self._forget()
            raise

    def _start(self, descriptor: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own file
            [sys.executable, "-m", PROGRAM, str(descriptor), self._level, self._warden.folder, *self.preload],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=PROJECT,
            # What is imported may look for its files; it is to find none of the user's.
            env=common_environment(os.environ) | {"HOME": os.devnull},
            start_new_session=True,
        )

    def fork(self, streams: Sequence[int]) -> ForkedProcess:
        """Ask for a process with these as its stdin, stdout and stderr. Raises `ServerGoneError`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs:
            try:
                socket.send_fds(self._requests, [b"k"], [theirs.fileno(), *streams])
            except OSError as error:
                ours.close()
                raise ServerGoneError from error
        return ForkedProcess(ours)

    async def close(self) -> int:
        """End it with all its kernels. Its exit status. May be called again."""
        self._requests.close()
        try:
            await asyncio.to_thread(self._process.wait, FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return self._forget()

    def _forget(self) -> int:
        self._requests.close()
        status = self._process.wait()
        self._warden.forget(self._process.pid)
        if not self._log.closed:
            with self._log:
                self._log.seek(0)
                lines = self._log.read().decode(errors="replace").split("\n")
            self.last_words = next(filter(None, reversed(lines)), self.last_words)
        return status
