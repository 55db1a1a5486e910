"""Cells that take too much: memory, processes, files, disk, descriptors, CPU time.

Each takes more than the limit and, by itself, no more than a small machine has: 1.6 GB, 200 processes.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from environments.kernels import KernelHost, KernelSession, Limits
from environments.kernels.cgroups import SLACK
from tests.environments.attacks import assert_goes_on, claims
from tests.environments.attacks_decoys import Decoys

pytestmark = pytest.mark.asyncio(loop_scope="module")

MB = 1 << 20
NEVER = 60.0
"""Seconds no cell here may need: what takes that long has hung."""

LIMITS = Limits(memory=512 * MB, processes=48, file_size=16 * MB, disk=64 * MB, files=1_000, open_files=256)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bomber(level: str, decoys: Decoys) -> AsyncIterator[KernelSession]:
    async with KernelHost(level, cell_timeout=NEVER, limits=LIMITS) as host:
        # What is yet to be imported would need memory that an attack before has scattered.
        preload = ("numpy", "pandas")
        async with (
            await host.session(setup=decoys.inside, preload=preload) as session,
            await host.session() as bystander,
        ):
            yield session
            await assert_goes_on(bystander)


PLAIN = {
    "bytes": "x = bytearray(1 << 30)",
    "text": "x = 'x' * (1 << 30)",
    "an array": "import numpy; x = numpy.ones(1 << 27)",
    "a list that grows": "x = []\nfor _ in range(1 << 14): x.append(bytes(1 << 16))",
    "a frame": "import numpy, pandas; x = pandas.DataFrame(numpy.zeros((1 << 20, 128)))",
    "a big number": "x = 1 << (1 << 33)",
    "a map": "import mmap; x = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
    "a map that others would see": "import mmap; x = mmap.mmap(-1, 3 << 30)",
}


@pytest.mark.parametrize("code", PLAIN.values(), ids=PLAIN)
async def test_memory_that_is_not_to_be_had_is_an_ordinary_error(bomber: KernelSession, level: str, code: str) -> None:
    if not claims(level, "memory"):
        pytest.skip(f"level {level} does not claim 'memory'")
    result = await bomber.run(code)
    assert not result.died, result
    assert result.error is not None, "it was to be had"
    assert result.error.name.endswith("MemoryError") or "[Errno 12]" in result.error.value
    await bomber.run("del x")
    await assert_goes_on(bomber)


FILES = """
def fill(folder, most=80, file_size=5):
    def write(number):
        with open(f'{folder}/{number // file_size}.bomb', 'ab', buffering=0) as file:
            file.write(bytes(1 << 20))
    return times(most, write)
def clear(folder='.'):
    for path in glob.glob(f'{folder}/*.bomb'): os.remove(path)
"""

EVERYWHERE = """
from ipykernel.connect import get_connection_file
places = {line.split()[4] for line in open('/proc/self/mountinfo')}
places |= {'.', '/tmp', '/var/tmp', os.path.dirname(get_connection_file())}
places = {os.path.realpath(place) for place in places if os.path.isdir(place)}
places = [place for place in places if not place.startswith(('/proc', '/sys', '/dev/pts'))]
taken = sum(fill(place) for place in places)
for place in places: clear(place)
taken
"""

THREADS = """
import threading
end = threading.Event()
started = times(200, lambda _: threading.Thread(target=end.wait).start())
end.set()
started
"""

DESCRIPTORS = """
opened = []
times(600, lambda _: opened.append(os.open('/dev/null', os.O_RDONLY)))
for number in opened: os.close(number)
len(opened)
"""

# What its files take of memory counts as well.
TOTAL = LIMITS.memory + 3 * LIMITS.disk + SLACK
DISK, FILE = LIMITS.disk // MB, LIMITS.file_size // MB

COUNTED = {
    "memory of many children": ("total memory", TOTAL // (400 * MB), "crowd(4, lambda: bytearray(b'x') * (400 << 20))"),
    "memory that children would share": (
        "total memory",
        LIMITS.memory // MB,
        "import mmap; x = mmap.mmap(-1, 900 << 20); times(900, lambda _: x.write(bytes(1 << 20)))",
    ),
    "memory without a name": (
        "total memory",
        LIMITS.memory // (15 * MB),
        "times(60, lambda _: os.write(call('memfd_create', b'x', 0), bytes(15 << 20)))",
    ),
    "processes": ("processes", LIMITS.processes, "crowd(200, int)"),
    "threads": ("processes", LIMITS.processes, THREADS),
    "a file": ("file size", FILE, f"{FILES}\ntaken = fill('.', 64, 64); clear(); taken"),
    "a file of holes": (
        "file size",
        FILE,
        "file = open('big', 'wb'); times(64, lambda size: file.truncate(size + 1 << 20))",
    ),
    "the home folder": ("disk", DISK, f"{FILES}\ntaken = fill('.'); clear(); taken"),
    "the temporary folder": (
        "disk",
        DISK,
        f"{FILES}\nimport tempfile\nplace = tempfile.gettempdir(); taken = fill(place); clear(place); taken",
    ),
    "wherever it can write": ("disk", 3 * DISK, f"{FILES}{EVERYWHERE}"),
    "many files": (
        "disk",
        LIMITS.files,
        f"{FILES}\nmade = times(1_500, lambda number: open(f'{{number}}.bomb', 'w').close()); clear(); made",
    ),
    "many links": (
        "disk",
        LIMITS.files,
        f"{FILES}\nmade = times(1_500, lambda number: os.symlink('x', f'{{number}}.bomb')); clear(); made",
    ),
    "descriptors": ("open files", LIMITS.open_files, DESCRIPTORS),
}
"""What is claimed, the most there may be of it, and a cell that tells how much it got."""


@pytest.mark.parametrize(("claim", "most", "code"), COUNTED.values(), ids=COUNTED)
async def test_a_cell_takes_no_more_than_its_share(
    bomber: KernelSession, level: str, claim: str, most: int, code: str
) -> None:
    result = await bomber.run(code)
    assert not result.timed_out, result
    if claims(level, claim):
        # The system may have to kill it, where what it takes is nobody's but its own.
        assert int(result.value or 0) <= most, result
        assert result.value or claim == "total memory", result
    elif level == "none":
        assert int(result.value or 0) > most, result
    await assert_goes_on(bomber)


FORK_BOMB = """
import mmap, time
count, end = mmap.mmap(-1, 8), time.monotonic() + 3
first = os.getpid()
while time.monotonic() < end and int.from_bytes(count[:], 'big') < 400:
    try:
        os.fork()
        count[:] = (int.from_bytes(count[:], 'big') + 1).to_bytes(8, 'big')
    except OSError:
        pass
if os.getpid() != first:
    os._exit(0)
"""


async def test_a_fork_bomb_leaves_its_session_and_others_at_work(bomber: KernelSession, level: str) -> None:
    if not claims(level, "processes"):
        pytest.skip(f"level {level} does not claim 'processes'")
    result = await bomber.run(FORK_BOMB, timeout=15)
    assert not result.died, result
    await assert_goes_on(bomber)


BURNING = {"its own": "while True: pass", "a child's": "crowd(1, lambda: sum(range(10 ** 12)))"}


@pytest.mark.parametrize("code", BURNING.values(), ids=BURNING)
async def test_cpu_time_is_bounded(level: str, decoys: Decoys, code: str) -> None:
    if not claims(level, "cpu time"):
        pytest.skip(f"level {level} does not claim 'cpu time'")
    async with KernelHost(level, cell_timeout=NEVER, limits=Limits(cpu=1)) as host:
        async with await host.session(setup=decoys.inside) as session:
            result = await session.run(code)
            assert not result.timed_out, result
            await assert_goes_on(session)
