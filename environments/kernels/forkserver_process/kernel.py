"""From a forked process to a kernel: told what it is to be, gone behind its walls, its sockets bound."""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from environments.kernels.forkserver_process.server import CHANNEL, say
from environments.kernels.forkserver_process.walls import Inmate, Walls

LONGEST_REQUEST = 1 << 20


def become_kernel(walls: Walls) -> None:
    """Be what the host says: `arguments` of ipykernel's launcher, `environment`, where to `work`, and as whom."""
    say(CHANNEL, "born")
    told = json.loads(os.read(CHANNEL, LONGEST_REQUEST) or "null")
    if told is None:
        os._exit(1)  # nobody wants it any more
    try:
        walls.inside(Inmate.told(told))
    except OSError as error:
        say(CHANNEL, f"its walls cannot be raised: {error.strerror}")
        os._exit(1)
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["work"])
    time.tzset()
    tempfile.tempdir = None
    sys.modules["numpy"].random.seed()
    run_kernel(told["arguments"], walls)


def run_kernel(arguments: Sequence[str], walls: Walls) -> None:
    import ipykernel.kernelapp

    module: Any = ipykernel.kernelapp
    sys.argv = [str(Path(module.__file__).parent.with_name("ipykernel_launcher.py")), *arguments]
    # 1, the parent that never ends, spares the thread that would look whether it has; it dies with it.
    app = module.IPKernelApp.instance(parent_handle=1)
    module.IOPubThread = without_pipe(module.IOPubThread)
    with no_list_of_modules():
        app.initialize()
    walls.shut()
    say(CHANNEL, "ready")
    os.close(CHANNEL)
    app.start()


def without_pipe(thread: Any) -> Callable[..., Any]:
    """It would listen on TCP for what forked children print, which behind walls it may not; they have its stdout."""
    return lambda socket, pipe, session: thread(socket, pipe=False, session=session)


@contextlib.contextmanager
def no_list_of_modules() -> Iterator[None]:
    """ipykernel would look at each module, for a debugger that is not there, and so copy 4 MB of pages."""
    from ipykernel import ipkernel

    module: Any = ipkernel
    module.sys = SimpleNamespace(**vars(sys) | {"modules": {}})
    yield
    module.sys = sys
