"""Imports once what every kernel needs, then forks a kernel whenever it is asked for one.

Run as `python forkserver_process.py FD MODULE…`, FD being a Unix socket of packets. A request is a
packet with four descriptors: the kernel's channel, its stdin, stdout and stderr. On its channel a kernel
says `pid N`, waits to be told what it is to be, and says `ready` once its sockets are bound; `exit N` is
for us to say. Closing the channel ends the kernel, and its number is its own until then.

No secret is in here, and none comes in: what a kernel is told is read after the fork.
"""

import contextlib
import ctypes
import gc
import importlib
import inspect
import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PATIENCE = 1_000
"""Milliseconds between looks at the parent: a process forked by the host may hold the socket's other end open."""

CHANNEL = 3
"""Where a kernel has its channel, next to its stdin, stdout and stderr."""

LONGEST_REQUEST = 1 << 20

FORK_SAFE = {"jemalloc_bg_thd"}
"""Native threads that may be lost: pyarrow's allocator is prepared for a fork, and does without its own after one."""

EAGER = (
    "ipykernel.kernelapp ipykernel.zmqshell ipykernel.debugger tornado.platform.asyncio faulthandler numpy "
    "IPython.core.completerlib IPython.core.debugger IPython.core.oinspect IPython.extensions.storemagic "
    # What IPython imports only when a cell fails:
    "stack_data executing._pytest_utils pure_eval pygments.formatters.terminal256 pygments.styles"
)

NO_DEBUGGER: Any = None
PR_SET_PDEATHSIG = 1
prctl = ctypes.CDLL(None).prctl


def main(descriptor: int, preload: Sequence[str]) -> None:
    del sys.path[0]  # this file's folder
    import_all(preload)
    refuse_what_a_fork_would_break(descriptor)
    # A collection in a kernel would write to all that was made here, and so copy it.
    gc.collect()
    gc.freeze()
    if serve(socket.socket(fileno=descriptor)):
        become_kernel()


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


def refuse_what_a_fork_would_break(descriptor: int) -> None:
    os.close(os.pidfd_open(os.getpid()))
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name != str(os.getpid())]
    threads = {(task / "comm").read_text().strip() for task in tasks} - FORK_SAFE
    if threads:
        sys.exit(f"what was imported has started threads, which a fork would lose: {', '.join(threads)}")
    # A zmq context or an event loop holds some, too. The one that lists them is closed by the time it is looked at.
    opened = [file for file in [*Path("/proc/self/fd").iterdir()] if file.is_symlink() and int(file.name) > 2]
    if [file.name for file in opened] != [str(descriptor)]:
        sys.exit(f"what was imported has opened files, which all kernels would share: {[*map(os.readlink, opened)]}")


# -- the server --------------------------------------------------------------------------------


class Child:
    """A kernel as seen from here. Descriptors are numbers: an object would close its own in the kernels, too."""

    def __init__(self, pid: int, channel: int) -> None:
        self.pid, self.channel = pid, channel
        self.end = os.pidfd_open(pid)
        """Readable once it has ended."""
        self.ended = self.released = False

    def tell(self) -> None:
        """It has ended. It is not reaped yet: the host has first to forget its number."""
        result: Any = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        status = result.si_status if result.si_code == os.CLD_EXITED else -result.si_status
        say(self.channel, f"exit {status}")
        self.ended = True

    def kill(self) -> None:
        """The host has closed its end of the channel, or is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGKILL)  # it may have no group of its own yet
        self.released = True

    def bury(self) -> None:
        os.waitpid(self.pid, 0)
        os.close(self.channel)
        os.close(self.end)


def serve(requests: socket.socket) -> bool:
    """Fork until the host is gone. True in a child, which is to be a kernel."""
    host, children, poll = os.getppid(), dict[int, Child](), select.poll()
    poll.register(requests, select.POLLIN)
    while os.getppid() == host:
        for descriptor, _ in poll.poll(PATIENCE):
            if descriptor != requests.fileno():
                attend(children, descriptor, poll)
                continue
            packet, passed, *_ = socket.recv_fds(requests, 1, 4)
            if not packet:
                return end(children)
            if (pid := fork(passed)) == 0:
                requests.detach()
                return True
            if pid is not None:
                adopt(Child(pid, passed[0]), children, poll)
    return end(children)


def adopt(child: Child, children: dict[int, Child], poll: select.poll) -> None:
    children |= {child.channel: child, child.end: child}
    # What comes by the channel is for the kernel to read; that the host has closed it is told unasked.
    poll.register(child.channel, 0)
    poll.register(child.end, select.POLLIN)


def attend(children: dict[int, Child], descriptor: int, poll: select.poll) -> None:
    """A child has ended, or the host has let go of one. After both it is buried."""
    child = children.get(descriptor)
    if child is None:
        return  # buried a moment ago
    child.tell() if descriptor == child.end else child.kill()
    poll.unregister(descriptor)
    if child.ended and child.released:
        del children[child.channel], children[child.end]
        child.bury()


def end(children: dict[int, Child]) -> bool:
    for child in children.values():
        child.kill()
    return False


def fork(passed: list[int]) -> int | None:
    """The child's number, 0 in the child, None where there is no child to be had. Leaves open only the channel."""
    server, (channel, *streams) = os.getpid(), passed
    try:
        pid = os.fork()
    except OSError as error:
        say(channel, f"cannot fork: {error}")
        os.close(channel)
        pid = None
    if pid == 0:
        stand_alone(server, channel, streams)
    for descriptor in streams if pid != 0 else ():
        os.close(descriptor)
    return pid


def say(channel: int, what: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(channel, what.encode())


# -- the kernel --------------------------------------------------------------------------------


def stand_alone(server: int, channel: int, streams: Sequence[int]) -> None:
    """Share nothing with the server any more but memory that neither writes to."""
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)  # it died before it could have been noticed
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for place, descriptor in enumerate((*streams, channel)):
        os.dup2(descriptor, place)
    os.closerange(CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))


def become_kernel() -> None:
    """Be what the host says: `arguments` of ipykernel's launcher, `environment`, and `folder` to work in."""
    say(CHANNEL, f"pid {os.getpid()}")
    told = json.loads(os.read(CHANNEL, LONGEST_REQUEST) or "null")
    if told is None:
        os._exit(1)  # nobody wants it any more
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["folder"])
    time.tzset()
    tempfile.tempdir = None
    sys.modules["numpy"].random.seed()
    run_kernel(told["arguments"])


def run_kernel(arguments: Sequence[str]) -> None:
    from ipykernel import kernelapp

    sys.argv = [str(Path(kernelapp.__file__).parent.with_name("ipykernel_launcher.py")), *arguments]
    # 1, the parent that never ends, spares the thread that would look whether it has; the death signal is set.
    app: Any = kernelapp.IPKernelApp.instance(parent_handle=1)
    with no_list_of_modules():
        app.initialize()
    say(CHANNEL, "ready")
    os.close(CHANNEL)
    app.start()


@contextlib.contextmanager
def no_list_of_modules() -> Iterator[None]:
    """ipykernel would look at each module, for a debugger that is not there, and so copy 4 MB of pages."""
    from ipykernel import ipkernel

    module: Any = ipkernel
    module.sys = SimpleNamespace(**vars(sys) | {"modules": {}})
    yield
    module.sys = sys


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
