"""Cells that do not mean to end: each is ended at its time, and its session goes on with a fresh kernel.

All of a level run side by side, since each waits out its limit and the grace after it.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from environments.kernels import KernelHost
from environments.types import CellResult
from tests.environments.attacks import working
from tests.environments.attacks_decoys import Decoys

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module", params=["strongest", "none"])
def level(request: pytest.FixtureRequest) -> str:
    # As a process a kernel is either the first of its own, or one of the machine's.
    return working()[0] if request.param == "strongest" else "none"


LOOP = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"

STALLS = {
    "a loop that catches everything": LOOP,
    "a loop that ignores interrupts": f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{LOOP}",
    "a loop behind a handler of its own": (
        f"import signal\ndef again(*_):\n    while True: pass\nsignal.signal(signal.SIGINT, again)\n{LOOP}"
    ),
    "a loop with all signals blocked": (
        f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n{LOOP}"
    ),
    "a regular expression": "import re; re.match('(a+)+$', 'a' * 64 + 'b')",
    "a sum in C": "sum(range(10 ** 12))",
    "a power in C": "x = 7 ** (10 ** 9)",
    "a pause in C that keeps the interpreter": "ctypes.PyDLL(None).pause()",
    "a sleep in C": "import time; time.sleep(10 ** 6)",
    "an await": "import asyncio; await asyncio.sleep(1e9)",
    "an await that swallows its end": (
        "import asyncio\nwhile True:\n    try:\n        await asyncio.sleep(1e9)\n    except BaseException: pass"
    ),
    "a stop of itself": "import signal, time\nos.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(10 ** 6)",
    "a stop of its group": "import signal, time\nos.killpg(0, signal.SIGSTOP)\ntime.sleep(10 ** 6)",
    "a lock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "a child that is waited for": "pid = os.fork()\nif not pid:\n    while True: pass\nos.waitpid(pid, 0)",
    "an exit that does not end": "import atexit, time; atexit.register(time.sleep, 10 ** 6); exit()",
    "a thread that keeps the interpreter": (
        "import sys, threading\nsys.setswitchinterval(1e6)\n"
        "def spin():\n    while True: pass\nthreading.Thread(target=spin).start()\nwhile True: pass"
    ),
    "a kernel without its output": f"get_ipython().kernel.iopub_socket.socket.close(0)\n{LOOP}",
    "a pipe that nobody reads": "hears, tells = os.pipe()\nwhile True: os.write(tells, bytes(4096))",
    "a hook that never returns": (
        "import sys\nclass Finder:\n    def find_spec(self, *_):\n        while True: pass\n"
        "sys.meta_path.insert(0, Finder())\nimport nothing_of_this_name"
    ),
    "a value that never shows": "class Slow:\n    def __repr__(self):\n        while True: pass\nSlow()",
    "an error that never shows": (
        "class Slow(Exception):\n    def __str__(self):\n        while True: pass\nraise Slow()"
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stalled(level: str, decoys: Decoys) -> AsyncIterator[dict[str, tuple[CellResult, CellResult]]]:
    """What each cell came to, and the cell after it."""

    async def stall(code: str) -> tuple[CellResult, CellResult]:
        async with await host.session(setup=f"{decoys.inside}\nready = 'set up'") as session:
            result = await session.run(f"left_over = 1\n{code}", timeout=1)
            return result, await session.run("ready, 'left_over' in globals()")

    async with KernelHost(level, cell_timeout=60) as host, asyncio.timeout(100):
        yield dict(zip(STALLS, await asyncio.gather(*map(stall, STALLS.values())), strict=True))


@pytest.mark.parametrize("name", STALLS)
async def test_a_cell_that_does_not_end_is_ended(stalled: dict[str, tuple[CellResult, CellResult]], name: str) -> None:
    result, after = stalled[name]
    assert result.failed, result
    assert result.timed_out or result.died, result
    assert after.value == "('set up', False)", after


async def test_a_session_can_be_closed_whatever_its_kernel_is_at(host: KernelHost) -> None:
    async with asyncio.timeout(30):
        session = await host.session()
        await session.run(
            "import signal, threading\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
            "def spin():\n    while True: pass\nthreading.Thread(target=spin).start()"
        )
        await session.close()
