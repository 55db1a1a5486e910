"""From a forked process to a kernel: told what it is to be, gone behind its walls, its sockets bound."""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from environments.kernels.forkserver_process.server import CHANNEL, say
from environments.kernels.forkserver_process.template import Template
from environments.kernels.forkserver_process.walls import Inmate, Walls

LONGEST_REQUEST = 1 << 20
LONGEST_TROUBLE = 800
"""Characters of an error that the host is told."""


def become_kernel(walls: Walls, template: Template) -> None:
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
    sys.argv = [launcher(), *told["arguments"]]
    if told["preparation"] is None:
        run_any_kernel(walls)
    else:
        run_session(walls, template, told["preparation"])


def run_session(walls: Walls, template: Template, preparation: Mapping[str, Any]) -> None:
    try:
        template.bind(sys.argv[sys.argv.index("-f") + 1])
        walls.shut()
        template.open(preparation)
    except Exception as error:  # noqa: BLE001  # the host tells of it, whatever it is
        say(CHANNEL, f"{type(error).__name__}: {error}"[:LONGEST_TROUBLE])
        os._exit(1)
    say(CHANNEL, "ready")
    os.close(CHANNEL)
    template.serve()


def run_any_kernel(walls: Walls) -> None:
    """As ipykernel's own launcher does, for whoever wants a kernel with all that belongs to it."""
    import ipykernel.kernelapp

    kernelapp: Any = ipykernel.kernelapp
    sys.modules["numpy"].random.seed()
    for made_by_template in (kernelapp.IPKernelApp, kernelapp.IPythonKernel, kernelapp.ZMQInteractiveShell):
        made_by_template.clear_instance()
    # 1, the parent that never ends, spares the thread that would look whether it has; it dies with it.
    app = kernelapp.IPKernelApp.instance(parent_handle=1)
    kernelapp.IOPubThread = without_pipe(kernelapp.IOPubThread)
    with no_list_of_modules():
        app.initialize()
    walls.shut()
    say(CHANNEL, "ready")
    os.close(CHANNEL)
    app.start()


def launcher() -> str:
    import ipykernel

    return str(Path(ipykernel.__file__).parent.with_name("ipykernel_launcher.py"))


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
