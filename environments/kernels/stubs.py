"""The functions that the host carries out, as a cell finds them: plain functions that ask for it and wait.

They ask through Jupyter's own stdin channel. ipykernel does not match answers with questions there, so
each call has a number that its answer repeats, and one is made at a time.

Runs inside the kernel. What code does to it changes what that code is told, and nothing else.
"""

import functools
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from time import sleep
from typing import Any

import zmq

LONGEST = 100_000
"""Characters of a call's arguments."""
WAKE = 10
"""Milliseconds after which an interrupt that came amiss is looked for."""


class ToolError(Exception):
    """A function of the environment could not do what it was asked."""

    __module__ = "__main__"


class Stubs:
    def __init__(self, shell: Any) -> None:
        self._shell, self._kernel = shell, shell.kernel
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def define(self, sources: Mapping[str, str]) -> None:
        """By name, the source of a function that gives its arguments back."""
        if not sources:
            return
        self._process = os.getpid()
        # Otherwise what is sent before the host has connected would be dropped without a word.
        self._kernel.stdin_socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        _hide(self._shell, {f"<{name}>" for name in sources})
        for name, source in sources.items():
            made: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(source, f"<{name}>", "exec"), made)  # noqa: S102  # ours
            self._shell.user_ns[name] = self._asking(made[name])
        self._shell.user_ns["ToolError"] = ToolError

    def _asking(self, arguments_of: Callable[..., Mapping[str, Any]]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            __tracebackhide__ = True
            answer = self._ask(name, arguments_of(*arguments, **named))
            if "error" in answer:
                raise ToolError(answer["error"])
            return answer["value"]

        name = arguments_of.__name__
        call.__code__ = call.__code__.replace(co_filename=f"<{name}>", co_name=name, co_qualname=name)
        return functools.update_wrapper(call, arguments_of)

    def _ask(self, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        __tracebackhide__ = True
        if os.getpid() != self._process:
            return {"error": f"{name} can be called by the session itself only, not by a process it has started"}
        with self._lock:
            number = next(self._numbers)
            asked = json.dumps({"call": number, "function": name, "arguments": arguments})
            if len(asked) > LONGEST:
                return {"error": f"the arguments of {name} are too long: {len(asked):,} characters"}
            self._send(asked)
            while (answer := self._answer()).get("call") != number:
                pass  # it belongs to a call that a signal's handler has broken off
            return answer

    def _send(self, asked: str) -> None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        kernel = self._kernel
        ident = kernel._get_shell_context_var(kernel._shell_parent_ident)
        content = {"prompt": asked, "password": False}
        while True:
            try:
                kernel.session.send(
                    kernel.stdin_socket, "input_request", content, kernel.get_parent("shell"), ident=ident
                )
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                sleep(WAKE / 1_000)
            else:
                return

    def _answer(self) -> Mapping[str, Any]:
        socket = self._kernel.stdin_socket
        # A wait without an end would not notice a signal that came just before it.
        while not socket.poll(WAKE):
            pass
        _, message = self._kernel.session.recv(socket, zmq.NOBLOCK)
        try:
            answer: Any = json.loads(message["content"]["value"])
        except (TypeError, ValueError):
            return {}  # the end of input, for an `input()` that was broken off
        return answer if isinstance(answer, dict) else {}


def _hide(shell: Any, files: set[str]) -> None:
    """A traceback ends where the cell has called a function, and does not show us."""
    stock = shell._get_exc_info

    def shown(given: Any = None) -> Any:
        kind, error, trace = stock(given)
        place = trace
        while place is not None and place.tb_next is not None:
            if place.tb_next.tb_frame.f_code.co_filename in files:
                place.tb_next = None
            place = place.tb_next
        return kind, error, trace

    shell._get_exc_info = shown
