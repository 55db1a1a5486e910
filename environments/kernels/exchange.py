"""A cell's side of the conversation with its kernel: what it asks of the host, when it is over, and what it was."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from zmq import ZMQError

from environments.faults import InfrastructureFault
from environments.kernels.calls import Calls, Question
from environments.kernels.cell import CellOutput
from environments.kernels.wire import GARBLED, Heard, Message
from environments.tools import Function


class Welcome:
    """A kernel's first message: it says that the subscription stands. What is published before it is lost."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(self, _: Heard) -> None:
        if not self.heard.done():
            self.heard.set_result(None)


class Exchange:
    """One request and all that comes of it: messages until the kernel is idle again, and the reply."""

    def __init__(self, request: str, output: CellOutput, functions: Mapping[str, Function]) -> None:
        self._request = request
        self._calls = Calls(functions)
        self.output = output
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.turned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """When a call begins or ends next."""
        self.calling: asyncio.Task[None] | None = None
        self.waited = 0.0
        """Seconds for which the cell has waited for the host."""
        self.fault: InfrastructureFault | None = None
        self.garbled = False
        """What came was no message of Jupyter's: the code has laid hands on the kernel."""
        self.broken: ZMQError | None = None
        self._reply: Mapping[str, Any] | None = None
        self._idle = False

    def hear(self, heard: Heard, *, is_reply: bool) -> None:
        if self.over.done():
            return
        try:
            self._take(heard, is_reply)
        except ZMQError as error:
            self._end(broken=error)
        except GARBLED:
            self._end(garbled=True)

    def asks(self, heard: Message) -> bool:
        """Whether a question is this cell's, and the host is free for it."""
        return self._is_mine(heard) and self.calling is None and not self.over.done()

    def call(self, asked: Question, answer: Callable[[str], object]) -> None:
        self.calling = asyncio.create_task(self._carry_out(asked, answer))
        self._turn()

    async def _carry_out(self, asked: Question, answer: Callable[[str], object]) -> None:
        began = time.monotonic()
        try:
            call = await self._calls.carry_out(asked)
        except InfrastructureFault as fault:
            self.fault = fault
        else:
            self.output.calls.append(call)
            answer(asked.answer(call))
        self.waited += time.monotonic() - began
        self.calling = None
        self._turn()
        if self.fault and not self.over.done():
            self._end()

    def _turn(self) -> None:
        self.turned.set_result(None)
        self.turned = asyncio.get_running_loop().create_future()

    def _is_mine(self, heard: Message) -> bool:
        """What a thread of an earlier cell has sent since bears that cell's name."""
        parent = heard["parent_header"]
        return isinstance(parent, dict) and parent.get("msg_id") == self._request

    def _take(self, heard: Heard, is_reply: bool) -> None:
        if isinstance(heard, Exception):
            raise heard
        if not self._is_mine(heard):
            return
        kind, content = heard["msg_type"], heard["content"]
        if is_reply:
            self._reply = content
        else:
            self.output.take(kind, content)
            # A thread that the cell has left running may print on, after this and before the reply.
            self._idle |= (kind, content.get("execution_state")) == ("status", "idle")
        if self._idle and self._reply is not None:
            self.output.take_reply(self._reply)
            self._end()

    def _end(self, *, garbled: bool = False, broken: ZMQError | None = None) -> None:
        self.garbled, self.broken = garbled, broken
        self.over.set_result(None)
