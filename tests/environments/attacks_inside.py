"""What the cell of an attack finds defined; it is sent to a kernel as source, and imports nothing of ours.

An attack that is refused raises `OSError`, as any Python code would: so system calls do here, and so does
what a child of the kernel tries in its place.
"""

import ctypes
import errno
import glob
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

decoy: dict[str, Any] = {}
"""Where the tests have planted what."""

# A system call's number on x86-64 and on 64-bit ARM.
NUMBERS = {
    "add_key": (248, 217), "bpf": (321, 280), "capset": (126, 91), "chroot": (161, 51), "clone": (56, 220),
    "clone3": (435, 435), "delete_module": (176, 106), "fanotify_init": (300, 262), "finit_module": (313, 273),
    "fsopen": (430, 430), "init_module": (175, 105), "io_setup": (206, 0), "io_uring_setup": (425, 425),
    "iopl": (172, None), "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "listmount": (458, 458), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "migrate_pages": (256, 238), "modify_ldt": (154, None), "mount": (165, 40),
    "mount_setattr": (442, 442), "move_pages": (279, 239), "mq_open": (240, 180), "msgget": (68, 186),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "open_tree": (428, 428),
    "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438), "pivot_root": (155, 41),
    "process_madvise": (440, 440), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "quotactl": (179, 60), "reboot": (169, 142), "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138), "seccomp": (317, 277), "semget": (64, 190), "sethostname": (170, 161),
    "setns": (308, 268), "setuid": (105, 146), "shmat": (30, 196), "shmget": (29, 194), "swapon": (167, 224),
    "syslog": (103, 116), "tgkill": (234, 131), "umount2": (166, 39), "unshare": (272, 97), "userfaultfd": (323, 282),
}  # fmt: skip

# It keeps the interpreter's lock meanwhile, or a child made by a bare call would wait for it for ever.
libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def call(name: str, *arguments: Any, though: int = 0) -> int:
    """Raises `OSError`, but for `though`: an answer that only code past every check gives."""
    number = NUMBERS[name][os.uname().machine == "aarch64"]
    if number is None:
        raise OSError(errno.ENOSYS, name)
    return numbered(number, *arguments, though=though)


def numbered(number: int, *arguments: Any, though: int = 0) -> int:
    return checked(libc.syscall(ctypes.c_long(number), *map(word, arguments)), though)


def word(argument: Any) -> Any:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def checked(result: int, though: int = 0) -> int:
    if result == -1 and ctypes.get_errno() != though:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def in_child(act: Callable[[], object]) -> None:
    """Try what would change the process that does it."""
    hears, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = 0
        try:
            act()
        except OSError as error:
            said = error.errno or errno.EIO
        except BaseException:
            said = errno.ENOTRECOVERABLE
            raise
        finally:
            os.write(tells, str(said).encode())
            os._exit(0)
    os.close(tells)
    heard = os.read(hears, 10)
    os.close(hears)
    _, status = os.waitpid(pid, 0)
    if heard != b"0":
        number = int(heard or errno.EPERM)
        raise OSError(number, os.strerror(number) if heard else f"the child was killed ({status})")


def as_somebody_else(act: Callable[[], object]) -> None:
    """For whom a user namespace may have no number, which the system calls an invalid argument."""
    try:
        in_child(act)
    except OSError as error:
        raise OSError(errno.EPERM if error.errno == errno.EINVAL else error.errno, str(error)) from None


def is_secret(text: bytes) -> bool:
    # Only its digest is known in here, or a search of this very process would find it.
    found = re.findall(rb"sk-planted-[0-9a-f]{24}", text)
    return any(hashlib.sha256(match).hexdigest() == decoy["digest"] for match in found)


def search(*patterns: str) -> str:
    """The first of the files that holds the secret."""
    for path in (Path(path) for pattern in patterns for path in glob.glob(pattern, recursive=True)):  # noqa: PTH207
        with suppress(OSError):
            if is_secret(path.read_bytes()[: 1 << 20]):
                return str(path)
    raise FileNotFoundError(errno.ENOENT, "the secret is in none of them", str(patterns))


def any_of(targets: Iterable[Any], act: Callable[[Any], object]) -> None:
    """Do it to each; refused if refused by all."""
    refusals = []
    targets = list(targets)
    for target in targets:
        try:
            act(target)
        except OSError as error:
            refusals.append(error)
    if len(refusals) == len(targets):
        raise refusals[0]


def times(most: int, act: Callable[[int], object]) -> int:
    """How often it can be done."""
    for number in range(most):
        try:
            act(number)
        except (OSError, RuntimeError, MemoryError):
            return number
    return most


def crowd(number: int, act: Callable[[], object]) -> int:
    """How many children of `number` live at the same time, each having done it."""
    hears, tells = os.pipe()
    stays, leaves = os.pipe()
    living, told = set[int](), 0
    os.set_blocking(hears, False)
    while len(living) < number:
        try:
            pid = os.fork()
        except OSError:
            break
        if pid == 0:
            try:
                os.close(leaves)
                kept = act()  # to the end, or the next could have the same
                os.write(tells, b"!" if kept is not None else b"?")
                os.read(stays, 1)
            finally:
                os._exit(0)
        living.add(pid)
    while told < len(living):
        living -= {pid for pid in living if os.waitpid(pid, os.WNOHANG)[0]}
        try:
            told += len(os.read(hears, 1000))
        except BlockingIOError:
            time.sleep(0.01)
    for descriptor in (hears, tells, stays, leaves):
        os.close(descriptor)
    for pid in living:
        os.waitpid(pid, 0)
    return len(living)
