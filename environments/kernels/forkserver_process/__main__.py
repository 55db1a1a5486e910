"""Imports once what every kernel needs, then forks a kernel whenever it is asked for one.

Run as `python -m environments.kernels.forkserver_process FD LEVEL FOLDER MODULE…`, FD being a Unix socket
of packets, LEVEL one of isolation, FOLDER the run's. Where the walls are namespaces, what a run wants
preloaded is imported behind them.

No secret is in here, and none comes in: what a kernel is told is read after the fork.
"""

import contextlib
import gc
import importlib
import inspect
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environments.kernels.forkserver_process.kernel import become_kernel
from environments.kernels.forkserver_process.server import serve
from environments.kernels.forkserver_process.template import Template
from environments.kernels.forkserver_process.walls import LEVELS, Walls
from environments.kernels.forkserver_process.warming import warm_up

FORK_SAFE = {"jemalloc_bg_thd"}
"""Native threads that may be lost: pyarrow's allocator is prepared for a fork, and does without its own after one."""

EAGER = (
    "ipykernel.kernelapp ipykernel.zmqshell ipykernel.debugger tornado.platform.asyncio faulthandler numpy.random "
    "IPython.core.completerlib IPython.core.debugger IPython.core.oinspect IPython.extensions.storemagic "
    "IPython.core.logger "
    # What IPython imports only when a cell fails:
    "stack_data executing._pytest_utils pure_eval pygments.formatters.terminal256 pygments.styles"
)

NO_DEBUGGER: Any = None


def main(descriptor: int, level: str, run: str, preload: Sequence[str]) -> None:
    leave_project()
    walls = raised(level, Path(run))
    import_all(preload)
    warm_up()
    template = Template()
    forget_ourselves()
    refuse_what_a_fork_would_break(descriptor)
    # A collection in a kernel would write to all that was made here, and so copy it.
    gc.collect()
    gc.freeze()
    if serve(socket.socket(fileno=descriptor), walls):
        become_kernel(walls, template)


def leave_project() -> None:
    del sys.path[0]  # the folder we were started in, to be found
    os.chdir("/")


def raised(level: str, run: Path) -> Walls:
    walls = LEVELS[level]()
    try:
        walls.enter(run)
    except OSError as error:
        sys.exit(f"isolation level '{level}' cannot be had here: {error.strerror}")
    return walls


def import_all(preload: Sequence[str]) -> None:
    # It would cost each kernel more time than all the rest of its start, and nobody uses it.
    sys.modules["debugpy"] = NO_DEBUGGER
    for name in (*EAGER.split(), *preload):
        # What cannot be imported is for the kernel to tell that is asked for it.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    del sys.modules["debugpy"]
    # A kernel's first traceback would have it look up the files of all modules, which takes 50 ms; it keeps them.
    inspect.getmodule(compile("", "<nowhere>", "exec"))


def forget_ourselves() -> None:
    """Nothing of the project is to be found imported in a kernel. What runs here needs no more of it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "environments"]:
        del sys.modules[name]


def refuse_what_a_fork_would_break(descriptor: int) -> None:
    os.close(os.pidfd_open(os.getpid()))
    threads = {f"{thread.name} of Python" for thread in threading.enumerate()[1:]} | native_threads()
    if threads:
        sys.exit(f"what was imported has started threads, which a fork would lose: {', '.join(sorted(threads))}")
    # A zmq context or an event loop holds some, too. The one that lists them is closed by the time it is looked at.
    opened = [file for file in [*Path("/proc/self/fd").iterdir()] if file.is_symlink() and int(file.name) > 2]
    if [file.name for file in opened] != [str(descriptor)]:
        sys.exit(f"what was imported has opened files, which all kernels would share: {[*map(os.readlink, opened)]}")


def native_threads() -> set[str]:
    """By name."""
    own = str(os.getpid())
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != own]
    return {(task / "comm").read_text().strip() for task in tasks} - FORK_SAFE


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
