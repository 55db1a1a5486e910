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
from environments.kernels.forked import ForkedProcess, ServerGoneError
from environments.kernels.provisioner import common_environment
from environments.kernels.warden import Warden

PROCESS = Path(__file__).with_name("forkserver_process.py")

MOST = 4
"""Servers with a preload of their own; whoever comes with a further one gets a bare server's kernels."""

FAREWELL = 10.0
"""Seconds a server may take to end."""

logger = logging.getLogger(__name__)


class ForkServers:
    """A server for each set of modules, started when first asked for, and anew when one has been killed."""

    def __init__(self, warden: Warden) -> None:
        self._warden = warden
        self._servers: dict[tuple[str, ...], ForkServer] = {}
        self._useless: set[tuple[str, ...]] = set()
        if sys.platform != "linux":
            logger.info("Kernels start without a fork server: a fork is safe on Linux only.")

    def server(self, preload: Sequence[str]) -> ForkServer | None:
        """None where kernels must be started otherwise."""
        wanted = tuple(sorted(set(preload)))
        if wanted not in self._servers and len(self._servers) >= MOST:
            wanted = ()
        if sys.platform != "linux" or wanted in self._useless:
            return None
        if wanted not in self._servers:
            self._servers[wanted] = ForkServer(wanted, self._warden)
        return self._servers[wanted]

    async def lost(self, server: ForkServer) -> None:
        """The server is gone. One that ended by itself would do so again: it is not started any more."""
        status = await server.close()
        if self._servers.get(server.preload) is server:
            del self._servers[server.preload]
            if status >= 0:
                self._useless.add(server.preload)
                logger.warning("Kernels start without a fork server, and slowly: %s", server.last_words)

    async def close(self) -> None:
        """Ends all servers, and any kernels of theirs that are left."""
        await asyncio.gather(*(server.close() for server in self._servers.values()))


class ForkServer:
    """One server process. It is asked at once; what it still has to import only delays its answers."""

    def __init__(self, preload: tuple[str, ...], warden: Warden) -> None:
        self.preload = preload
        self._warden = warden
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
            [sys.executable, PROCESS, str(descriptor), *self.preload],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd="/",
            # What is imported may look for its files; it is to find none of the user's.
            env=common_environment(os.environ) | {"HOME": os.devnull},
            start_new_session=True,
        )

    def fork(self, streams: Sequence[int]) -> ForkedProcess:
        """Ask for a process with these as its stdin, stdout and stderr. Raises `ServerGoneError`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
