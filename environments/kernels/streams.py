"""A kernel's stdout and stderr, which the teacher's code can close, replace or write to behind their back.

They stand in the place of ipykernel's own, which wake a thread at each message of a cell, and take 0.2 s
or two threads more to be sure of what a subprocess has written. Here the cell's own thread sends, and
reads what is left in the pipes; one thread serves what comes while that one is at something else.

Runs inside the kernel. Nothing here opens a file before `open`, so it can be made before a fork.
"""

import codecs
import contextlib
import fcntl
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from time import monotonic, sleep
from typing import Any

from ipykernel import iostream

INTERVAL = 0.05
"""Seconds within which only one line is sent at once."""
LATEST = 0.2
"""Seconds after which the lines that were held back are sent by themselves."""
ENOUGH = 100_000
"""Characters that are sent without waiting for more."""
PIPE = 1 << 16
"""Bytes that a pipe holds."""

NO_PIPE = -1
NOTHING = bytes(4)
"""Written, as a system call says how much."""


class OutStream(iostream.OutStream):
    """To the teacher's code it is ipykernel's."""

    __module__ = iostream.__name__

    def __init__(self, name: str, session: Any, socket: Any, feeder: "Feeder") -> None:
        # The stock constructor would start a thread. This is what the methods use that are not replaced.
        self.name = name
        self._parent_header, self._parent_header_global = ContextVar[Any]("parent_header"), dict[str, Any]()
        self._local = threading.local()
        self._isatty = self._should_watch = False
        self._exc = None

        self._session, self._socket, self._topic = session, socket, f"stream.{name}".encode()
        self._feeder = feeder
        self._lock = threading.RLock()
        self._closed = False
        self._parts: list[str] = []
        self._held, self._sent = 0, 0.0
        self._parent: Any = None
        self.reader, self._pipe, self._process = NO_PIPE, NO_PIPE, os.getpid()
        self._line, self._begins_line = "", True

    def open(self, number: int) -> None:
        """Take the place of a descriptor. Until now whatever stood there could be a file of ours."""
        self._process = os.getpid()
        self._original_stdstream_copy = number  # what `fileno` gives
        self.reader, self._pipe = os.pipe()
        os.dup2(self._pipe, number)
        self._feeder.serve(self)

    # -- as any stream

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text)}")
        if self.is_in_child:
            self._pass_on(text)
        elif self._closed:
            raise ValueError("I/O operation on closed file")
        else:
            if self._begins_line:
                self._feeder.drain(self)
            self._begins_line = text.endswith("\n")
            self.take(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self.is_in_child:
            self._pass_on("", whole=False)
            return
        self._feeder.drain(self)
        with self._lock:
            self._send()

    # -- as a forked child's, which has no other way than the pipe

    @property
    def is_in_child(self) -> bool:
        return os.getpid() != self._process

    def _pass_on(self, text: str, *, whole: bool = True) -> None:
        """By lines, so that they do not mix with others'."""
        end = (self._line + text).rfind("\n") + 1 if whole else None
        ready, self._line = (self._line + text)[:end], (self._line + text)[end:] if whole else ""
        os.write(self._pipe, ready.encode("utf-8", "backslashreplace"))

    # -- as a cell's

    def begin(self, parent: Any) -> None:
        self.set_parent(parent)  # type: ignore[no-untyped-call]
        self.__dict__.pop("write", None)  # which code may have replaced

    def settle(self) -> None:
        """Send all, what is still on its way through the pipe too."""
        self._closed = False
        self._feeder.drain(self, to_the_end=True)
        self.flush()

    def take(self, text: str) -> None:
        """Send a line at once, unless one has just been sent.

        A kernel that dies meanwhile, or computes in C and holds the interpreter until it is killed,
        would take the last words before that with it.
        """
        parent = self.parent_header
        with self._lock:
            if parent is not self._parent:
                self._send()
                self._parent = parent
            self._parts.append(text)
            self._held += len(text)
            if self._held > ENOUGH:
                self._send()
            elif text.endswith("\n") and monotonic() - self._sent > INTERVAL:
                self._send()
                sleep(0.002)  # handed to zmq's thread, but perhaps not yet to the system
            else:
                self._feeder.remind()

    def _send(self) -> None:
        if self._parts:
            content = {"name": self.name, "text": "".join(self._parts)}
            self._parts, self._held = [], 0
            self._session.send(self._socket, "stream", content, parent=self._parent, ident=self._topic)
            self._sent = monotonic()


class Feeder:
    """Carries what is written to the descriptors into the streams, and sees that nothing is held back for long."""

    def __init__(self) -> None:
        self._served: dict[int, tuple[OutStream, codecs.IncrementalDecoder]] = {}
        # A signal's handler may print while its own thread is at it.
        self._lock = threading.RLock()
        self._due: float | None = None
        self._bell = NO_PIPE

    def serve(self, stream: OutStream) -> None:
        self._served[stream.reader] = stream, codecs.getincrementaldecoder("utf-8")("replace")

    def start(self) -> None:
        ear, self._bell = os.pipe()
        # A signal that the main thread does not want at the moment is not to be taken here in its stead.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        threading.Thread(target=self._run, args=[ear], name="Output", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def remind(self) -> None:
        """Have the streams flushed a little later."""
        if self._due is None:
            self._due = monotonic() + LATEST
            with contextlib.suppress(OSError):
                os.write(self._bell, b"!")

    def drain(self, stream: OutStream, *, to_the_end: bool = False) -> None:
        """Take what has been written to the stream's descriptor until now, and no more: others may go on writing.

        At the end, half a character that it ends with is none.
        """
        with self._lock:
            try:
                waiting = fcntl.ioctl(stream.reader, termios.FIONREAD, NOTHING)
                if waiting != NOTHING:
                    self._feed(stream.reader, int.from_bytes(waiting, sys.byteorder))
            except (OSError, ValueError):
                return  # code has closed it, or it is not open yet
            if to_the_end and (text := self._served[stream.reader][1].decode(b"", final=True)):
                stream.take(text)

    def _run(self, ear: int) -> None:
        poll = select.poll()
        for descriptor in (ear, *self._served):
            poll.register(descriptor, select.POLLIN)
        while True:
            due = self._due
            for descriptor, _ in poll.poll(None if due is None else max(0, 1_000 * (due - monotonic()))):
                if descriptor == ear:
                    os.read(ear, 1)
                elif not self._forward(descriptor):
                    poll.unregister(descriptor)
            if due is not None and due <= monotonic():
                self._due = None
                for stream, _ in self._served.values():
                    stream.flush()

    def _forward(self, reader: int) -> bool:
        """Whether there may be more to come."""
        with self._lock:
            # The cell's thread may have been here first.
            return not select.select([reader], [], [], 0)[0] or self._feed(reader, PIPE) > 0

    def _feed(self, reader: int, most: int) -> int:
        """Bytes; none at the end of the file."""
        stream, decoder = self._served[reader]
        received = os.read(reader, most)
        if text := decoder.decode(received):
            stream.take(text)
        return len(received)


class Streams:
    """Both, and what each cell does with them."""

    def __init__(self, shell: Any) -> None:
        kernel = shell.kernel
        self._shell, self._feeder = shell, Feeder()
        self._by_name = {
            name: OutStream(name, kernel.session, kernel.iopub_socket, self._feeder) for name in ("stdout", "stderr")
        }
        shell.events.register("pre_execute", self._begin)
        shell.events.register("post_execute", self._settle)

    def open(self) -> None:
        for number, (name, stream) in enumerate(self._by_name.items(), start=1):
            stream.open(number)
            # `sys.stdout = sys.__stdout__` is how code ends a redirection; it means this stream.
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        self._feeder.start()
        self._begin()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """As `sys.stdout` and `sys.stderr`, without their descriptors."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self._by_name.values()
        yield
        sys.stdout, sys.stderr = before

    def _begin(self) -> None:
        for stream in self._by_name.values():
            stream.begin(self._shell.parent_header)

    def _settle(self) -> None:
        """See that a cell is answered, with all it has written, whatever it has done to `sys.stdout`.

        A child that it has forked, and that has come to its end, too, is no second kernel.
        """
        if any(stream.is_in_child for stream in self._by_name.values()):
            for stream in self._by_name.values():
                stream.flush()
            os._exit(0)
        for name, stream in self._by_name.items():
            try:
                getattr(sys, name).flush()
            except Exception:  # noqa: BLE001  # whatever stands there, the kernel would fail by it and never answer
                setattr(sys, name, stream)
            stream.settle()
