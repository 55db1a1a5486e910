"""A cell's side of the conversation with its kernel: when it is over, and what it was."""

import asyncio
from collections.abc import Mapping
from typing import Any

from zmq import ZMQError

from environments.kernels.cell import CellOutput
from environments.kernels.wire import GARBLED, Heard


class Welcome:
    """A kernel's first message: it says that the subscription stands. What is published before it is lost."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(self, _: Heard) -> None:
        if not self.heard.done():
            self.heard.set_result(None)


class Exchange:
    """One request and all that comes of it: messages until the kernel is idle again, and the reply."""

    def __init__(self, request: str, output: CellOutput) -> None:
        self._request = request
        self.output = output
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
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

    def _take(self, heard: Heard, is_reply: bool) -> None:
        if isinstance(heard, Exception):
            raise heard
        # What a thread of an earlier cell printed since bears that cell's name: it is not this one's output.
        if heard["parent_header"].get("msg_id") != self._request:
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
