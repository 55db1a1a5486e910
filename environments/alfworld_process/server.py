"""The server's loop: fork a game on request, tell the host of one that ends by itself, end one it has let go of.

A request is a packet with one descriptor, the game's channel: a Unix stream of JSON lines. The server keeps it
open beside the game, so that the end of a game and what it died of reach the host as the last line.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1

PATIENCE = 1_000
"""Milliseconds between looks at the parent: a process forked by the host may hold the socket's other end open."""


@dataclass(frozen=True, slots=True)
class Child:
    """A game as seen from here. Descriptors are numbers: an object would close its own in the games, too."""

    pid: int
    channel: int
    end: int
    """Readable once it has ended."""

    def bury(self) -> None:
        """It has ended, or is to: the host has closed its end of the channel, or is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        with socket.socket(fileno=self.channel) as channel, contextlib.suppress(OSError):
            channel.send(json.dumps({"fault": f"its process ended {how}"}).encode() + b"\n", socket.MSG_DONTWAIT)
        os.close(self.end)


def die_with_parent() -> None:
    """From here on the parent's death is ours. The caller's own parent may be gone already: then now."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent or parent == 1:
        os._exit(1)


def serve(requests: socket.socket) -> socket.socket | None:
    """Fork until the host is gone. In a child: its channel."""
    host, children, poll = os.getppid(), dict[int, Child](), select.poll()
    poll.register(requests, select.POLLIN)
    while os.getppid() == host:
        for descriptor, _ in poll.poll(PATIENCE):
            if descriptor != requests.fileno():
                attend(children, descriptor, poll)
                continue
            packet, passed, *_ = socket.recv_fds(requests, 1, 1)
            if not packet:
                end(children)
                return None
            if not passed:
                continue  # the channel has not come; the host hears that it is closed
            if (pid := os.fork()) == 0:
                return become_child(requests, children, passed[0])
            adopt(Child(pid, passed[0], os.pidfd_open(pid)), children, poll)
    end(children)
    return None


def become_child(requests: socket.socket, children: dict[int, Child], channel: int) -> socket.socket:
    die_with_parent()
    requests.close()
    for descriptor in children:
        os.close(descriptor)
    return socket.socket(fileno=channel)


def adopt(child: Child, children: dict[int, Child], poll: select.poll) -> None:
    children |= {child.channel: child, child.end: child}
    # What comes by the channel is for the game to read; that the host has closed it is told unasked.
    poll.register(child.channel, 0)
    poll.register(child.end, select.POLLIN)


def attend(children: dict[int, Child], descriptor: int, poll: select.poll) -> None:
    child = children.get(descriptor)
    if child is None:
        return  # buried a moment ago
    for watched in (child.channel, child.end):
        poll.unregister(watched)
        del children[watched]
    child.bury()


def end(children: dict[int, Child]) -> None:
    for child in set(children.values()):
        child.bury()
