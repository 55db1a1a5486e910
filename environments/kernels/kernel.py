"""One IPython kernel: its process through `AsyncKernelManager`, its conversation through `AsyncKernelClient`.

Imported when the first kernel starts, for jupyter_client is slow to import.
"""

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from environments.faults import KernelFault
from environments.kernels.cell import CellOutput
from environments.kernels.environment import common_environment
from environments.kernels.isolation import Places
from environments.kernels.provisioner import WardedProvisioner
from environments.kernels.removal import remove_tree

Ending: TypeAlias = Literal["done", "timed_out", "died"]

GRACE = 2.0
"""Seconds an interrupted cell has to end, and to show where it was."""
DRAIN = 0.1
"""Seconds of silence after which a dead kernel has said all it had to say."""
GARBLED = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
"""What reading a message raises that is none of Jupyter's."""
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

logger = logging.getLogger(__name__)
# What goes wrong is raised, too: without a handler of the user's nothing is to be printed.
logger.addHandler(logging.NullHandler())


class _OneSpec(KernelSpecManager):
    """Whatever kernels the user has installed, ours is the one."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return SPEC


class Kernel:
    """A kernel and its folder, which holds its sockets. Started once, closed once."""

    def __init__(
        self, folder: Path, places: Places, context: zmq.asyncio.Context, provision: Callable[..., WardedProvisioner]
    ) -> None:
        self._folder = folder
        self._places = places
        self._log_file = folder / "log"
        self._manager = AsyncKernelManager(
            kernel_id=folder.name,
            kernel_spec_manager=_OneSpec(),
            context=context,
            transport="ipc",
            # Both absolute: the stock relative path would be one and the same for every kernel.
            ip=str(folder / "c"),
            connection_file=str(folder / "connection.json"),
            log=logger,
        )
        self._provisioner = provision(
            log_file=self._log_file, kernel_id=folder.name, kernel_spec=SPEC, parent=self._manager
        )
        self._manager.provisioner = self._provisioner
        self._client: AsyncKernelClient | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Until the kernel's output is sure to reach us. Raises `EOFError` when it ends before that."""
        for name in (".", "scratch", "tmp", "ipython"):
            (self._folder / name).mkdir(mode=0o700, exist_ok=True)
        environment = common_environment(os.environ) | self._places.environment()
        await self._manager.start_kernel(cwd=str(self._places.work), env=environment)
        self._death = self._task(self._provisioner.wait())
        self._client = self._manager.client(context=self._manager.context)
        self._client.start_channels(hb=False, control=False)
        # The first message says that the subscription stands; what is published before it is lost.
        welcome = self._task(self._client.get_iopub_msg())
        await asyncio.wait({welcome, self._death}, return_when=asyncio.FIRST_COMPLETED)
        if self._death.done():
            raise EOFError(f"its process ended at once, with status {self._death.result()}")
        self._task(self._refuse_input())

    @property
    def log(self) -> str:
        """The last line of what the process wrote to its stderr while it started."""
        with contextlib.suppress(OSError):
            return (self._log_file.read_text(errors="replace").strip().splitlines() or [""])[-1]
        return ""

    async def execute(self, code: str, output: CellOutput, *, limit: float | None, unseen: bool = False) -> Ending:
        """Run a cell for at most `limit` seconds. Unless it is `done`, the kernel is only good to be closed."""
        cell = asyncio.create_task(self._converse(code, output, unseen))
        try:
            ending = await self._ending(cell, output, limit)
            if ending == "timed_out":
                await self._manager.interrupt_kernel()
                await self._ending(cell, output, GRACE)
            return ending
        finally:
            cell.cancel()
            await asyncio.gather(cell, return_exceptions=True)

    async def close(self) -> None:
        """Kill it with all its children, and remove its folder."""
        await self._manager.shutdown_kernel(now=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            self._client.stop_channels()
        await asyncio.to_thread(remove_tree, self._folder)

    async def _converse(self, code: str, output: CellOutput, unseen: bool) -> None:
        """One request, its messages until the kernel is idle again, and the reply, which is sent before that."""
        assert self._client is not None
        request: str = self._client.execute(
            code, silent=unseen, store_history=not unseen, allow_stdin=True, stop_on_error=False
        )
        while not await self._heard_idle(request, output):
            pass
        while (reply := await self._client.get_shell_msg())["parent_header"].get("msg_id") != request:
            pass
        output.take_reply(reply["content"])

    async def _heard_idle(self, request: str, output: CellOutput) -> bool:
        assert self._client is not None
        message = await self._client.get_iopub_msg()
        # What a thread of an earlier cell printed since bears that cell's name: it is not this one's output.
        if message["parent_header"].get("msg_id") != request:
            return False
        output.take(message["msg_type"], message["content"])
        return (message["msg_type"], message["content"].get("execution_state")) == ("status", "idle")

    async def _ending(self, cell: asyncio.Task[None], output: CellOutput, limit: float | None) -> Ending:
        await asyncio.wait({cell, self._death}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if self._death.done():
            await self._drain(cell, output)
        if cell.done():
            return "died" if output.left or lost_its_tongue(cell) else "done"
        return "died" if self._death.done() else "timed_out"

    async def _drain(self, cell: asyncio.Task[None], output: CellOutput) -> None:
        """Take what a kernel had sent before it died."""
        taken = -1
        while not cell.done() and taken != output.taken:
            taken = output.taken
            await asyncio.wait({cell}, timeout=DRAIN)

    async def _refuse_input(self) -> None:
        """A plain `input()` gets EOFError: nobody is there to type."""
        assert self._client is not None
        while True:
            # The code can send what it likes, and is answered all the same.
            with contextlib.suppress(*GARBLED):
                await self._client.get_stdin_msg()
            self._client.input(END_OF_INPUT)

    def _task(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task


def lost_its_tongue(cell: asyncio.Task[None]) -> bool:
    """Whether a conversation ended in what is no message of Jupyter's: the code has laid hands on the kernel."""
    try:
        cell.result()
    except GARBLED:
        return True
    except zmq.ZMQError as error:
        raise KernelFault(f"the connection to a kernel broke: {error}") from error
    return False
