"""Ends every kernel's process group and removes their folder when the host is gone, however it went.

Run as `python -I -S warden_process.py FOLDER`, with a pipe from the host on stdin that carries lines
`+GROUP` and `-GROUP`, and the paths of folders of control groups. End of file is the host's end. A process
that has called `setsid` itself has left its group and is out of reach here: only isolation holds that one.
"""

import contextlib
import os
import select
import signal
import sys
import time

ATTEMPTS, PAUSE = 100, 0.05
"""At removing a control group, which has to wait until its processes are gone; seconds between them."""

FAREWELL = 2.0
"""Seconds that servers have to end by themselves."""

PATIENCE = 1.0
"""Seconds between looks at the parent: a process forked by the host may hold the pipe's other end open."""


def main(folder: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups, cgroups = wards()
    # A server that is left hears of the host's end, too, and ends what its kernels have left behind; give it a moment.
    deadline = time.monotonic() + FAREWELL
    while any(map(lives, groups)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except OSError:
            continue
    import shutil  # here, for it holds more memory than the rest of this process

    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        # Too deep to walk through, or shut against us.
        for command in (["chmod", "-R", "u+rwX", folder], ["rm", "-rf", "--", folder]):
            os.spawnvp(os.P_WAIT, command[0], command)  # noqa: S606
    for cgroup in cgroups:
        remove(cgroup)


def wards() -> tuple[set[int], list[bytes]]:
    """The groups of processes that are left when the host ends, and the folders of control groups."""
    parent, groups, cgroups, pending = os.getppid(), set[int](), list[bytes](), b""
    while True:
        if not select.select([0], [], [], PATIENCE)[0]:
            if os.getppid() != parent:
                return groups, cgroups
            continue
        received = os.read(0, 4096)
        if not received:
            return groups, cgroups
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            if line[:1] == b"/":
                cgroups.append(line)
            else:
                (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def remove(cgroup: bytes) -> None:
    for _ in range(ATTEMPTS):
        try:
            for child in [entry.path for entry in os.scandir(cgroup) if entry.is_dir()]:
                os.rmdir(child)  # noqa: PTH106  # pathlib is not worth its memory here
            os.rmdir(cgroup)  # noqa: PTH106
        except OSError:
            if not os.path.exists(cgroup):  # noqa: PTH110
                return
            time.sleep(PAUSE)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1])
