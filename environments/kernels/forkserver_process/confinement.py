"""Walls that need no privilege: Landlock for files, signals and ports, seccomp for system calls.

Landlock comes before the kernel has threads, for it binds only the one that calls it. The filter of
system calls comes once the kernel's own sockets are bound, for all threads: from then on no process
of the kernel can make a socket at all, whatever it can see.
"""

import errno
import stat
from collections.abc import Iterable
from pathlib import Path

from landlockpy import AccessFS, Ruleset, Scope, abi_version
from seccompy import Action, CmpOp, Filter, FilterFlag, arch, flag_supported
from seccompy.syscalls import AARCH64_SYSCALLS, X86_64_SYSCALLS

LIST = AccessFS.READ_DIR
READ = LIST | AccessFS.READ_FILE | AccessFS.EXECUTE
WRITE = (
    READ | AccessFS.WRITE_FILE | AccessFS.TRUNCATE | AccessFS.REFER | AccessFS.REMOVE_DIR | AccessFS.REMOVE_FILE
    | AccessFS.MAKE_DIR | AccessFS.MAKE_REG | AccessFS.MAKE_SYM | AccessFS.MAKE_FIFO
)  # fmt: skip
SOCKETS = AccessFS.MAKE_SOCK
DEVICE = AccessFS.READ_FILE | AccessFS.WRITE_FILE
OF_FILES = AccessFS.EXECUTE | AccessFS.READ_FILE | AccessFS.WRITE_FILE | AccessFS.TRUNCATE

ALL_THREADS = FilterFlag.TSYNC | FilterFlag.TSYNC_ESRCH
"""Or an error: without the second, a thread that cannot be bound is told of by a result that nobody reads."""

NEEDED_ABI = 6
"""With it a process can be kept from signalling others and from abstract sockets (Linux 6.12)."""


def prepare() -> None:
    """To be done once, before any kernel is forked. Raises `OSError` where the system cannot promise what is needed."""
    # Both look for the C library when first asked, by running programs.
    if abi_version() < NEEDED_ABI:
        raise OSError(errno.EOPNOTSUPP, f"Landlock ABI {NEEDED_ABI} is needed, the system has {abi_version()}")
    if not flag_supported(ALL_THREADS):
        raise OSError(errno.EOPNOTSUPP, "seccomp filters cannot be had")


def confine_files(allowed: Iterable[tuple[Path, AccessFS]]) -> None:
    """Nothing but what is allowed, of what is there. Signals and abstract sockets within the kernel only."""
    with Ruleset(scoped=Scope.ABSTRACT_UNIX_SOCKET | Scope.SIGNAL) as rules:
        for path, access in allowed:
            if path.exists():
                rules.allow_path(path, access if path.is_dir() else access & OF_FILES)
        rules.restrict()


# -- system calls ------------------------------------------------------------------------------

REFUSED = {
    "other worlds": "unshare setns mount umount2 pivot_root chroot move_mount open_tree open_tree_attr fsopen fsconfig "
    "fsmount fspick mount_setattr statmount listmount listns",
    "other processes": "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd "
    "migrate_pages move_pages",
    "who is not in the kernel": "socket connect bind listen sendmmsg shmget shmat shmctl shmdt semget semop semctl "
    "semtimedop semtimedop_time64 msgget msgsnd msgrcv msgctl mq_open mq_unlink",
    "memory that no limit counts": "memfd_create memfd_secret",
    "the system's keys and programs": "add_key request_key keyctl bpf perf_event_open userfaultfd seccomp uprobe "
    "uretprobe io_uring_setup io_uring_enter io_uring_register io_setup io_submit landlock_create_ruleset "
    "landlock_add_rule landlock_restrict_self lsm_set_self_attr lsm_get_self_attr lsm_list_modules",
    "files by handle, watched, or of a disk": "name_to_handle_at open_by_handle_at inotify_init inotify_init1 "
    "inotify_add_watch fanotify_init fanotify_mark quotactl quotactl_fd lookup_dcookie ustat sysfs",
    "the machine": "reboot kexec_load kexec_file_load init_module finit_module delete_module swapon swapoff syslog "
    "acct settimeofday clock_settime clock_settime64 clock_adjtime clock_adjtime64 adjtimex sethostname setdomainname "
    "iopl ioperm modify_ldt personality uselib vhangup nfsservctl _sysctl create_module get_kernel_syms query_module "
    "vserver afs_syscall tuxcall security getpmsg putpmsg",
}
"""What they reach → which. Refused with EPERM, as by any system that forbids them."""

REFUSED_IN_THE_OPEN = (
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat setxattr lsetxattr "
    "fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr"
)
"""What changes a file that one can only read. Landlock lets it pass, so it is refused where others' are in sight."""

MISSING = {"clone3"}
"""As if the system were older: its flags lie in memory, where no filter can look, and libc then uses `clone`."""

NEW_NAMESPACE = 0x80, 0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_PTRACER = 1, 0x59616D61
AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_TYPE = 1, 2, 3, 0xF
PRIO_PROCESS, ITSELF = 0, 0
TIOCSTI, TIOCLINUX, INT = 0x5412, 0x541C, 0xFFFFFFFF
SET_FILE_FLAGS = 0x40086602, 0x40046602, 0x401C5820

Condition = tuple[int, CmpOp, int] | tuple[int, CmpOp, int, int]
"""Which argument, how compared, with what, and which of its bits count."""


def _any_of(argument: int, values: Iterable[int], mask: int | None = None) -> list[Condition]:
    return [(argument, CmpOp.MASKED_EQ, value, value if mask is None else mask) for value in values]


REFUSED_WITH: dict[str, list[Condition]] = {
    "clone": _any_of(0, NEW_NAMESPACE),
    "prctl": _any_of(0, (PR_SET_PDEATHSIG, PR_SET_PTRACER), INT),
    # A pair of datagram sockets could still be sent from to anyone's address; raw ones are made datagram sockets.
    "socketpair": [(0, CmpOp.NE, AF_UNIX), *_any_of(1, (SOCK_DGRAM, SOCK_RAW), SOCK_TYPE)],
    "ioctl": _any_of(1, (TIOCSTI, TIOCLINUX), INT),
    "mknod": _any_of(1, (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK), 0o170000),
    "mknodat": _any_of(2, (stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK), 0o170000),
}
"""Refused with these arguments. A condition is enough."""


OF_A_PROCESS = "prlimit64 sched_setaffinity sched_setparam sched_setattr"
NOT_FOR_OTHERS = "sched_setscheduler"
"""Does nothing for any but the caller, and says that it did: zmq asks it for each thread it starts, by number."""
REFUSED_WITH_IN_THE_OPEN: dict[str, list[Condition]] = {
    "ioctl": [*REFUSED_WITH["ioctl"], *_any_of(1, SET_FILE_FLAGS, INT)],
    # Of another process of the same user, whom nothing else keeps apart here.
    **{name: [(0, CmpOp.NE, ITSELF)] for name in OF_A_PROCESS.split()},
    "setpriority": [(0, CmpOp.NE, PRIO_PROCESS), (1, CmpOp.NE, ITSELF)],
    "ioprio_set": [(0, CmpOp.NE, 1), (1, CmpOp.NE, ITSELF)],
}


def system_calls(*, in_the_open: bool) -> Filter:
    """To be made once, before any kernel is forked. A call that is in no table, a newer one, is missing, too.

    `in_the_open` says that the machine's files are in sight, if out of reach.
    """
    rules = Filter(default=Action.ERRNO | errno.ENOSYS, flags=ALL_THREADS)
    refused = {name for names in REFUSED.values() for name in names.split()}
    refused_with = dict(REFUSED_WITH)
    if in_the_open:
        refused |= set(REFUSED_IN_THE_OPEN.split())
        refused_with |= REFUSED_WITH_IN_THE_OPEN
    for name in {"x86_64": X86_64_SYSCALLS, "aarch64": AARCH64_SYSCALLS}[arch()]:
        if name in refused:
            rules.errno(name, errno.EPERM)
        elif name not in MISSING:
            for condition in refused_with.get(name, ()):
                rules.errno(name, errno.EPERM, args=[condition])
            if in_the_open and name == NOT_FOR_OTHERS:
                rules.errno(name, 0, args=[(0, CmpOp.NE, ITSELF)])
            rules.allow(name)
    assert rules.program  # compiled here, and kept
    return rules
