"""Walls of namespaces: the server moves into a small world of its own, and each kernel into a room of it.

The server's world has no network, and of the files only what `visible` names, read-only. A kernel has
besides its own processes (it is number 1, so that all it has started ends with it), a home of limited
size, and no view of its neighbours' rooms. The world is laid once: a room costs a few mounts.

As root every kernel becomes a user of its own. An ordinary user's server first becomes root of a user
namespace, and each kernel goes into one more, so that its processes are counted apart.
"""

import os
import select
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from environments.kernels.forkserver_process import syscalls as system
from environments.kernels.forkserver_process import visible
from environments.kernels.limits import Limits

ROOM = "/home/user", "/tmp", "/dev/shm"  # noqa: S108  # in a world of its own
COVERED = Path("/covered")
"""Where the world keeps what a room's own folders would cover: a Python that is installed beneath one of them."""
SOCKETS = "/room"
"""Where a kernel sees its folder of the run."""

LONELY = system.NEW_MOUNTS | system.NEW_NETWORK | system.NEW_IPC | system.NEW_HOSTNAME | system.NEW_PIDS


def enter_world(run: Path) -> list[Path]:
    """Move this process into a world where only the run's folder can be written to. Returns in a child process.

    What it returns is for `enter_room`.
    """
    if os.geteuid() == 0:
        system.unshare(LONELY)
    else:
        user, group = os.getuid(), os.getgid()
        system.unshare(LONELY | system.NEW_USERS)
        stay(user, group)
    if (child := os.fork()) != 0:
        wait_for(child)
    system.die_with_parent(signal.SIGKILL)
    return lay_world(run)


def stay(user: int, group: int) -> None:
    """Be who one was in the user namespace that one has just made."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text)


def wait_for(child: int) -> None:
    """End as the child does, or with the host. Does not return."""
    host, ended = os.getppid(), select.poll()
    ended.register(os.pidfd_open(child), select.POLLIN)
    while not ended.poll(1_000):
        if os.getppid() != host:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if (code := os.waitstatus_to_exitcode(status)) < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code)


def lay_world(run: Path) -> list[Path]:
    """The readable paths that a room is to uncover, in the order they are kept."""
    os.umask(0o022)  # what is laid here is for all kernels' users to pass through
    socket.sethostname("kernel")
    world = run / "world"
    system.mount("none", "/", flags=system.RECURSIVE | system.PRIVATE)
    system.mount("world", str(world), "tmpfs", system.NO_SUID | system.NO_DEVICES, "size=1m,mode=755")
    readable = visible.readable()
    for path in readable:
        show(path, within(world, path))
    for path in visible.hidden():
        system.mount("nothing", str(within(world, path)), "tmpfs", options="size=4k,mode=755,ro")
    covered = [path for path in readable if any(path.is_relative_to(place) for place in ROOM)]
    for number, path in enumerate(covered):
        show(within(world, path), within(world, COVERED / str(number)))  # with what is hidden beneath it
    for device in visible.DEVICES:
        bind(Path(device), within(world, device))
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        within(world, f"/dev/{name}").symlink_to(f"/proc/self/fd{target}")
    bind(run, within(world, run), flags=system.BIND)  # without the world that is being laid in it
    for folder in (*ROOM, SOCKETS, "/proc"):
        within(world, folder).mkdir(parents=True, exist_ok=True)
    lay_proc(str(world / "proc"))
    system.change_root(str(world))
    return covered


def within(world: Path, path: Path | str) -> Path:
    return world / Path(path).relative_to("/")


def show(path: Path, place: Path) -> None:
    """Read-only, with what is mounted beneath it. A link stays a link."""
    if path.is_symlink():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.readlink())
        return
    bind(path, place)
    system.make_read_only(str(place), beneath=True)


def bind(path: Path, place: Path, flags: int = system.BIND | system.RECURSIVE) -> None:
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    system.mount(str(path), str(place), flags=flags)


def lay_proc(place: str) -> None:
    """Of this process's own namespace. Refused to ordinary users where the machine's is masked, as in containers."""
    system.mount("proc", place, "proc", system.NO_SUID | system.NO_DEVICES | system.NO_EXECUTION)


def enter_room(folder: Path, user: int, limits: Limits, covered: Sequence[Path]) -> None:
    """For process 1 of new processes: see only its own folder of the run, and have a home. Still with all rights."""
    group = user if os.geteuid() == 0 else os.getgid()
    flags = system.NO_SUID | system.NO_DEVICES
    system.unshare(system.NEW_MOUNTS)
    system.mount(str(folder), SOCKETS, flags=system.BIND)
    system.mount("nothing", str(folder.parent), "tmpfs", flags, "size=4k,mode=555,ro")
    for place in ROOM:
        options = f"size={limits.disk},nr_inodes={limits.files},mode=700,uid={user},gid={group}"
        system.mount("room", place, "tmpfs", flags, options)
    for number, path in enumerate(covered):
        show(COVERED / str(number), path)
    lay_proc("/proc")
    system.make_read_only("/")


def become(user: int) -> None:
    """A user of its own, with no rights over anything else."""
    if os.geteuid() == 0:
        system.lower_bounds()
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    else:
        group = os.getgid()
        system.unshare(system.NEW_USERS)
        stay(user, group)
        system.lower_bounds()
    system.drop_capabilities()
    system.show_to_itself()
