"""Attacks on other processes: their memory, environment and descriptors, what they share, and their lives."""

import tempfile
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio

from environments.kernels import KernelHost, KernelSession
from tests.environments.attacks import assert_goes_on, carry_out, claims
from tests.environments.attacks_decoys import SECRET, Decoys

pytestmark = pytest.mark.asyncio(loop_scope="module")

VICTIM = "victim, address = decoy['victim'], decoy['address']\n"
VECTOR = (
    "mine = ctypes.create_string_buffer(64)\n"
    "local = (ctypes.c_size_t * 2)(ctypes.addressof(mine), 64)\n"
    "remote = (ctypes.c_size_t * 2)(address, 64)\n"
)

LOOKING = {
    "its environment": "print(open(f'/proc/{victim}/environ').read())",
    "the environment of anyone": "print(search('/proc/[0-9]*/environ'))",
    "the environment of a parent": "open(f'/proc/{os.getppid()}/environ').read()",
    "its command line": "open(f'/proc/{victim}/cmdline').read()",
    "its state": "open(f'/proc/{victim}/status').read()",
    "its memory": "memory = open(f'/proc/{victim}/mem', 'rb'); memory.seek(address); print(memory.read(64))",
    "the memory of a parent": "open(f'/proc/{os.getppid()}/mem', 'rb')",
    "its memory, by a call": f"{VECTOR}call('process_vm_readv', victim, local, 1, remote, 1, 0); print(mine.raw)",
    "its memory, written to": f"{VECTOR}call('process_vm_readv', victim, local, 1, remote, 1, 0)\n"
    "call('process_vm_writev', victim, local, 1, remote, 1, 0)",
    "its memory's places": "open(f'/proc/{victim}/maps').read()",
    "its open file": "print(open(f\"/proc/{victim}/fd/{decoy['descriptor']}\").read())",
    "its descriptor": "print(os.pread(call('pidfd_getfd', os.pidfd_open(victim), decoy['descriptor'], 0), 64, 0))",
    "its folder": "os.listdir(f'/proc/{victim}/cwd/')",
    "tracing it": "def act():\n    call('ptrace', 0x4206, victim, 0, 0)\nin_child(act)",
    "tracing a parent": "in_child(lambda: call('ptrace', 0x4206, os.getppid(), 0, 0))",
    "counting what it does": (
        "event = (1).to_bytes(4, 'little') + (64).to_bytes(4, 'little') + bytes(56)\n"
        "os.close(call('perf_event_open', event, victim, -1, -1, 0))"
    ),
    "comparing it": "call('kcmp', os.getpid(), victim, 1, 0, 0)",
    "its pages": "call('move_pages', victim, 1, (ctypes.c_void_p * 1)(address & -4096), None, (ctypes.c_int * 1)(), 0)",
    "advice to it": (
        "page = (ctypes.c_size_t * 2)(address & -4096, 4096)\n"
        "call('process_madvise', os.pidfd_open(victim), page, 1, 20, 0)"
    ),
    "its limits": "import resource; resource.prlimit(victim, resource.RLIMIT_CORE)",
    "its limits, changed": "import resource; resource.prlimit(victim, resource.RLIMIT_CORE, (0, 0))",
    "its priority": "os.setpriority(os.PRIO_PROCESS, victim, 1)",
    "its processors": "os.sched_setaffinity(victim, {0, 1})",
    "its scheduler": (
        "os.sched_setscheduler(victim, os.SCHED_BATCH, os.sched_param(0))\n"
        "if os.sched_getscheduler(victim) != os.SCHED_BATCH: raise PermissionError(1, 'nothing came of it')"
    ),
    "its disk's priority": "call('ioprio_set', 1, victim, 2 << 13 | 6)",
}


@pytest.mark.parametrize("code", LOOKING.values(), ids=LOOKING)
async def test_another_process_is_out_of_reach(attacker: KernelSession, level: str, code: str) -> None:
    await carry_out(VICTIM + code, attacker, level, "others")


SIGNALS = {
    "by number": "os.kill(victim, signal.SIGURG)",
    "by group": "os.killpg(victim, signal.SIGURG)",
    "by descriptor": "signal.pidfd_send_signal(os.pidfd_open(victim), signal.SIGURG)",
    "by thread": "call('tgkill', victim, victim, signal.SIGURG)",
    "with a value": (
        "import struct; call('rt_sigqueueinfo', victim, signal.SIGURG, struct.pack('3i', 23, 0, -1) + bytes(116))"
    ),
    "by the owner of a pipe": (
        "import fcntl\nhears, tells = os.pipe()\nfcntl.fcntl(hears, fcntl.F_SETOWN, victim)\n"
        "fcntl.fcntl(hears, 10, signal.SIGURG)\nfcntl.fcntl(hears, fcntl.F_SETFL, os.O_ASYNC)\n"
        "os.write(tells, b'!')"
    ),
    # Harmless to whom it should not reach: nobody minds this signal who has not asked for it.
    "to everyone": "os.kill(-1, signal.SIGURG) if walled else os.kill(victim, signal.SIGURG)",
}


@pytest.mark.parametrize("code", SIGNALS.values(), ids=SIGNALS)
async def test_no_signal_reaches_another_process(
    attacker: KernelSession, level: str, decoys: Decoys, code: str
) -> None:
    decoys.signalled()
    walled = claims(level, "others")
    result = await attacker.run(f"import signal; walled = {walled}\n{VICTIM}{code}\nimport time; time.sleep(0.1)")
    if level != "none" and not walled:
        pytest.skip(f"level {level} does not claim 'others'")
    # A signal to all whom it may concern is no error where that is nobody.
    assert decoys.signalled() == (not walled), result
    await assert_goes_on(attacker)


SHARED = {
    "memory of System V": (
        "libc.shmat.restype = ctypes.c_void_p\nnumber = checked(libc.shmget(decoy['memory'], 0, 0))\n"
        "print(ctypes.string_at(libc.shmat(number, None, 0o10000)))"
    ),
    "a queue of System V": "number = checked(libc.msgget(4711, 0o1600)); checked(libc.msgctl(number, 0, None))",
    "a semaphore of System V": "number = checked(libc.semget(4711, 1, 0o1600)); checked(libc.semctl(number, 0, 0))",
    "a queue of POSIX": (
        "os.close(call('mq_open', b'errata-attack', 0o102, 0o600, None)); libc.mq_unlink(b'/errata-attack')"
    ),
}


@pytest.mark.parametrize("code", SHARED.values(), ids=SHARED)
async def test_nothing_is_shared_with_other_processes(attacker: KernelSession, level: str, code: str) -> None:
    await carry_out(code, attacker, level, "others")


OWN_MEMORY = r"""
def chunks(memory):
    for line in open('/proc/self/maps'):
        first, last, rights, *rest = re.match(r'(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)', line).groups()
        for start in range(int(first, 16), int(last, 16), 1 << 20) if rights.startswith('rw') else ():
            memory.seek(start)
            try:
                yield memory.read(min(1 << 20, int(last, 16) - start) + 64)
            except OSError:
                pass
mine = 'planted' + '-by-the-cell'
with open('/proc/self/mem', 'rb', buffering=0) as memory:
    found = [(mine.encode() in chunk, is_secret(chunk)) for chunk in chunks(memory)]
[any(kind) for kind in zip(*found)]
"""


async def test_the_secret_is_nowhere_in_a_kernels_own_memory(host: KernelHost, decoys: Decoys) -> None:
    # At every level: the server that forks kernels has never known it.
    async with await host.session(setup=decoys.inside) as session:
        result = await session.run(OWN_MEMORY)
        assert result.value == "[True, False]", result
        assert (await session.run("any('planted' in value for value in os.environ.values())")).value == "False"


# -- the project's own processes ---------------------------------------------------------------


Neighbours = tuple[KernelSession, KernelSession]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def neighbours(level: str, decoys: Decoys) -> AsyncIterator[Neighbours]:
    """An attacker beside another kernel of its run, which holds a secret."""
    before = processes()
    with tempfile.TemporaryDirectory(prefix="run-", dir="/var/tmp") as place, pytest.MonkeyPatch.context() as patch:
        # Not beneath /tmp, for a kernel may have a /tmp of its own.
        patch.setattr("tempfile.tempdir", place)
        async with KernelHost(level, cell_timeout=20) as host:
            async with await host.session() as neighbour, await host.session(setup=decoys.inside) as attacker:
                told = await neighbour.run(f"open('mine.txt', 'w').write({SECRET!r}); import os; print(os.getcwd())")
                known = {"run": place, "place": told.stdout.strip(), "pids": sorted(processes() - before)}
                await attacker.run(f"decoy.update({known!r})\n{OTHERS}")
                yield attacker, neighbour
                await assert_goes_on(neighbour)


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


OTHERS = """
from ipykernel.connect import get_connection_file
here = os.path.dirname(get_connection_file())
def others(name):
    found = glob.glob(f"{decoy['run']}/**/{name}", recursive=True)
    return [path for path in found if os.path.dirname(path) != here] or ['/no/such']
processes = [pid for pid in [decoy['tests'], *decoy['pids']] if pid != os.getpid()]
"""

BESIDE = {
    "another's file": "print(open(decoy['place'] + '/mine.txt').read())",
    "another's files, wherever": "print(search(decoy['run'] + '/**', decoy['place'] + '/**'))",
    "another's connection": "any_of(others('connection.json'), open)",
    "another's sockets": "import socket; any_of(others('c-*'), socket.socket(socket.AF_UNIX).connect)",
    "the life of all that is the run's": "import signal; any_of(processes, lambda pid: os.kill(pid, signal.SIGURG))",
    "the life of its parent": "import signal; os.kill(os.getppid() or decoy['tests'], signal.SIGURG)",
    "the limits of all that is the run's": (
        "import resource; any_of(processes, lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE))"
    ),
}


@pytest.mark.parametrize("code", BESIDE.values(), ids=BESIDE)
async def test_neither_another_kernel_nor_the_run_is_in_reach(neighbours: Neighbours, level: str, code: str) -> None:
    await carry_out(code, neighbours[0], level, "others")
