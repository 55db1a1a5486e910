"""The server's loop: fork on request, tell of each end, and bury what the host has let go of.

A request is a packet with four descriptors: the kernel's channel, its stdin, stdout and stderr. On its
channel a kernel says `born`, waits to be told what it is to be, and says `ready` once its sockets are
bound; `exit N` is for us to say. Closing the channel ends the kernel, and its number is its own until then.
"""

import contextlib
import os
import select
import signal
import socket
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from environments.kernels.forkserver_process.walls import Walls

PATIENCE = 1_000
"""Milliseconds between looks at the parent: a process forked by the host may hold the socket's other end open."""

STREAMS = 3
CHANNEL = 3
"""Where a kernel has its channel, next to its stdin, stdout and stderr."""


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


def serve(requests: socket.socket, walls: Walls) -> bool:
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
            if not passed:
                continue  # not even the channel has come; the host hears that it is closed
            if (pid := fork(passed, walls)) == 0:
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
    if descriptor == child.end:
        end_orphans({other.pid for other in children.values()})
        child.tell()
    else:
        child.kill()
    poll.unregister(descriptor)
    if child.ended and child.released:
        del children[child.channel], children[child.end]
        child.bury()


def end_orphans(kernels: Collection[int]) -> None:
    """What a kernel has left behind has become a child of ours, and its own children will when it ends."""
    ours = Path(f"/proc/self/task/{os.getpid()}/children")
    with contextlib.suppress(FileNotFoundError):  # a system that does not list children
        while strangers := {int(number) for number in ours.read_text().split()} - set(kernels):
            for pid in strangers:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def end(children: dict[int, Child]) -> bool:
    for child in children.values():
        child.kill()
    for child in set(children.values()):
        child.bury()
    end_orphans(())
    return False


def fork(passed: list[int], walls: Walls) -> int | None:
    """The child's number, 0 in the child, None where there is no child to be had. Leaves open only the channel."""
    channel, *streams = passed
    if len(streams) != STREAMS:
        refuse(channel, streams, "out of descriptors")
        return None
    try:
        pid = walls.fork()
    except OSError as error:
        refuse(channel, streams, str(error))
        return None
    if pid == 0:
        stand_alone(channel, streams)
        return 0
    for descriptor in streams:
        os.close(descriptor)
    return pid


def refuse(channel: int, streams: Sequence[int], why: str) -> None:
    say(channel, f"cannot fork: {why}")
    for descriptor in (channel, *streams):
        os.close(descriptor)


def stand_alone(channel: int, streams: Sequence[int]) -> None:
    """Share nothing with the server any more but memory that neither writes to."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for place, descriptor in enumerate((*streams, channel)):
        os.dup2(descriptor, place)
    os.closerange(CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))


def say(channel: int, what: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(channel, what.encode())
