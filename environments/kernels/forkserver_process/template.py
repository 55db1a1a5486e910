"""A kernel as far as it can be made before it is forked, and what makes it whole after the fork.

Nine tenths of a stock start are the same for every kernel: configuration, the shell, its magics. Here that
is done once, and rehearsed: what Python learns of code by running it, and what is made at its first use,
would otherwise be learnt and made, and the memory for it copied, in each kernel anew.
"""

import asyncio
import atexit
import json
import linecache
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq
from ipykernel.displayhook import ZMQDisplayHook
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.profiledir import ProfileDir
from traitlets import default
from traitlets.config import Config

from environments.kernels.forkserver_process.lean import LeanKernel, NoThread, Outlet
from environments.kernels.inside import Inside
from environments.kernels.preparation import hidden

SETTINGS = {
    "HistoryManager": {"enabled": False, "hist_file": ":memory:"},
    "InteractiveShell": {"colors": "nocolor"},
}

MESSAGES_AHEAD = 100
"""Messages of output that may wait in the kernel's memory; with the next, the kernel waits."""
LINGER = 1_000
"""Milliseconds that a kernel which ends by itself has for its last messages."""

CELLS = (
    "x = 1",
    "print('one')\nprint(2)\n3 + 4",
    "import math\nfor n in range(3):\n    print(math.sqrt(n), [n, 'n', {n: None}])",
    "def f(a):\n    return a / 0\n\nf(1)",
    "unknown",
    "[].unknown()",
    "{}['unknown']",
    "x = (",
    "display(3)",
)
REHEARSALS = 5
"""After some runs Python has replaced a function's instructions by those for what it is given."""


class LazyProfile(ProfileDir):
    """Its folder is made by whoever uses it."""

    __module__ = ProfileDir.__module__

    @default("location")
    def _in_settings(self) -> str:
        return str(Path(os.environ["IPYTHONDIR"], "profile_default"))


class Template:
    """Made in the server; `bind`, `open` and `serve` make a kernel of the process that it is copied into."""

    def __init__(self) -> None:
        self._app = app = make_app()
        self._session = app.session
        self._output, self._answers = Outlet(), Outlet()
        self._shell: Any = ZMQInteractiveShell.instance(parent=app, ipython_dir="/", profile_dir=LazyProfile())
        self._kernel: Any = LeanKernel.instance(
            parent=app, log=app.log, session=self._session, shell_channel_thread=NoThread(),
            iopub_socket=self._output, shell_stream=self._answers,
        )  # fmt: skip
        self._connect()
        self._inside = Inside(self._shell)
        self._path = [entry for entry in sys.path if os.path.realpath(entry or ".") != hidden()]
        self._rehearse()

    def _connect(self) -> None:
        """As the stock application does, whose parts do not know of each other by themselves."""
        app, shell, kernel = self._app, self._shell, self._kernel
        app.shell, app.kernel, app.profile_dir = shell, kernel, shell.profile_dir
        shell.kernel = shell.parent = kernel
        shell.displayhook.topic = kernel._topic("execute_result")
        for hook in (shell.displayhook, shell.display_pub):
            hook.session, hook.pub_socket = self._session, self._output
        sys.displayhook = ZMQDisplayHook(self._session, self._output)  # type: ignore[no-untyped-call]
        app.init_path()
        app.init_shell()
        app.init_extensions()
        shell._sys_modules_keys = set(sys.modules)

    # -- before the fork

    def _rehearse(self) -> None:
        at_first = dict(self._shell.user_ns)
        with self._inside.heard():
            for _ in range(REHEARSALS):
                for code in CELLS:
                    asyncio.run(self._kernel.dispatch_shell(self._request(code)))
        self._forget(at_first)

    def _request(self, code: str) -> Sequence[zmq.Frame]:
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": True, "stop_on_error": False}
        message = self._session.msg("execute_request", content)
        return [zmq.Frame(part) for part in self._session.serialize(message, ident=b"nobody")]

    def _forget(self, at_first: Mapping[str, Any]) -> None:
        """What a rehearsed cell has left where code could find it."""
        shell, session = self._shell, self._session
        shell.reset()
        # It drops what every module has from the start, too.
        shell.user_ns.update({name: value for name, value in at_first.items() if name not in shell.user_ns})
        shell.user_ns_hidden.update(shell.user_ns)
        shell.last_execution_result = shell._last_traceback = None
        shell.compile._filename_map.clear()
        for file in [file for file in linecache.cache if file.startswith("<cell")]:
            del linecache.cache[file]
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            vars(sys).pop(name, None)
        session.digest_history.clear()
        session.message_count = 0

    # -- after it

    def bind(self, connection_file: str) -> None:
        """Make the sockets that the host expects."""
        told = json.loads(Path(connection_file).read_bytes())
        self._app.connection_file = connection_file
        self._session.pid = os.getpid()
        self._session.session = os.urandom(16).hex()
        self._session.key = told["key"].encode()
        self._sockets = zmq.Context()
        self._kernel.stdin_socket = self._bound(zmq.ROUTER, told, "stdin_port")
        self._answers.socket = self._bound(zmq.ROUTER, told, "shell_port")
        self._output.socket = self._subscriptions = self._bound(zmq.XPUB, told, "iopub_port")

    def _bound(self, kind: int, told: Mapping[str, Any], port: str) -> Any:
        socket = self._sockets.socket(kind)
        socket.linger = LINGER
        if kind == zmq.XPUB:
            socket.sndhwm = MESSAGES_AHEAD
            # Past that mark it would drop messages, the one that ends a cell too.
            socket.setsockopt(zmq.XPUB_NODROP, 1)
        socket.bind(f"ipc://{told['ip']}-{told[port]}")
        return socket

    def open(self, preparation: Mapping[str, Any]) -> None:
        """Make it a session, in the place and environment that this process has now."""
        shell = self._shell
        sys.path[:] = self._path
        shell.home_dir = os.environ["HOME"]
        shell.ipython_dir = os.environ["IPYTHONDIR"]
        shell.starting_dir = os.getcwd()  # noqa: PTH109  # a text, as the stock one
        shell.user_ns["_dh"][:] = [Path.cwd()]
        self._app.init_signal()
        self._inside.open(**preparation)

    def serve(self) -> None:
        """Be a kernel, until it is told by its own code to end."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        # The host has subscribed, and is told so: what it would be sent before is lost.
        self._subscriptions.recv()
        self._session.send(self._output, "iopub_welcome", {"subscription": ""})
        self._kernel.start()
        atexit.register(self._sockets.destroy)
        loop.run_forever()


def make_app() -> Any:
    # 1, the parent that never ends, spares the thread that would look whether it has; a kernel dies with its server.
    app: Any = IPKernelApp.instance(parent_handle=1)
    app.update_config(Config(SETTINGS))
    app.log.disabled = True
    app.init_crash_handler()
    app.init_pdb()
    app.patch_io()
    return app
