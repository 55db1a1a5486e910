"""Ends every kernel's process group and removes their folder when the host is gone, however it went.

Run as `python -I -S warden_process.py FOLDER`, with a pipe from the host on stdin that carries lines
`+GROUP` and `-GROUP`. End of file is the host's end. A process that has called `setsid` itself has
left its group and is out of reach here: only isolation (a PID namespace, a cgroup) holds that one.
"""

import os
import select
import signal
import sys

PATIENCE = 1.0
"""Seconds between looks at the parent: a process forked by the host may hold the pipe's other end open."""


def main(folder: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in wards():
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            continue
    import shutil  # here, for it holds more memory than the rest of this process

    shutil.rmtree(folder, ignore_errors=True)


def wards() -> set[int]:
    """The groups that are left when the host ends."""
    parent, groups, pending = os.getppid(), set[int](), b""
    while True:
        if not select.select([0], [], [], PATIENCE)[0]:
            if os.getppid() != parent:
                return groups
            continue
        received = os.read(0, 4096)
        if not received:
            return groups
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))


if __name__ == "__main__":
    main(sys.argv[1])
