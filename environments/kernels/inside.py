"""What runs inside a kernel before anything else.

It is sent as source and run in a namespace of its own, since neither this project nor anything of it
is to be found in there; it therefore imports nothing of ours, and leaves no name behind. Whichever
provisioner started the kernel, this makes of it the session that the host expects.
"""

import contextlib
import importlib
import json
import os
import random
import sys
import threading
import warnings
from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

MOST_PARTS = 10_000
"""Of a list, or a display's forms: more are nobody's output."""


def prepare(*, limit: int, seed: int, preload: Sequence[str], hidden: str | None) -> None:
    from IPython import get_ipython

    shell: Any = get_ipython()
    bound_messages(shell.kernel.session, limit)
    wait_for_slow_readers(shell.kernel.iopub_thread)
    shell.display_formatter.active_types = ["text/plain"]
    keep_streams(shell)
    # A cell's file name stands in every warning; the stock one holds a path and a process id of this machine.
    shell.compile.get_code_name = lambda raw_code, code, number: f"<cell {number}>"
    # `!command` would want a terminal of its own, which behind walls there is none of.
    shell.system = shell.system_raw
    forget_host(hidden)
    # IPython's advice on `sys.exit()` is for people at a terminal.
    warnings.filterwarnings("ignore", message="To exit: use")
    for name in preload:
        importlib.import_module(name)
    seed_all(seed)


def bound_messages(session: Any, limit: int) -> None:
    """Cut a message's long texts here, so that no repr of 100 MB travels; the host cuts by the same halves.

    Written as ASCII, JSON takes the lone surrogates with which the stock packer fails: a cell that
    prints or raises one would otherwise never be answered.
    """
    from jupyter_client.jsonutil import json_default

    stock = session.pack

    def pack(message: Any) -> Any:
        message = bounded(message, limit)
        try:
            return json.dumps(message, default=json_default, allow_nan=False).encode("ascii")
        except (TypeError, ValueError):
            return stock(message)

    session.pack = pack


def bounded(message: Any, limit: int) -> Any:
    half = max(limit // 2, 1)
    dropped = 0

    def cut(part: Any) -> Any:
        nonlocal dropped
        if isinstance(part, dict):
            # Of all forms of a display the host reads the text only.
            shown = {"text/plain"} & part.keys() or list(part)[:MOST_PARTS]
            return {name: cut(part[name]) for name in shown}
        if isinstance(part, list):
            kept = part if len(part) <= MOST_PARTS else part[: MOST_PARTS // 2] + part[-MOST_PARTS // 2 :]
            return [cut(value) for value in kept]
        if not isinstance(part, str) or len(part) <= 2 * half:
            return part
        dropped += len(part) - 2 * half
        return part[:half] + part[-half:]

    message = cut(message)
    return {**message, "dropped": dropped} if dropped else message


def wait_for_slow_readers(thread: Any) -> None:
    """Past its high-water mark the iopub socket drops messages, the one that ends a cell too: let it wait instead."""
    import zmq

    thread.schedule(lambda: thread.socket.setsockopt(zmq.XPUB_NODROP, 1))


def keep_streams(shell: Any) -> None:
    """See that a cell is answered, with all it has written, whatever it has done to `sys.stdout`."""
    streams = {"stdout": KeptStream(sys.stdout), "stderr": KeptStream(sys.stderr)}
    # `sys.stdout = sys.__stdout__` is how code ends a redirection; it means this stream.
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc, assignment]

    def begin() -> None:
        for kept in streams.values():
            kept.begin(shell.parent_header)

    def settle() -> None:
        for name, kept in streams.items():
            kept.reopen()
            try:
                getattr(sys, name).flush()
            except Exception:  # noqa: BLE001  # whatever stands there, the kernel would fail by it and never answer
                setattr(sys, name, kept.stream)
            kept.settle()

    begin()
    shell.events.register("pre_execute", begin)
    shell.events.register("post_execute", settle)


class KeptStream:
    """The kernel's stdout or stderr, which the teacher's code can close, replace or write to behind its back."""

    INTERVAL = 0.05
    PATIENCE = 1.0

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._thread = stream.pub_thread
        self._sent = 0.0
        # What a subprocess writes comes through a pipe, which a thread reads and hands to `write`.
        self._pipe = os.dup(stream._original_stdstream_fd)
        self._mark = f"<{os.urandom(12).hex()}>"
        self._passed = threading.Event()
        self._held: str | None = None
        self._process = os.getpid()

    def begin(self, parent: Any) -> None:
        self.stream.set_parent(parent)
        # At each cell, in place of the `write` by which IPython would keep all output in memory.
        self.stream.write = self.write

    def reopen(self) -> None:
        if self.stream.closed:
            self.stream.pub_thread = self._thread

    def settle(self) -> None:
        """Send all, what is still on its way through the pipe too: a mark follows it, and is waited for."""
        if self.stream.watch_fd_thread.is_alive():
            self._held = ""
            self._passed.clear()
            with contextlib.suppress(OSError):
                os.write(self._pipe, self._mark.encode())
                self._passed.wait(self.PATIENCE)
            self._held = None
        self.stream.flush()

    def write(self, text: str) -> Any:
        if os.getpid() != self._process:
            return os.write(self._pipe, text.encode("utf-8", "backslashreplace"))  # a forked child has no other way
        if self._held is not None and threading.current_thread() is self.stream.watch_fd_thread:
            before, mark, after = (self._held + text).partition(self._mark)
            self._held = None if mark else before
            written = self._write(before + after) if mark else len(text)
            if mark:
                self._passed.set()
            return written
        return self._write(text)

    def _write(self, text: str) -> Any:
        """Send a line at once, unless one has just been sent.

        The stock stream waits 0.2 s for a thread; a kernel that dies meanwhile, or computes in C and
        holds the interpreter until it is killed, would take the last words before that with it.
        """
        written = type(self.stream).write(self.stream, text)
        if text.endswith("\n") and monotonic() - self._sent > self.INTERVAL:
            self.stream.flush()
            sleep(0.002)  # handed to zmq's thread, but perhaps not yet to the system
            self._sent = monotonic()
        return written


def forget_host(hidden: str | None) -> None:
    # IPython asks every child process for colours, which would reach the teacher as escape codes.
    for name in ("FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "JPY_PARENT_PID"):
        os.environ.pop(name, None)
    os.environ.update(TERM="dumb", NO_COLOR="1")
    sys.path[:] = [entry for entry in sys.path if hidden is None or os.path.realpath(entry or ".") != hidden]
    # The log was for a start that fails; from now on nothing the teacher's code writes may fill the disk.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        copy = getattr(stream, "_original_stdstream_copy", None)
        if copy is not None:
            os.dup2(nowhere, copy)
    os.close(nowhere)


def seed_all(seed: int) -> None:
    # Imported here, because code that imports numpy later must find it seeded too.
    import numpy

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
