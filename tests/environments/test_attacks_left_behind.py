"""Cells that leave processes behind: none outlives its kernel, however that ends."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from environments.kernels import KernelHost
from tests.environments.attacks import assert_goes_on, claims
from tests.environments.attacks_decoys import ROOT, Decoys

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE = 15.0

# What it stays alive for is long, not endless: at level `none` it is there to be found.
BEGIN = """
import signal, time
def named(): libc.prctl(15, MARK.encode(), 0, 0, 0)
def stay():
    named()
    for _ in range(600): time.sleep(0.1)
    os._exit(0)
def daemon(act):
    if os.fork(): return
    os.setsid()
    if os.fork(): os._exit(0)
    act()
"""

LEAVING = {
    "a child": "if not os.fork(): stay()",
    "a daemon": "daemon(stay)",
    "a daemon without descriptors": "daemon(lambda: (os.closerange(0, 1024), stay()))",
    "a daemon that ignores signals": (
        "daemon(lambda: ([signal.signal(n, signal.SIG_IGN) for n in range(1, 32) if n not in (9, 19)], stay()))"
    ),
    "a daemon whom its parent's death does not touch": "daemon(lambda: (libc.prctl(1, 0, 0, 0, 0), stay()))",
    "a daemon that adopts": (
        "def adopt():\n    libc.prctl(36, 1, 0, 0, 0)\n    daemon(stay)\n    stay()\ndaemon(adopt)"
    ),
    "a daemon that is stopped": "daemon(lambda: (named(), os.kill(os.getpid(), signal.SIGSTOP), stay()))",
    "daemons of daemons": "daemon(lambda: [daemon(stay) for _ in range(20)] and stay())",
    "a program": (
        "import subprocess, shutil\nos.symlink(shutil.which('sleep'), MARK)\n"
        "subprocess.Popen([f'./{MARK}', '60'], start_new_session=True)"
    ),
    "a thing that is never the same process for long": (
        "def flee():\n    named()\n    for _ in range(3_000):\n        if os.fork(): os._exit(0)\n        os.setsid()\n"
        "        time.sleep(0.005)\n    os._exit(0)\ndaemon(flee)"
    ),
    "a thing that doubles each time it is looked at": (
        "def two():\n    named()\n    for _ in range(4):\n        if not os.fork(): os.setsid()\n"
        "        time.sleep(0.05)\n    stay()\ndaemon(two)"
    ),
}

EVERYTHING = "\n".join(LEAVING.values())

ENDINGS = {
    **{f"{what}, and the session is closed": (code, "") for what, code in LEAVING.items()},
    "everything, and its time is up": (
        EVERYTHING,
        "while True:\n    try: time.sleep(100)\n    except BaseException: pass",
    ),
    "everything, and the kernel ends itself": (EVERYTHING, "os._exit(0)"),
    "everything, and the kernel is stopped": (EVERYTHING, "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(100)"),
}
"""What is left, and the cell with which its kernel ends."""


def left(mark: str) -> list[int]:
    """The living processes of that name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "comm").read_text().strip() == mark and " Z " not in (process / "stat").read_text():
                found.append(int(process.name))
    return found


async def seen(mark: str) -> bool:
    for _ in range(100):
        if left(mark):
            return True
        await asyncio.sleep(0.02)
    return False


async def gone(mark: str) -> bool:
    """None is seen for a while: one that goes from process to process is between two at times."""
    deadline, unseen = time.monotonic() + PATIENCE, 0
    while unseen < 20:
        unseen = 0 if left(mark) else unseen + 1
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def sweep(mark: str) -> None:
    while pids := left(mark):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def mark() -> Iterator[str]:
    """A name for processes, 15 characters at most, and an end of all who bear it."""
    mark = f"left-{secrets.token_hex(4)}"
    yield mark
    sweep(mark)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endings(host: KernelHost, decoys: Decoys) -> dict[str, tuple[bool, bool]]:
    """Whether it was there, and whether it has gone. All side by side, as each is waited for."""

    async def leave(code: str, ending: str) -> tuple[bool, bool]:
        mark = f"left-{secrets.token_hex(4)}"
        try:
            async with await host.session(setup=f"{decoys.inside}\nMARK = {mark!r}\n{BEGIN}") as session:
                result = await session.run(code)
                assert not result.failed, result
                there, went = await seen(mark), True
                if ending:
                    await session.run(ending, timeout=0.5)
                    went = await gone(mark)
                    await assert_goes_on(session)
            return there, went and await gone(mark)
        finally:
            sweep(mark)

    found = await asyncio.gather(*(leave(code, ending) for code, ending in ENDINGS.values()))
    return dict(zip(ENDINGS, found, strict=True))


@pytest.mark.parametrize("name", ENDINGS)
async def test_what_a_cell_has_started_ends_with_its_kernel(
    endings: dict[str, tuple[bool, bool]], level: str, name: str
) -> None:
    there, went = endings[name]
    assert there
    assert went or not claims(level, "orphans")


# -- when the host itself is gone --------------------------------------------------------------

HOST = """
import asyncio, sys
from environments.kernels import KernelHost
async def main():
    level, setup, code = sys.argv[1:]
    async with KernelHost(level, cell_timeout=60) as host, await host.session(setup=setup) as session:
        result = await session.run(code)
        print(result.error and result.error.value, flush=True)
        await session.run("import time; time.sleep(50)")
asyncio.run(main())
"""

OUTLIVING = (
    "libc.prctl(1, 0, 0, 0, 0)\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "import threading; threading.Thread(target=stay).start()\n"
    "daemon(lambda: (libc.prctl(1, 0, 0, 0, 0), stay()))\ntime.sleep(0.3)"
)


async def test_kill_9_of_the_host_ends_a_kernel_that_has_cut_its_ties(level: str, decoys: Decoys, mark: str) -> None:
    setup = f"{decoys.inside}\nMARK = {mark!r}\n{BEGIN}"
    command = [sys.executable, "-c", HOST, level, setup, OUTLIVING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as host:
        assert host.stdout is not None
        assert await asyncio.to_thread(host.stdout.readline) == "None\n"
        assert left(mark)
        host.kill()
    assert await gone(mark) or not claims(level, "orphans"), f"{len(left(mark))} are left"
