"""One IPython kernel: its process through `AsyncKernelManager`, its conversation through `AsyncKernelClient`.

Imported when the first kernel starts, for jupyter_client is slow to import.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from environments.faults import KernelFault
from environments.kernels.calls import question
from environments.kernels.cell import CellOutput
from environments.kernels.exchange import Exchange, Welcome
from environments.kernels.isolation import Places
from environments.kernels.provisioner import WardedProvisioner
from environments.kernels.removal import remove_tree
from environments.kernels.wire import Ear, Heard, WireSession
from environments.tools import Function
from environments.types import ToolCall

Ending: TypeAlias = Literal["done", "timed_out", "died"]

NO_FUNCTIONS: Mapping[str, Function] = {}
GRACE = 2.0
"""Seconds an interrupted cell has to end, and to show where it was."""
DRAIN = 0.1
"""Seconds of silence after which a dead kernel has said all it had to say."""
OUT_OF_TURN = "the host is not free: functions are called one at a time, and by the cell that runs"
END_OF_INPUT = "\x04"
"""What the kernel turns into EOFError."""

SPEC = KernelSpec(
    argv=[
        sys.executable,
        "-m",
        "ipykernel_launcher",
        "-f",
        "{connection_file}",
        "--HistoryManager.enabled=False",
        "--InteractiveShell.colors=nocolor",
    ],
    display_name="Errata",
    language="python",
)

PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5}
"""Ends of file names, which jupyter_client would otherwise look for one by one."""

logger = logging.getLogger(__name__)
# What goes wrong is raised, too: without a handler of the user's nothing is to be printed.
logger.addHandler(logging.NullHandler())


class _OneSpec(KernelSpecManager):
    """Whatever kernels the user has installed, ours is the one."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return SPEC


class _Manager(AsyncKernelManager):
    """The stock one, with a connection less: what it would ask by its control socket, we say by signals."""

    def _connect_control_socket(self) -> None:
        pass


SPECS = _OneSpec()


class Kernel:
    """A kernel and its folder, which holds its sockets. Started once, closed once."""

    def __init__(
        self,
        folder: Path,
        places: Places,
        environment: Mapping[str, str],
        context: zmq.asyncio.Context,
        provision: Callable[..., WardedProvisioner],
    ) -> None:
        self._folder = folder
        self._places = places
        self._environment = {**environment, **places.environment()}
        self._log_file = folder / "log"
        session = WireSession(key=secrets.token_hex().encode(), check_pid=False)
        # Both paths absolute: the stock relative one would be one and the same for every kernel.
        shared: dict[str, Any] = {
            "context": context, "session": session, "log": logger, "transport": "ipc", "ip": str(folder / "c"),
            "connection_file": str(folder / "connection.json"), **PORTS,
        }  # fmt: skip
        self._manager = _Manager(kernel_id=folder.name, kernel_spec_manager=SPECS, **shared)
        self._provisioner = provision(
            log_file=self._log_file, kernel_id=folder.name, kernel_spec=SPEC, parent=self._manager
        )
        self._manager.provisioner = self._provisioner
        self._client = AsyncKernelClient(
            shell_channel_class=Ear, iopub_channel_class=Ear, stdin_channel_class=Ear, **shared
        )
        self._channels: list[Ear] = []
        self._death: asyncio.Task[int | None] | None = None
        self._exchange: Exchange | None = None

    @property
    def prepared(self) -> bool:
        """Whether it has come to life as the session that the host expects, and not as any IPython kernel."""
        return self._provisioner.prepared

    async def start(self) -> None:
        """Until the kernel's output is sure to reach us. Raises `EOFError` when it ends before that."""
        for place in (self._folder, self._places.work, self._places.temporary, self._places.settings):
            if place.is_relative_to(self._folder):
                place.mkdir(mode=0o700)
        await self._manager.start_kernel(cwd=str(self._places.work), env=self._environment)
        self._death = asyncio.create_task(self._provisioner.wait())
        welcome = Welcome()
        self._listen(self._client.iopub_channel, welcome.hear)
        self._listen(self._client.shell_channel, lambda heard: self._hear(heard, is_reply=True))
        self._listen(self._client.stdin_channel, self._answer)
        await either(welcome.heard, self._death)
        if self._death.done():
            raise EOFError(f"its process ended at once, with status {self._death.result()}")
        self._client.iopub_channel.hears = self._hear

    @property
    def log(self) -> str:
        """The last line of what the process wrote to its stderr while it started."""
        with contextlib.suppress(OSError):
            return (self._log_file.read_text(errors="replace").strip().splitlines() or [""])[-1]
        return ""

    async def execute(
        self,
        code: str,
        output: CellOutput,
        *,
        limit: float | None,
        unseen: bool = False,
        functions: Mapping[str, Function] = NO_FUNCTIONS,
    ) -> Ending:
        """Run a cell for at most `limit` seconds. Unless it is `done`, the kernel is only good to be closed.

        Its clock stands still while one of the `functions` is carried out. Raises the fault of one that failed.
        """
        request = self._client.execute(
            code, silent=unseen, store_history=not unseen, allow_stdin=True, stop_on_error=False
        )
        self._exchange = exchange = Exchange(request, output, functions)
        try:
            ending = await self._ending(exchange, limit)
            if ending == "timed_out":
                await self._manager.interrupt_kernel()
                await self._ending(exchange, GRACE)
            return ending
        finally:
            self._exchange = None
            if exchange.calling is not None:
                exchange.calling.cancel()

    def kill(self) -> None:
        """Now, with all its children. It is still to be closed."""
        self._provisioner.kill_now()

    async def close(self) -> None:
        """Kill it, and remove its folder."""
        self.kill()
        await self._manager.shutdown_kernel(now=True)
        if self._death is not None:
            self._death.cancel()
            await asyncio.gather(self._death, return_exceptions=True)
        for channel in self._channels:
            channel.close()
        await self._remove_folder()

    def _listen(self, channel: Ear, hears: Callable[[Heard], object]) -> None:
        channel.listen(hears)
        self._channels.append(channel)

    def _hear(self, heard: Heard, *, is_reply: bool = False) -> None:
        if self._exchange is not None:
            self._exchange.hear(heard, is_reply=is_reply)

    def _answer(self, heard: Heard) -> None:
        """A plain `input()` gets EOFError: nobody is there to type."""
        exchange = self._exchange
        asked = None if isinstance(heard, Exception) else question(heard["content"])
        if asked is None:
            self._client.input(END_OF_INPUT)
        elif exchange is not None and not isinstance(heard, Exception) and exchange.asks(heard):
            exchange.call(asked, self._client.input)
        else:
            self._client.input(asked.answer(ToolCall(asked.function, asked.arguments, error=OUT_OF_TURN)))

    async def _ending(self, exchange: Exchange, limit: float | None) -> Ending:
        assert self._death is not None
        began = time.monotonic() - exchange.waited
        while not (exchange.over.done() or self._death.done()):
            left = None if limit is None or exchange.calling else began + exchange.waited + limit - time.monotonic()
            if left is not None and left <= 0:
                break
            await either(exchange.over, self._death, exchange.turned, seconds=left)
        if self._death.done():
            await self._drain(exchange)
        if exchange.fault is not None:
            raise exchange.fault
        if exchange.broken is not None:
            raise KernelFault(f"the connection to a kernel broke: {exchange.broken}") from exchange.broken
        if exchange.over.done():
            return "died" if exchange.output.left or exchange.garbled else "done"
        return "died" if self._death.done() else "timed_out"

    async def _drain(self, exchange: Exchange) -> None:
        """Take what a kernel had sent before it died."""
        taken = -1
        while not exchange.over.done() and taken != exchange.output.taken:
            taken = exchange.output.taken
            await asyncio.wait({exchange.over}, timeout=DRAIN)

    async def _remove_folder(self) -> None:
        """In a thread only when there is anything in it that could take its time."""
        with contextlib.suppress(OSError):
            self._log_file.unlink(missing_ok=True)
            for place in (self._places.work, self._places.temporary, self._places.settings, self._folder):
                if place.is_relative_to(self._folder):
                    place.rmdir()
            return
        await asyncio.to_thread(remove_tree, self._folder)


async def either(*futures: asyncio.Future[Any], seconds: float | None = None) -> None:
    await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
