"""The host's side of a forked kernel: its channel, to the kernel while it starts and to the server that forked it."""

import asyncio
import contextlib
import os
import signal
import socket

from environments.faults import KernelFault

LONGEST_MESSAGE = 1_000


class ServerGoneError(Exception):
    """The fork server ended before the kernel had begun."""


class ForkedProcess:
    """A kernel that a fork server is the parent of, with the face of the `Popen` that provisioners know."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._begun, self._ended = asyncio.Event(), asyncio.Event()
        self._lost = False
        self.pid = 0
        self.returncode: int | None = None

    async def born(self) -> int:
        """Its number, which is its group's too. It does nothing yet. Raises `ServerGoneError`."""
        message = ""
        with contextlib.suppress(ConnectionError):
            message = (await self._loop.sock_recv(self._channel, LONGEST_MESSAGE)).decode()
        if not message:
            raise ServerGoneError
        if not message.startswith("pid "):
            raise KernelFault(f"the fork server could not start a kernel: {message}.")
        self.pid = int(message.removeprefix("pid "))
        return self.pid

    async def begin(self, told: bytes) -> None:
        """Have it be what it is told, until its sockets are bound or it has ended. Raises `ServerGoneError`."""
        self._loop.add_reader(self._channel, self.poll)
        with contextlib.suppress(ConnectionError):
            await self._loop.sock_sendall(self._channel, told)
        await self._begun.wait()
        if self._lost:
            raise ServerGoneError

    async def ended(self) -> None:
        await self._ended.wait()

    def poll(self) -> int | None:
        """Its exit status, once it has ended. Until `close` no other process can have its number."""
        if self.returncode is None:
            with contextlib.suppress(BlockingIOError):
                self._hear(self._received())
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        """Let go of it; the server kills what is left. May be called again."""
        if self.returncode is None:
            self._hear("")
        self._channel.close()

    def _received(self) -> str:
        with contextlib.suppress(ConnectionError):
            return self._channel.recv(LONGEST_MESSAGE).decode()
        return ""

    def _hear(self, message: str) -> None:
        if message != "ready":
            # A server that is gone has taken its kernels with it, and told nobody.
            self._lost = not message
            self.returncode = -signal.SIGKILL if self._lost else int(message.removeprefix("exit "))
            self._loop.remove_reader(self._channel)
            self._ended.set()
        self._begun.set()
