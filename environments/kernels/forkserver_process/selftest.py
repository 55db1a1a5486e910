"""Raises a level's walls around one process, which then tries what they are to prevent.

Run as `python -m environments.kernels.forkserver_process.selftest LEVEL FOLDER USER`, once a line has come
on stdin. Says `sound`, or what was not.
"""

import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from environments.kernels.forkserver_process import syscalls
from environments.kernels.forkserver_process.walls import LEVELS, Inmate
from environments.kernels.limits import Limits

MEMORY = 512 << 20


def main(level: str, folder: str, user: str) -> int:
    sys.stdin.readline()
    run, host = Path(folder), os.getppid()
    walls = LEVELS[level]()
    walls.enter(run)
    if (pid := walls.fork()) != 0:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    walls.inside(Inmate(run / "kernel", int(user), Limits(memory=MEMORY)))
    walls.shut()
    attacks: dict[str, Callable[[], object]] = {
        "a file outside can be read": (run / "secret").read_text,
        "a file outside can be written": lambda: (run / "written").write_text(""),
        "the mode of a file outside can be changed": lambda: (run / "secret").chmod(0o777),
        "another process can be signalled": lambda: os.kill(host, 0),
        "another process can be limited": lambda: resource.prlimit(host, resource.RLIMIT_CORE),
        "datagrams can be sent": lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_RAW),
        "another process's environment can be read": Path(f"/proc/{host}/environ").read_bytes,
        "a socket can be made": socket.socket,
        "a namespace can be made": lambda: syscalls.unshare(syscalls.NEW_USERS),
        "memory has no limit": lambda: bytearray(2 * MEMORY),
    }
    print(next((what for what, attack in attacks.items() if succeeds(attack)), "sound"), flush=True)  # noqa: T201
    return 0


def succeeds(attack: Callable[[], object]) -> bool:
    try:
        attack()
    except (OSError, MemoryError):
        return False
    return True


if __name__ == "__main__":
    try:
        status = main(*sys.argv[1:])
    except OSError as error:
        print(error.strerror, flush=True)  # noqa: T201
        status = 1
    os._exit(status)
