"""Attacks by system calls no cell has a use for, and attempts to regain rights."""

import platform

import pytest

from environments.kernels import KernelSession
from tests.environments.attacks import carry_out, claims

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORLDS = {
    "users": 0x10000000, "mounts": 0x20000, "network": 0x40000000, "processes": 0x20000000,
    "shared memory": 0x08000000, "a host name": 0x04000000, "cgroups": 0x02000000, "clocks": 0x80,
}  # fmt: skip

# A bare call leaves the interpreter as it is: a child asked to yield to a thread that it lacks would wait for ever.
CHILD = """
import struct, sys
def bear(*arguments):
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    time.sleep(2 * usual)
    try:
        pid = call(*arguments)
        if pid == 0: os._exit(0)
    finally:
        sys.setswitchinterval(usual)
    os.waitpid(pid, 0)
"""

CALLS = {
    **{f"a world of {name}": f"in_child(lambda: call('unshare', {flag}))" for name, flag in WORLDS.items()},
    **{
        f"a child in a world of {name}": f"{CHILD}\nbear('clone', {flag} | 17, 0, 0, 0, 0)"
        for name, flag in WORLDS.items()
        if flag > 0xFF  # where a clone has its signal
    },
    "a child in a world of users, asked for in the new way": (
        f"{CHILD}\nflags = struct.pack('8Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0)\nbear('clone3', flags, 64)"
    ),
    "another's world": "in_child(lambda: call('setns', os.open('/proc/self/ns/uts', os.O_RDONLY), 0))",
    "the first process's world": "in_child(lambda: call('setns', os.open('/proc/1/ns/uts', os.O_RDONLY), 0))",
    "another's world, by its process": "in_child(lambda: call('setns', os.pidfd_open(os.getpid()), 0x04000000))",
    "a mount": (
        "os.makedirs('place', exist_ok=True)\n"
        "in_child(lambda: (call('mount', b'none', b'place', b'tmpfs', 0, None), call('umount2', b'place', 2)))"
    ),
    "a removed mount": "call('umount2', b'/no/such', 2, though=errno.ENOENT)",
    "a mount the new way": "os.close(call('fsopen', b'tmpfs', 0))",
    "a copy of a mount": "os.close(call('open_tree', -100, b'/', 1))",
    "a mount's attributes": "call('mount_setattr', -100, b'/no/such', 0, bytes(32), 32, though=errno.ENOENT)",
    "the list of mounts": "call('listmount', bytes(32), bytes(800), 100, 0, though=errno.EINVAL)",
    "another root": "in_child(lambda: os.chroot('/'))",
    "a turned root": "call('pivot_root', b'.', b'.', though=errno.EBUSY)",
    "io_uring": "os.close(call('io_uring_setup', 1, ctypes.create_string_buffer(120)))",
    "asynchronous input": "call('io_setup', 1, ctypes.byref(ctypes.c_ulong()))",
    "a table in the system": "import struct; os.close(call('bpf', 0, struct.pack('4I', 2, 4, 4, 1) + bytes(56), 72))",
    "a key of its own": "call('add_key', b'user', b'decoy', b'x', 1, -2)",
    "the user's keys": "call('keyctl', 0, -4, 1)",
    "a key by its name": "call('request_key', b'user', b'no such', None, -2, though=errno.ENOKEY)",
    "counters": (
        "import struct; os.close(call('perf_event_open', struct.pack('2I', 1, 64) + bytes(56), 0, -1, -1, 0))"
    ),
    "page faults": "os.close(call('userfaultfd', 1))",
    "all opened files": "os.close(call('fanotify_init', 0, 0))",
    "addresses that do not change": "in_child(lambda: call('personality', 0x0040000))",
    "being traced": "in_child(lambda: call('ptrace', 0, 0, 0, 0))",
    "listening to a filter": "call('seccomp', 1, 8, bytes(16), though=errno.EINVAL)",
    "memory without a name": "os.close(call('memfd_create', b'x', 0))",
    "memory that only it sees": "os.close(call('memfd_secret', 0))",
    "an other system": "call('kexec_load', 0, 0, None, 0)",
    "a module": "call('init_module', None, 0, b'', though=errno.ENOEXEC)",
    "a module of a file": "call('finit_module', -1, b'', 0, though=errno.EBADF)",
    "a removed module": "call('delete_module', b'no_such', 0, though=errno.ENOENT)",
    "swap": "call('swapon', b'/no/such', 0, though=errno.ENOENT)",
    "a restart": "call('reboot', 1, 2, 3, None, though=errno.EINVAL)",
    "the machine's name": (
        "name = os.fsencode(os.uname().nodename); in_child(lambda: call('sethostname', name, len(name)))"
    ),
    "the system's messages": "call('syslog', 10, None, 0)",
    "ports": "in_child(lambda: call('iopl', 3))",
    "segments": "in_child(lambda: call('modify_ldt', 1, bytes(16), 16))",
    "quotas": "call('quotactl', 0x80000100, None, 0, None, though=errno.ENODEV)",
}


@pytest.mark.parametrize("code", CALLS.values(), ids=CALLS)
async def test_a_system_call_no_cell_needs_is_refused(attacker: KernelSession, level: str, code: str) -> None:
    await carry_out(code, attacker, level, "syscalls")


# eax = edi, ebx = esi, ecx = edx; int 0x80
MACHINE_CODE = """
import mmap
code = bytes.fromhex('53 89f8 89f3 89d1 cd80 5b c3')
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
old = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_int] * 3)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
def as_of_old(number, first, second):
    if (result := old(number, first, second)) < 0:
        raise OSError(-result, os.strerror(-result))
"""

OTHER_NUMBERS = {
    "of 32 bits": f"{MACHINE_CODE}\nin_child(lambda: as_of_old(310, 0x04000000, 0))",
    "of 32 bits, for a socket": f"{MACHINE_CODE}\nin_child(lambda: as_of_old(359, 1, 1))",
    "of the x32 kind": "in_child(lambda: numbered(0x40000000 | 272, 0x04000000))",
    "with bits that are cut off": "in_child(lambda: numbered(1 << 32 | 272, 0x04000000))",
}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has other numbers")
@pytest.mark.parametrize("code", OTHER_NUMBERS.values(), ids=OTHER_NUMBERS)
async def test_no_other_numbers_lead_to_a_refused_call(attacker: KernelSession, level: str, code: str) -> None:
    await carry_out(code, attacker, level, "syscalls")


# -- rights ------------------------------------------------------------------------------------

REGAINING = {
    "a user's rights": "as_somebody_else(lambda: os.setuid(os.getuid() + 1))",
    "a group's rights": "as_somebody_else(lambda: os.setgid(os.getgid() + 1))",
    "another's groups": "as_somebody_else(lambda: os.setgroups([1]))",
    "root": "as_somebody_else(lambda: (os.setresuid(0, 0, 0), os.chroot('/')))",
    "a capability": (
        "import struct\nmark, right = struct.pack('Ii', 0x20080522, 0), struct.pack('6I', *[1 << 21] * 2, *[0] * 4)\n"
        "in_child(lambda: call('capset', mark, right))"
    ),
    "an ambient capability": "in_child(lambda: checked(libc.prctl(47, 2, 21, 0, 0)))",
    "a niceness": "in_child(lambda: os.nice(-5))",
    "a scheduler": "in_child(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))",
    "higher limits": (
        "import resource\nhard = resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1\n"
        "in_child(lambda: resource.prlimit(0, resource.RLIMIT_NOFILE, (hard, hard)))"
    ),
}


async def test_a_kernel_has_no_rights_and_can_gain_none(attacker: KernelSession, level: str) -> None:
    if not claims(level, "syscalls"):
        pytest.skip(f"level {level} does not claim 'syscalls'")
    status = (await attacker.run("print(open('/proc/self/status').read())")).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {fields[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


@pytest.mark.parametrize("code", REGAINING.values(), ids=REGAINING)
async def test_what_was_given_up_cannot_be_regained(attacker: KernelSession, level: str, code: str) -> None:
    await carry_out(code, attacker, level, "syscalls")
