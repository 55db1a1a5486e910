"""Real kernels running code that hangs, dies, floods or breaks its own kernel."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine

import pytest
import pytest_asyncio

from environments.kernels import KernelHost, KernelSession
from environments.types import CellResult
from tests.environments.conftest import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEVER = 60.0
"""Seconds no cell here may need: what takes that long has hung."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(way: Way) -> AsyncIterator[KernelSession]:
    async with KernelHost(way.level, cell_timeout=NEVER, fork=way.fork) as host:
        yield await host.session(setup="ready = 'set up'")


async def assert_fresh(session: KernelSession) -> None:
    result = await session.run("ready, 'left_over' in globals()")
    assert (result.value, result.failed) == ("('set up', False)", False)


STUCK = {
    "a loop": "while True: pass",
    "a sleep": "import time; time.sleep(1000)",
    "a top-level await": "import asyncio\nawait asyncio.sleep(1000)",
    "a call into C": "import ctypes; ctypes.PyDLL(None).sleep(1000)",
    "a loop that swallows interrupts": (
        "import time\nwhile True:\n    try:\n        time.sleep(1000)\n    except BaseException:\n        pass"
    ),
    "a child that is waited for": "import subprocess; subprocess.run(['sleep', '1000'])",
}


@pytest.mark.parametrize("code", STUCK.values(), ids=STUCK.keys())
async def test_a_cell_that_does_not_end_is_timed_out_and_the_next_meets_a_fresh_session(
    session: KernelSession, code: str
) -> None:
    result = await session.run(f"left_over = 1\nprint('before')\n{code}", timeout=0.5)
    assert (result.stdout, result.timed_out, result.died, result.failed) == ("before\n", True, False, True)
    await assert_fresh(session)


async def test_an_interrupted_cell_shows_where_it_was(session: KernelSession) -> None:
    result = await session.run("def stuck():\n    while True: x = 1\nstuck()", timeout=0.5)
    assert result.error is not None
    assert result.error.name == "KeyboardInterrupt"
    assert "in stuck()" in result.error.traceback


DEADLY = {
    "os._exit": "import os; os._exit(1)",
    # The first of a room's processes cannot kill itself so.
    "SIGKILL": "import os, signal; os.kill(os.getpid(), signal.SIGKILL); os.getpid() == 1 and os._exit(9)",
    "a segmentation fault": "import ctypes; ctypes.string_at(0)",
    "exit()": "exit()",
    "quit()": "quit()",
    "closed descriptors": "import os, time; os.closerange(3, 4096); time.sleep(1000)",
    "a message that is none": (
        "kernel = get_ipython().kernel\n"
        "kernel.session.send(kernel.iopub_socket, 'stream', {}, parent=get_ipython().parent_header)"
    ),
}


@pytest.mark.parametrize("code", DEADLY.values(), ids=DEADLY.keys())
async def test_a_cell_that_ends_its_kernel_is_seen_to_die_and_the_next_meets_a_fresh_session(
    session: KernelSession, code: str
) -> None:
    result = await session.run(f"left_over = 1\nprint('before')\n__import__('time').sleep(0.1)\n{code}")
    assert (result.stdout, result.timed_out, result.died, result.failed) == ("before\n", False, True, True)
    assert result.seconds < NEVER / 2, "found out by the timeout only"
    await assert_fresh(session)


async def test_a_kernel_that_dies_between_cells_is_told_with_the_next(session: KernelSession) -> None:
    await session.run("import os, threading\nthreading.Timer(0.3, os._exit, [1]).start()")
    result = await session.run("import time\ntime.sleep(1000)")
    assert result.died
    await assert_fresh(session)


MUTE = {
    "closed": "import sys; sys.stdout.close()",
    "a closed file": "import sys; sys.stdout = open('log', 'w'); sys.stdout.close()",
    "nothing": "import sys; sys.stdout = None",
    "deleted": "import sys; del sys.stdout",
    "no stream at all": "import sys; sys.stdout = sys.stderr = 3",
    "without descriptors": "import os; os.close(1); os.close(2)",
}


@pytest.mark.parametrize("code", MUTE.values(), ids=MUTE.keys())
async def test_a_cell_is_answered_and_heard_whatever_it_does_to_stdout(session: KernelSession, code: str) -> None:
    result = await session.run(f"print('before')\n{code}")
    assert (result.stdout, result.timed_out, result.died) == ("before\n", False, False)
    assert (await session.run("print('after')")).stdout == "after\n"


async def test_a_million_lines_keep_their_head_and_their_traceback(session: KernelSession) -> None:
    result = await session.run("for i in range(1_000_000): print(i)\nprint('last words')\n1/0")
    whole = "".join(f"{number}\n" for number in range(1_000_000)) + "last words\n"
    assert result.stdout.startswith(whole[:500_000])
    assert result.stdout.endswith(whole[-500_000:])
    assert result.dropped == len(whole) - 1_000_000
    assert result.error is not None
    assert "1/0" in result.error.traceback


async def busy_elsewhere(run: Coroutine[None, None, CellResult]) -> CellResult:
    """Have the cell's first two seconds pass while the host has no ear for it."""
    cell = asyncio.create_task(run)
    await asyncio.sleep(0.05)
    time.sleep(2)  # the event loop stands still: that is the point
    return await cell


async def test_a_flood_that_nobody_reads_for_a_while_loses_no_message(session: KernelSession) -> None:
    result = await busy_elsewhere(session.run("for i in range(5_000): display(i)"))
    assert result.stdout == "".join(f"{number}\n" for number in range(5_000))


async def test_what_a_kernel_had_sent_before_it_died_is_still_read(session: KernelSession) -> None:
    code = "import os, time\ntime.sleep(0.5)\nfor i in range(40): display(i)\ntime.sleep(0.5)\nos._exit(1)"
    result = await busy_elsewhere(session.run(code))
    assert result.died
    assert result.stdout == "".join(f"{number}\n" for number in range(40))


async def test_a_flood_leaves_the_host_free_for_others(session: KernelSession) -> None:
    flood = asyncio.create_task(
        session.run(
            "shell = get_ipython()\nsend, socket = shell.kernel.session.send, shell.kernel.iopub_socket\n"
            "content, parent = {'name': 'stdout', 'text': 'x'}, shell.parent_header\n"
            "for i in range(10_000): send(socket, 'stream', content, parent=parent)"
        )
    )
    turns = 0
    while not flood.done():
        await asyncio.sleep(0)
        turns += 1
    assert flood.result().stdout == "x" * 10_000
    assert turns > 10_000


async def test_texts_of_50_mb_are_cut_before_they_travel(session: KernelSession) -> None:
    value = await session.run("'v' * 50_000_000")
    printed = await session.run("print('<' + 'p' * 50_000_000 + '>')")
    raised = await session.run("raise ValueError('e' * 50_000_000)")
    assert value.value is not None
    assert (value.value[:2], value.value[-2:], value.dropped) == ("'v", "v'", 49_000_002)
    assert (printed.stdout[:2], printed.stdout[-3:], printed.dropped) == ("<p", "p>\n", 49_000_003)
    assert raised.error is not None
    assert len(raised.error.value) < 1_000_100
    assert raised.dropped > 49_000_000
    packed = await session.run("len(get_ipython().kernel.session.pack({'text': 'm' * 50_000_000}))")
    assert int(packed.value or 0) < 1_000_100


async def test_output_of_a_cell_that_is_killed_is_kept_to_its_bounds() -> None:
    async with KernelHost("none", output_limit=1_000) as host:
        session = await host.session()
        result = await session.run("while True: print('again and again')", timeout=1)
    assert result.timed_out
    assert result.dropped > 0
    assert len(result.stdout) < 1_100
