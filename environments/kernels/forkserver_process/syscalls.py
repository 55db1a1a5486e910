"""The system calls walls are made of: Python has none of them in every version we support.

Each raises `OSError` with the call's name. `landlockpy` and `seccompy` do those of their own field.
"""

import ctypes
import os
import struct
from typing import Any, Final

from seccompy import syscall_nr

NEW_MOUNTS: Final = 0x00020000
NEW_HOSTNAME: Final = 0x04000000
NEW_IPC: Final = 0x08000000
NEW_USERS: Final = 0x10000000
NEW_PIDS: Final = 0x20000000
NEW_NETWORK: Final = 0x40000000

NO_SUID: Final = 2
NO_DEVICES: Final = 4
NO_EXECUTION: Final = 8
BIND: Final = 4096
RECURSIVE: Final = 16384
PRIVATE: Final = 1 << 18

_READ_ONLY_ATTRIBUTES: Final = 1 | 2 | 4  # read-only, no suid, no devices
_AT_RECURSIVE: Final = 0x8000
_DETACH: Final = 2
_HERE: Final = -100

_PDEATHSIG, _DUMPABLE, _DROP_BOUNDING, _SUBREAPER, _CLEAR_AMBIENT = 1, 4, 24, 36, 47
_CAPABILITY_VERSION: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(namespaces: int) -> None:
    _call("unshare", _libc.unshare(namespaces))


def join(descriptor: int, kind: int) -> None:
    _call("setns", _libc.setns(descriptor, kind))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    data = None if options is None else options.encode()
    _call(f"mount {target}", _libc.mount(*texts, ctypes.c_ulong(flags), data))


def make_read_only(path: str, *, beneath: bool = False) -> None:
    """The mount at `path`: no writing, no setuid programs, no devices; mounts beneath it, too, where that is said."""
    attributes = struct.pack("QQQQ", _READ_ONLY_ATTRIBUTES, 0, 0, 0)
    flags = _AT_RECURSIVE if beneath else 0
    _call(f"mount_setattr {path}", _syscall("mount_setattr", _HERE, os.fsencode(path), flags, attributes, 32))


def change_root(root: str) -> None:
    """See only what is beneath `root` from now on."""
    os.chdir(root)
    _call(f"pivot_root {root}", _syscall("pivot_root", b".", b"."))
    _call("umount2", _libc.umount2(b".", _DETACH))
    os.chdir("/")


def lower_bounds() -> None:
    """No program can give a capability back. As far as one may: without the right to, no_new_privs says the same."""
    number = 0
    while _prctl(_DROP_BOUNDING, number) == 0:
        number += 1


def drop_capabilities() -> None:
    """All of them, for good."""
    _call("prctl", _prctl(_CLEAR_AMBIENT, 4))
    _call("capset", _syscall("capset", struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24)))


def die_with_parent(number: int) -> None:
    _call("prctl", _prctl(_PDEATHSIG, number))


def adopt_orphans() -> None:
    """Be the parent of every descendant whose own parent ends."""
    _call("prctl", _prctl(_SUBREAPER, 1))


def show_to_itself() -> None:
    """Let a process see its own files under /proc again, which a change of user hides."""
    _call("prctl", _prctl(_DUMPABLE, 1))


def _prctl(option: int, argument: int) -> int:
    return int(_libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0))


def _syscall(name: str, *arguments: Any) -> int:
    return int(_libc.syscall(syscall_nr(name), *arguments))


def _call(what: str, result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
