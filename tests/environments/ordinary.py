"""Runs a command as an ordinary user, started by root: `python ordinary.py HOME COMMAND…`.

The user has the same Python and the same checkout, though they may lie under a folder that only root
may enter, as /root is: in a mount namespace of its own that folder is laid over with an empty one, and
what is needed is shown in it again, at its place. Ends with status 77 where the system allows no mounts.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

USER = 12_345
ROOT = Path(__file__).resolve().parents[2]
CANNOT = 77

NEW_MOUNTS, BIND, RECURSIVE, PRIVATE = 0x20000, 4096, 16384, 1 << 18
DROP_BOUNDING = 24

libc = ctypes.CDLL(None, use_errno=True)


def main(home: str, *command: str) -> None:
    try:
        show({Path(sys.prefix), Path(sys.base_prefix), ROOT})
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(CANNOT)
    os.chown(home, USER, USER)
    become_ordinary()
    names = ("PATH", "LANG", "TZ", "ERRATA_DATA")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    os.execve(command[0], command, kept | {"HOME": home, "PYTHONDONTWRITEBYTECODE": "1"})


def show(needed: Iterable[Path]) -> None:
    checked(libc.unshare(NEW_MOUNTS))
    mount("none", "/", None, RECURSIVE | PRIVATE)
    closed: dict[Path, list[Path]] = {}
    for path in needed:
        for folder in path.parents[::-1]:
            if not folder.stat().st_mode & 0o001:
                closed.setdefault(folder, []).append(path)
                break
    for folder, paths in closed.items():
        held = [os.open(path, os.O_PATH) for path in paths]
        mount("none", folder, "tmpfs", 0, "size=1m,mode=755")
        for path, descriptor in zip(paths, held, strict=True):
            path.mkdir(parents=True)
            mount(f"/proc/self/fd/{descriptor}", path, None, BIND | RECURSIVE)
            os.close(descriptor)


def mount(source: str, target: str | Path, kind: str | None, flags: int, options: str = "") -> None:
    name = None if kind is None else kind.encode()
    checked(libc.mount(source.encode(), os.fsencode(target), name, ctypes.c_ulong(flags), options.encode()))


def become_ordinary() -> None:
    for capability in range(64):
        libc.prctl(DROP_BOUNDING, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    os.chdir(ROOT)


def checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
