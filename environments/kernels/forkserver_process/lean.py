"""ipykernel's kernel without what the host has no use for: heartbeat, control channel, subshells, and their threads.

Requests are read and answered by the main thread, and whoever has output sends it himself.
"""

import _signal  # type: ignore[import-not-found]  # the public module's function costs as much as sending
import asyncio
import signal
import threading
from collections import deque
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any, Protocol

import zmq
from ipykernel.ipkernel import IPythonKernel
from tornado.ioloop import IOLoop
from traitlets import Any as AnyTrait

from environments.kernels.inside import let_signals_wake

HANDLED = {
    signal.SIGINT, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
}  # fmt: skip
"""Signals for which code may have a handler that raises."""


class Sender(Protocol):
    def send_multipart(self, parts: Sequence[bytes]) -> object: ...


class Nowhere:
    def send_multipart(self, parts: Sequence[bytes]) -> None:
        pass


class Outlet:
    """A socket to send by, for all threads. A message goes out whole, whatever signal comes to its thread meanwhile."""

    def __init__(self) -> None:
        self.socket: Sender = Nowhere()
        self._lock = threading.RLock()
        self._waiting: deque[Sequence[bytes]] = deque()
        self._busy = False

    def send_multipart(self, parts: Sequence[bytes], copy: bool = True) -> None:
        self._waiting.append(parts)
        before = _signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            with self._lock:
                # A handler that sends while its own thread is at it: that one sends this next.
                if not self._busy:
                    self._send_all()
        finally:
            _signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _send_all(self) -> None:
        self._busy = True
        try:
            while self._waiting:
                self.socket.send_multipart(self._waiting.popleft())
        finally:
            self._busy = False


class NoThread:
    """In place of the thread that would divide requests among subshells: the main thread has them all."""

    parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


class LeanKernel(IPythonKernel):
    """Hardly to be told from the stock one by the code that it runs."""

    __module__ = IPythonKernel.__module__
    __qualname__ = IPythonKernel.__qualname__

    _supports_kernel_subshells = False
    shell_stream = AnyTrait()
    io_loop = property(lambda self: IOLoop.current())

    def start(self) -> None:
        """Answer what comes, within the event loop that is about to run."""
        shell: Any = self.shell
        shell.exit_now = False
        let_signals_wake(self.io_loop)
        self._loop, self._context = asyncio.get_event_loop(), copy_context()
        self._answering = set[asyncio.Task[None]]()
        self._requests: zmq.Socket[bytes] = self.shell_stream.socket
        self._loop.add_reader(self._requests.fileno(), self._read)
        self._read()

    def _read(self) -> None:
        """zmq's descriptor tells of a change, once: all there is has to be taken."""
        while True:
            try:
                frames = self._requests.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            answering = self._loop.create_task(self._answer(frames), context=self._context)
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)

    async def _answer(self, frames: Any) -> None:
        await self.shell_main(None, frames)
        # Sending the reply may have been told of a change instead of us.
        self._read()
