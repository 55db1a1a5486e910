"""The levels of isolation, each as what it does and when.

A server `enter`s its level before it imports anything that is not ours. A kernel is `born` into it,
goes `inside` once it has been told what it is to be, and is `shut` in when its sockets are bound.
"""

import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from environments.kernels.forkserver_process import confinement, namespaces, syscalls, visible
from environments.kernels.limits import Limits


@dataclass(frozen=True, slots=True)
class Inmate:
    """What a kernel's walls must know of it."""

    folder: Path
    """Its own, where its sockets are; work and temporary files, too, where it has no room."""
    user: int
    limits: Limits

    @classmethod
    def told(cls, told: Mapping[str, Any]) -> "Inmate":
        return cls(Path(told["folder"]), told["user"], Limits(**told["limits"]))


class Walls(Protocol):
    def enter(self, run: Path) -> None:
        """The server's part, once. May return in a child process."""

    def fork(self) -> int:
        """A kernel's birth."""

    def inside(self, inmate: Inmate) -> None:
        """For a kernel that has neither threads nor sockets yet."""

    def shut(self) -> None:
        """For a kernel that has made what it needs."""


class NoWalls:
    """A process like any other of this user's."""

    def enter(self, run: Path) -> None:
        syscalls.adopt_orphans()

    def fork(self) -> int:
        server = os.getpid()
        if (pid := os.fork()) == 0:
            syscalls.adopt_orphans()
            syscalls.die_with_parent(signal.SIGKILL)
            if os.getppid() != server:
                os._exit(1)  # it died before it could have been noticed
        return pid

    def inside(self, inmate: Inmate) -> None:
        pass

    def shut(self) -> None:
        pass


class Confined(NoWalls):
    """Landlock, seccomp, and a limit on what a process may use."""

    def enter(self, run: Path) -> None:
        super().enter(run)
        confinement.prepare()
        self._readable = [
            (path, confinement.READ if whole else confinement.LIST)
            for path, whole in visible.without_ours(visible.readable())
        ]
        self._filter = confinement.system_calls(in_the_open=True)

    def inside(self, inmate: Inmate) -> None:
        limit(inmate.limits)
        syscalls.lower_bounds()
        syscalls.drop_capabilities()
        folder = inmate.folder
        own = [(folder / name, confinement.WRITE) for name in ("scratch", "tmp", "ipython")]
        sockets = [(folder, confinement.SOCKETS), (folder / "connection.json", confinement.READ)]
        devices = [(Path(device), confinement.DEVICE) for device in visible.DEVICES]
        confinement.confine_files([*self._readable, *own, *sockets, *devices, (Path("/proc/self"), confinement.READ)])

    def shut(self) -> None:
        self._filter.load()


class Walled:
    """Namespaces, and Landlock and seccomp within them."""

    def enter(self, run: Path) -> None:
        self._covered = namespaces.enter_world(run)
        confinement.prepare()
        self._filter = confinement.system_calls(in_the_open=False)

    def fork(self) -> int:
        # The next child is number 1 of new processes; what is forked after that is to be among ours again.
        ours = os.pidfd_open(os.getpid())
        syscalls.unshare(syscalls.NEW_PIDS)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                syscalls.join(ours, syscalls.NEW_PIDS)
                os.close(ours)
        return pid

    def inside(self, inmate: Inmate) -> None:
        namespaces.enter_room(inmate.folder, inmate.user, inmate.limits, self._covered)
        namespaces.become(inmate.user)
        limit(inmate.limits)
        # Counted apart from everybody else's: the user is the kernel's own.
        cap(resource.RLIMIT_NPROC, inmate.limits.processes)
        room = [(Path(place), confinement.WRITE) for place in namespaces.ROOM]
        devices = [(Path(device), confinement.DEVICE) for device in visible.DEVICES]
        sockets = (Path(namespaces.SOCKETS), confinement.SOCKETS)
        confinement.confine_files([(Path("/"), confinement.READ), *room, *devices, sockets])

    def shut(self) -> None:
        self._filter.load()


LEVELS: Mapping[str, type[Walls]] = {
    "namespaces": Walled,
    "user-namespaces": Walled,
    "landlock": Confined,
    "none": NoWalls,
}
"""What the first has more than the second, the host does: a cgroup, and a user for each kernel."""


def limit(limits: Limits) -> None:
    """What each process may use."""
    cap(resource.RLIMIT_CORE, 0)
    cap(resource.RLIMIT_NOFILE, limits.open_files)
    cap(resource.RLIMIT_FSIZE, limits.file_size)
    cap(resource.RLIMIT_CPU, limits.cpu)
    # Private memory; Python turns a refusal into MemoryError. Shared memory is counted by the other only.
    mapped, private = sizes()
    cap(resource.RLIMIT_DATA, private + limits.memory)
    cap(resource.RLIMIT_AS, mapped + 2 * limits.memory)


def cap(what: int, most: int) -> None:
    _, allowed = resource.getrlimit(what)
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(what, (most, most))


def sizes() -> tuple[int, int]:
    """Bytes of addresses that a kernel has from the start, libraries for the most part, and of private ones."""
    pages = [int(number) for number in Path("/proc/self/statm").read_text().split()]
    return pages[0] * resource.getpagesize(), pages[5] * resource.getpagesize()
