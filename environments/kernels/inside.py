"""What makes of a kernel, whichever way it was started, the session that the host expects.

Runs inside the kernel, where neither this project nor anything of it is to be found: a fork server has
it in memory, a kernel of its own interpreter is sent it as source. So it imports nothing of ours but
`streams` and `stubs`, which go the same way, and leaves no name behind.
"""

import contextlib
import importlib
import inspect
import json
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import zmq
from ipykernel import iostream
from IPython import get_ipython
from jupyter_client.jsonutil import json_default

from environments.kernels.streams import Streams
from environments.kernels.stubs import Stubs

MOST_PARTS = 10_000
"""Of a list, or a display's forms: more are nobody's output."""


class Inside:
    """All that is the same for every session is done when it is made, which may be before a fork."""

    def __init__(self, shell: Any) -> None:
        self._packer = Packer(shell.kernel.session)
        self._streams = Streams(shell)
        self._stubs = Stubs(shell)
        tame(shell)

    def heard(self) -> contextlib.AbstractContextManager[None]:
        """For as long as it is entered, what is printed goes where a session's output does."""
        return self._streams.installed()

    def open(self, *, limit: int, seed: int, preload: Sequence[str], functions: Mapping[str, str]) -> None:
        """Make it this session's own."""
        self._packer.limit = limit
        self._streams.open()
        self._stubs.define(functions)
        for name in preload:
            if name not in sys.modules:
                importlib.import_module(name)
        seed_all(seed)


def tame(shell: Any) -> None:
    kernel = shell.kernel
    shell.display_formatter.active_types = ["text/plain"]
    shell.compile.get_code_name = lambda raw_code, code, number: of_no_module(f"<cell {number}>")
    shell.system = partial(system, shell)
    kernel.raw_input = kernel.getpass = end_of_input
    # Nobody reads these: an echo of the code, and that it has begun.
    kernel._publish_execute_input = lambda code, parent, execution_count: None
    publish_status = kernel._publish_status
    kernel._publish_status = lambda status, *rest: None if status == "busy" else publish_status(status, *rest)
    # It would wait half a millisecond for output to be sent, which has been.
    kernel._execute_sleep = 0
    # For its history IPython would keep all output in memory, and make each traceback a second time.
    shell._tee = lambda channel: contextlib.nullcontext()
    shell._format_exception_for_storage = lambda error, **_: {
        "ename": type(error).__name__,
        "evalue": "",
        "traceback": shell._last_traceback or [],
    }
    # IPython's advice on `sys.exit()` is for people at a terminal.
    warnings.filterwarnings("ignore", message="To exit: use")


def end_of_input(prompt: object = "", stream: object = None) -> str:
    """A plain `input()`: nobody is there to type."""
    raise EOFError


def system(shell: Any, command: str) -> None:
    """`!command`. The stock one would want a terminal of its own, which behind walls there is none of."""
    if all(isinstance(stream, iostream.OutStream) for stream in (sys.stdout, sys.stderr)):
        shell.system_raw(command)
        return
    # Where the cell has redirected either, the text is to go there.
    ended = subprocess.run(  # noqa: S602  # that is what `!` is
        shell.var_expand(command, depth=2), shell=True, check=False, capture_output=True, text=True, errors="replace"
    )
    sys.stdout.write(ended.stdout)
    sys.stderr.write(ended.stderr)
    shell.user_ns["_exit_code"] = ended.returncode


def let_signals_wake(loop: Any) -> None:
    """Tornado's event loop, asleep, would not hear of what a signal's handler asks of it: awaiting would go on."""

    def add_callback(callback: Callable[..., object], *arguments: Any, **named: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, as in the stock one
            loop.asyncio_loop.call_soon_threadsafe(loop._run_callback, partial(callback, *arguments, **named))

    loop.add_callback = add_callback


def of_no_module(cell: str) -> str:
    """A cell's file name. It stands in every warning; the stock one holds a path and a process id of this machine.

    A traceback looks up the module of each file, and for one that has none goes through all modules, so that
    a forked kernel would copy the page of each.
    """
    inspect.modulesbyfile[cell] = ""
    with contextlib.suppress(OSError):  # the folder may be gone
        inspect.modulesbyfile[str(Path.cwd() / cell)] = ""
    return cell


class Packer:
    """Cuts a message's long texts, so that no repr of 100 MB travels; the host cuts by the same halves.

    Written as ASCII, JSON takes the lone surrogates with which the stock packer fails: a cell that
    prints or raises one would otherwise never be answered.
    """

    def __init__(self, session: Any) -> None:
        self.limit = 1_000_000
        self._stock = session.pack
        self._encode = json.JSONEncoder(default=json_default, allow_nan=False).encode
        session.pack = self.pack

    def pack(self, message: Any) -> Any:
        message = bounded(message, self.limit)
        try:
            return self._encode(message).encode("ascii")
        except (TypeError, ValueError):
            return self._stock(message)


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


def seed_all(seed: int) -> None:
    # Imported here, because code that imports numpy later must find it seeded too.
    import numpy

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    # It draws from a generator of its own, made when it was imported.
    symbolic = sys.modules.get("sympy.core.random")
    if symbolic is not None:
        symbolic.seed(seed)


# -- a kernel of its own interpreter -------------------------------------------------------------


def prepare(*, hidden: str | None, **told: Any) -> None:
    """All of it, from within the kernel's first cell."""
    shell: Any = get_ipython()
    wait_for_slow_readers(shell.kernel.iopub_thread)
    let_signals_wake(shell.kernel.io_loop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, iostream.OutStream):
            stream.close()  # type: ignore[no-untyped-call]
    # IPython asks every child process for colours, which would reach the teacher as escape codes.
    for name in ("FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "JPY_PARENT_PID"):
        os.environ.pop(name, None)
    os.environ.update(TERM="dumb", NO_COLOR="1")
    sys.path[:] = [entry for entry in sys.path if hidden is None or os.path.realpath(entry or ".") != hidden]
    Inside(shell).open(**told)


def wait_for_slow_readers(thread: Any) -> None:
    """Past its high-water mark the iopub socket drops messages, the one that ends a cell too: let it wait instead."""
    thread.schedule(lambda: thread.socket.setsockopt(zmq.XPUB_NODROP, 1))
