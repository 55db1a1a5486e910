"""How the host hears a kernel: each message is handed on as it comes, and read no further than anybody asks.

Both are stock classes with a few methods replaced, for an unmodified manager and client. The stock channel
makes ten futures of a message, and the stock session objects of all its dates: half of what a cell cost us.
"""

import asyncio
import contextlib
import hmac
import json
from collections.abc import Callable
from typing import Any, TypeAlias

import zmq
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.session import Session

Message: TypeAlias = dict[str, Any]
GARBLED = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
"""What reading a message raises that is none of Jupyter's."""

Heard: TypeAlias = Message | Exception
"""A message, or what was wrong with it: `ZMQError` with the connection, anything else with what came."""


class WireSession(Session):
    """Writes as any session, and reads what is of its own version of the protocol only."""

    def deserialize(self, msg_list: Any, content: bool = True, copy: bool = True) -> Message:
        """Raises `ValueError` or `KeyError` for what is no message of Jupyter's, or not signed with our key."""
        signature, header, parent, _, body = msg_list[:5]
        if not hmac.compare_digest(signature, self.sign(msg_list[1:5])):
            raise ValueError("invalid signature")
        return {
            "msg_type": json.loads(header)["msg_type"],
            "parent_header": json.loads(parent),
            "content": json.loads(body),
        }


class Ear(AsyncZMQSocketChannel):
    """Calls somebody with each message, one in a turn of the event loop, so that a flood leaves turns to others."""

    def listen(self, hears: Callable[[Heard], object]) -> None:
        assert self.socket is not None
        self.hears = hears
        self._plain: zmq.Socket[bytes] = zmq.Socket.shadow(self.socket.underlying)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._plain.fileno(), self._read)
        self._read()

    def send(self, msg: Message) -> None:
        # A kernel that has a thousand messages waiting, and reads none, gets no more: we do not wait for it.
        with contextlib.suppress(zmq.Again):
            self._plain.send_multipart(self.session.serialize(msg), zmq.NOBLOCK)
        # zmq's descriptor tells of a change, once; sending may have been told instead of us.
        self._loop.call_soon(self._read)

    def close(self) -> None:
        if self.socket is not None:
            self._loop.remove_reader(self._plain.fileno())
        super().close()

    def _read(self) -> None:
        if self.socket is None:
            return
        try:
            frames = self._plain.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        except zmq.ZMQError as error:
            self.hears(error)
            return
        self._loop.call_soon(self._read)
        self.hears(self._message(frames))

    def _message(self, frames: list[bytes]) -> Heard:
        try:
            return self.session.deserialize(self.session.feed_identities(frames)[1])
        except GARBLED as error:
            return error
