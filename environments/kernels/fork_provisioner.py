"""Kernels forked by a server that has imported everything, in place of interpreters started one by one.

Above this an unmodified `AsyncKernelManager` launches, signals, awaits and kills; where no fork is to be
had, the kernel is started as its command says.
"""

import asyncio
import functools
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo

from environments.faults import KernelFault
from environments.kernels.forked import ForkedProcess, ServerGoneError
from environments.kernels.forkserver import ForkServer, ForkServers
from environments.kernels.provisioner import WardedProvisioner
from environments.kernels.warden import Warden

LAUNCHER = [sys.executable, "-m", "ipykernel_launcher"]

ATTEMPTS = 2
"""A server may be killed while a kernel starts; the next one is new."""


class ForkProvisioner(WardedProvisioner):
    """`preload` are the modules that the kernel should find imported, `preparation` what it needs to be a session of
    the host's; without it, it is an IPython kernel like any other.
    """

    def __init__(
        self,
        warden: Warden,
        servers: ForkServers,
        preload: Sequence[str],
        log_file: Path,
        preparation: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(warden, log_file, **kwargs)
        self._servers = servers
        self._preload = preload
        self._preparation = preparation
        self._folder = log_file.parent
        self._forked: ForkedProcess | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        self._forked = None
        for _ in range(ATTEMPTS if cmd[:3] == LAUNCHER else 0):
            server = self._servers.server(self._preload)
            if server is None:
                break
            try:
                await self._fork(server, cmd[3:], str(kwargs.get("cwd") or Path.cwd()), kwargs["env"])
            except ServerGoneError:
                await self._servers.lost(server)
            else:
                self.prepared = self._preparation is not None
                return self.connection_info
        if self._servers.isolated:
            raise KernelFault("no isolated kernel could be started: the fork server ended each time it was asked.")
        return await super().launch_kernel(cmd, **kwargs)

    async def _fork(self, server: ForkServer, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
        isolation = self._servers.isolation
        told = {
            "arguments": self._as_seen(arguments), "work": folder, "environment": environment,
            "folder": str(self._folder), "user": self._given_away(isolation.user()),
            "limits": asdict(isolation.limits), "preparation": self._preparation,
        }  # fmt: skip
        forked = self._asked(server)
        try:
            pid = await forked.born()
            # It waits to be told: what it does, it does under the warden's eyes, and within its control group.
            self._warden.watch(pid)
            self._forked = self.process = cast(Any, forked)
            self.pid = self.pgid = pid
            self.cwd = folder
            # Joining a group waits for the whole system; until the kernel has begun only code of ours runs in it.
            joined = asyncio.create_task(asyncio.to_thread(self._servers.confine, pid))
            try:
                await forked.begin(json.dumps(told).encode())
            finally:
                await asyncio.shield(joined)
        except BaseException:
            if self._forked is forked:
                await self.kill()
            forked.close()
            raise

    def _given_away(self, user: int) -> int:
        """The one that the kernel's folder belongs to from here on, with what the kernel is to find in it."""
        if user != os.geteuid():
            for path in (self._folder, self._folder / "connection.json"):
                os.chown(path, user, user)
        return user

    def _as_seen(self, arguments: list[str]) -> list[str]:
        """The same with the kernel's folder where it is seen from inside; the connection file likewise."""
        ours, seen = str(self._folder), str(self._servers.isolation.places(self._folder).folder)
        if seen != ours:
            file = self._folder / "connection.json"
            info = json.loads(file.read_text("utf-8"))
            file.write_text(json.dumps(info | {"ip": info["ip"].replace(ours, seen)}), "utf-8")
        return [argument.replace(ours, seen) for argument in arguments]

    def _asked(self, server: ForkServer) -> ForkedProcess:
        with self._log_file.open("wb") as log, Path(os.devnull).open("r+b") as nothing:
            return server.fork([nothing.fileno(), nothing.fileno(), log.fileno()])

    async def _reaped(self, interval: float) -> int | None:
        if self._forked is not None:
            await self._forked.ended()
        return await super()._reaped(interval)

    def _end_group(self) -> None:
        if self.pgid is not None:
            self._servers.release(self.pgid)
        super()._end_group()
        if self._forked is not None:
            self._forked.close()


class SharedForkProvisioner(ForkProvisioner):
    """For any Jupyter user's kernelspec: all kernels of a process share its servers, which end with it.

    `"metadata": {"kernel_provisioner": {"provisioner_name": "errata-fork", "config": {"preload": ["numpy"]}}}`
    """

    def __init__(self, preload: Sequence[str] = (), **kwargs: Any) -> None:
        warden, servers, folder = shared()
        super().__init__(warden, servers, preload, folder / f"{kwargs['kernel_id']}.log", **kwargs)


@functools.cache
def shared() -> tuple[Warden, ForkServers, Path]:
    folder = Path(tempfile.mkdtemp(prefix="errata-"))
    warden = Warden(folder)
    return warden, ForkServers(warden), folder
