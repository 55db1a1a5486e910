"""Kernels that a fork server makes: they share what was imported, and nothing else."""

import ast
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from environments.kernels import KernelHost, KernelSession
from environments.kernels.forkserver import MOST

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(sys.platform != "linux", reason="a fork is safe on Linux only"),
]

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sk-not-for-kernels"
PRELOAD = ("numpy", "pandas", "sympy")


@pytest.fixture(scope="module", autouse=True)
def _secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", SECRET)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(_secret: None) -> AsyncIterator[KernelHost]:
    async with KernelHost("none") as host:
        yield host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stock(_secret: None) -> AsyncIterator[KernelSession]:
    async with KernelHost("none", fork=False) as host:
        yield await host.session(preload=PRELOAD)


def servers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "forkserver_process" in " ".join(child.cmdline())]


async def told(session: KernelSession, code: str) -> object:
    """The value of a cell's last expression, itself and not its repr."""
    result = await session.run(code)
    assert result.value is not None, result
    return ast.literal_eval(result.value)


async def test_one_server_is_the_parent_of_all_kernels_with_the_same_preload(host: KernelHost) -> None:
    async with await host.session(preload=PRELOAD) as one, await host.session(preload=PRELOAD[::-1]) as two:
        parents = {await told(session, "import os; os.getppid()") for session in (one, two)}
        assert parents <= {server.pid for server in servers()}
        assert len(parents) == 1


async def test_further_preloads_share_a_bare_server(host: KernelHost) -> None:
    for number in range(MOST + 2):
        async with await host.session(preload=["json", *["decimal", "csv", "wave", "queue", "bisect"][:number]]) as one:
            assert await told(one, "import sys; 'json' in sys.modules")
    assert len(servers()) <= MOST + 1


async def test_random_numbers_repeat_with_the_seed_and_are_shared_otherwise_by_none(host: KernelHost) -> None:
    draw = (
        "import random, numpy as np\n(random.random(), np.random.rand(), float(pd.Series(range(99)).sample().iloc[0]))"
    )
    fresh = (
        "import uuid, tempfile\n(np.random.default_rng().random(), str(uuid.uuid4()), random.SystemRandom().random())"
    )

    async def drawn(seed: int) -> tuple[object, object]:
        async with await host.session(setup="import pandas as pd", preload=PRELOAD, seed=seed) as session:
            return await told(session, draw), await told(session, fresh)

    (one, entropy), (again, other_entropy), (other, _) = [await drawn(seed) for seed in (5, 5, 6)]
    assert one == again
    assert one != other
    assert entropy != other_entropy


async def test_a_forked_and_a_stock_kernel_draw_and_hash_alike(host: KernelHost, stock: KernelSession) -> None:
    draw = "import random, numpy as np\n(hash('a'), random.random(), np.random.rand(), str({'a', 'b', 'c', 'd'}))"
    async with await host.session(preload=PRELOAD) as forked:
        assert await told(forked, draw) == await told(stock, draw)


SELF = """
import os, signal, sys
ignored = [int(number) for number in signal.Signals if signal.getsignal(number) == signal.SIG_IGN]
names = sorted(name for name in os.environ if not name.startswith('PYDEVD'))
leads = os.getpgid(0) == os.getsid(0) == os.getpid()
main = sys.modules['__main__'] is get_ipython().user_module
(sys.argv[1:2], os.path.basename(sys.argv[0]), sys.path, sys.warnoptions, sys.flags, ignored, names, leads, main,
 signal.pthread_sigmask(signal.SIG_BLOCK, ()), sys.modules.get('debugpy', 0) is None, os.getcwd() == os.environ['HOME'])
"""


async def test_a_forked_kernel_looks_like_a_stock_one_from_inside(host: KernelHost, stock: KernelSession) -> None:
    async with await host.session(preload=PRELOAD) as forked:
        assert (await forked.run(SELF)).value == (await stock.run(SELF)).value


async def test_no_secret_is_in_the_kernels_environment_or_the_servers(host: KernelHost) -> None:
    look = (
        "import os\nopen('/proc/self/environ').read() + open(f'/proc/{os.getppid()}/environ').read() + str(os.environ)"
    )
    async with await host.session(preload=PRELOAD) as session:
        found = await told(session, look)
        assert isinstance(found, str)
        assert SECRET not in found
        assert "'OPENBLAS_NUM_THREADS': '1'" in found


DESCRIPTORS = """
import os
def links(pid):
    for number in os.listdir(f'/proc/{pid}/fd'):
        try:
            yield os.readlink(f'/proc/{pid}/fd/{number}')
        except OSError:
            pass
sorted(links('self')), sorted(links(os.getppid()))
"""


async def test_no_descriptor_of_the_server_or_of_another_kernel_is_open(host: KernelHost, stock: KernelSession) -> None:
    async with await host.session(preload=PRELOAD) as one, await host.session(preload=PRELOAD) as two:
        found = [await told(session, DESCRIPTORS) for session in (one, two, stock)]
    (ours, servers_own), (others, _), (stocks, _) = [(set(a), set(b)) for a, b in found]  # type: ignore[misc, call-overload]
    common = {"/dev/null", "anon_inode:[eventfd]", "anon_inode:[eventpoll]", "anon_inode:[pidfd]"}
    assert not ours & servers_own - common
    assert not ours & others - common
    assert (
        not {link for link in ours if link.startswith("/")}
        - {"/dev/null"}
        - {link for link in ours if link.endswith("/log")}
    )
    ours_by_kind, stocks_by_kind = (
        Counter(link.split(":")[0] for link in links if not link.startswith("/")) for links in (ours, stocks)
    )
    # A stock kernel has channels besides, and threads, that the host has no use for.
    assert not ours_by_kind - stocks_by_kind


async def test_what_a_kernel_does_to_its_modules_stays_in_it(host: KernelHost) -> None:
    async with await host.session(preload=PRELOAD) as vandal:
        await vandal.run(
            "import sys, math, os, tempfile, numpy\nnumpy.pi = math.pi = 3\nsys.modules['json'] = None\n"
            "sys.path.insert(0, '/planted')\nos.environ['PLANTED'] = '1'\ndel sys.modules['pandas']\n"
            "import builtins; builtins.planted = 1\ntempfile.gettempdir()"
        )
        async with await host.session(preload=PRELOAD) as after:
            assert await told(
                after,
                "import sys, math, os, json, tempfile, numpy, pandas\n"
                "(numpy.pi == math.pi != 3, '/planted' in sys.path, 'PLANTED' in os.environ,"
                " 'planted' in dir(__builtins__), tempfile.gettempdir() == os.environ['TMPDIR'])",
            ) == (True, False, False, False, True)


async def test_a_module_in_the_scratch_folder_is_found(host: KernelHost) -> None:
    async with await host.session(preload=PRELOAD) as session:
        await session.run("%%writefile own.py\nx = 7")
        assert (await session.run("import own; own.x")).value == "7"


async def test_multiprocessing_works_in_a_cell(host: KernelHost) -> None:
    async with await host.session(preload=PRELOAD) as session:
        work = (
            "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, -2]))"
        )
        assert (await session.run(work)).stdout == "[1, 2]\n"
        spawn = work.replace("fork", "spawn")
        assert (await session.run(spawn)).stdout == "[1, 2]\n"
