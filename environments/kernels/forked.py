"""The host's side of a forked kernel: its channel, to the kernel while it starts and to the server that forked it."""

import asyncio
import contextlib
import os
import signal
import socket
import struct

from environments.faults import KernelFault

LONGEST_MESSAGE = 1_000

CREDENTIALS = struct.Struct("3i")
"""Process, user, group."""


class ServerGoneError(Exception):
    """The fork server ended before the kernel had begun."""


class ForkedProcess:
    """A kernel that a fork server is the parent of, with the face of the `Popen` that provisioners know.

    Whatever comes by the channel has to bring its sender's credentials: `SO_PASSCRED` is set before it is passed on.
    """

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._begun, self._ended = asyncio.Event(), asyncio.Event()
        self._lost = False
        self._trouble = ""
        self.pid = 0
        self.returncode: int | None = None

    async def born(self) -> int:
        """Its number, which is its group's too. It does nothing yet. Raises `ServerGoneError`."""
        message, number = await self._first_word()
        if not message:
            raise ServerGoneError
        if message != "born" or number <= 0:
            raise KernelFault(f"the fork server could not start a kernel: {message}.")
        self.pid = number
        self._loop.add_reader(self._channel, self.poll)
        return self.pid

    async def begin(self, told: bytes) -> None:
        """Have it be what it is told, until its sockets are bound or it has ended. Raises `ServerGoneError`."""
        with contextlib.suppress(ConnectionError):
            await self._loop.sock_sendall(self._channel, told)
        await self._begun.wait()
        if self._lost:
            raise ServerGoneError
        if self._trouble:
            raise KernelFault(f"a kernel could not be started: {self._trouble}.")

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

    async def _first_word(self) -> tuple[str, int]:
        """With its speaker's number, as the system says it: a kernel may know itself by another."""
        readable = asyncio.Event()
        self._loop.add_reader(self._channel, readable.set)
        try:
            await readable.wait()
        finally:
            self._loop.remove_reader(self._channel)
        try:
            message, credentials, *_ = self._channel.recvmsg(LONGEST_MESSAGE, socket.CMSG_SPACE(CREDENTIALS.size))
        except ConnectionError:
            return "", 0
        numbers = [CREDENTIALS.unpack(data)[0] for _, kind, data in credentials if kind == socket.SCM_CREDENTIALS]
        return message.decode(), numbers[0] if numbers else 0

    def _received(self) -> str:
        with contextlib.suppress(ConnectionError):
            return self._channel.recv(LONGEST_MESSAGE).decode()
        return ""

    def _hear(self, message: str) -> None:
        if message not in ("", "ready") and not message.startswith("exit "):
            self._trouble = message
            return  # its end is told next
        if message != "ready":
            # A server that is gone has taken its kernels with it, and told nobody.
            self._lost = not message
            self.returncode = -signal.SIGKILL if self._lost else int(message.removeprefix("exit "))
            self._loop.remove_reader(self._channel)
            self._ended.set()
        self._begun.set()
