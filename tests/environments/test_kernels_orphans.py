"""Nothing outlives its host: no process, no folder; after success, failure, Ctrl-C and kill -9."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from environments.faults import KernelFault
from environments.kernels import KernelHost
from environments.kernels.warden import Warden

ROOT = Path(__file__).resolve().parents[2]

HOST = """
import asyncio, json, os, sys, time
from environments.faults import KernelFault
from environments.kernels import KernelHost
from environments.kernels.warden import Warden

async def main():
    async with KernelHost("none", fork="stock" not in sys.argv) as host:
        session = await host.session()
        result = await session.run(
            "import os, subprocess, time\\n"
            "child = subprocess.Popen(['sleep', '1000'])\\n"
            "print(os.getpid(), child.pid, os.getcwd())"
        )
        kernel, child, folder = result.stdout.split()
        if "fork" in sys.argv and os.fork() == 0:
            time.sleep(1000)
        print(json.dumps({"pids": [int(kernel), int(child)], "folder": folder}), flush=True)
        await session.run("time.sleep(1000)", timeout=1000)

try:
    asyncio.run(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


forks = pytest.mark.parametrize("fork", [True, False], ids=["forked", "stock"])
launchers = pytest.mark.parametrize("launcher", ["forked", "stock"])


@contextmanager
def running_host(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[int], Path]]:
    """A host in a process of its own, in the middle of a cell; all that it and a cell of it started, their folder."""
    command = [sys.executable, "-c", HOST, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as host:
        try:
            assert host.stdout is not None
            told = json.loads(host.stdout.readline())
            helpers = [*children("warden_process", host.pid), *children("forkserver_process", host.pid)]
            assert len(helpers) == (1 if "stock" in arguments else 2)
            yield host, [*told["pids"], *helpers], Path(told["folder"]).parents[1]
        finally:
            # Its own session, so that a test that fails leaves nothing behind either.
            with suppress(ProcessLookupError):
                os.killpg(host.pid, signal.SIGKILL)


def children(word: str, of: int | None = None) -> list[int]:
    """The living child processes whose command has the word."""
    found = []
    for child in psutil.Process(of).children():
        with suppress(psutil.Error):  # it has ended meanwhile
            if not gone(child.pid) and word in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pids: list[int], folder: Path | None = None) -> None:
    deadline = time.monotonic() + 30
    while not (all(map(gone, pids)) and (folder is None or not folder.exists())):
        assert time.monotonic() < deadline, f"left: {[pid for pid in pids if not gone(pid)]}, {folder}"
        time.sleep(0.02)


@launchers
def test_kill_9_of_the_host_leaves_no_process_and_no_folder(launcher: str) -> None:
    with running_host(launcher) as (host, pids, folder):
        assert folder.is_dir()
        assert not any(map(gone, pids))
        host.kill()
        wait_until_gone(pids, folder)


@launchers
def test_a_worker_forked_by_the_host_does_not_keep_the_kernels_alive(launcher: str) -> None:
    with running_host(launcher, "fork") as (host, pids, folder):
        host.kill()
        wait_until_gone(pids, folder)


@launchers
def test_ctrl_c_leaves_no_process_and_no_folder(launcher: str) -> None:
    with running_host(launcher) as (host, pids, folder):
        os.killpg(host.pid, signal.SIGINT)
        assert host.wait(30) == 130
        wait_until_gone(pids, folder)


@launchers
def test_ctrl_c_of_the_terminal_reaches_neither_kernel_nor_warden(launcher: str) -> None:
    with running_host(launcher) as (host, pids, _):
        assert all(os.getpgid(pid) != os.getpgid(host.pid) for pid in pids)
        assert all(os.getsid(pid) != os.getsid(host.pid) for pid in pids)


@forks
async def test_children_of_the_teachers_code_end_with_their_kernel(fork: bool) -> None:
    start = "import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\nprint(child.pid)"
    async with KernelHost("none", fork=fork) as host:
        session = await host.session()
        pids = [int((await session.run(start)).stdout)]
        await session.run("while True: pass", timeout=0.2)
        pids.append(int((await session.run(start)).stdout))
        await session.run("import os; os._exit(0)")
        pids.append(int((await session.run(start)).stdout))
        await session.close()
        await asyncio.to_thread(wait_until_gone, pids)


@forks
async def test_children_of_a_kernel_that_dies_by_itself_end_at_once(fork: bool) -> None:
    async with KernelHost("none", fork=fork) as host, await host.session() as session:
        result = await session.run(
            "import os, subprocess, threading\nchild = subprocess.Popen(['sleep', '1000'])\n"
            "threading.Timer(0.2, os._exit, [1]).start()\nprint(os.getpid(), child.pid)"
        )
        await asyncio.to_thread(wait_until_gone, [int(pid) for pid in result.stdout.split()])


@pytest.mark.parametrize("forgotten", [False, True])
async def test_the_warden_ends_the_groups_it_knows_and_no_other(tmp_path: Path, forgotten: bool) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    warden = Warden(folder)
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as ward:
        warden.watch(ward.pid)
        if forgotten:
            warden.forget(ward.pid)
        await warden.close()
        assert (ward.poll() is None) if forgotten else (ward.wait(30) == -signal.SIGKILL)
        ward.kill()
    assert not folder.exists()


@forks
async def test_no_kernel_is_started_once_the_warden_is_gone(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, fork: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    async with KernelHost("none", fork=fork) as host:
        while not (wardens := children("warden_process")):
            await asyncio.sleep(0.01)  # a process has no command line to be known by before it has begun
        (warden,) = wardens
        os.kill(warden, signal.SIGKILL)
        await asyncio.to_thread(wait_until_gone, [warden])
        with pytest.raises(KernelFault, match="warden"):
            await (await host.session()).run("1")
        assert not children("ipykernel")
        assert not children("forkserver_process")
    assert not list(short_path.iterdir())


@forks
async def test_a_host_that_is_left_closes_what_was_left_open(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, fork: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    async with KernelHost("none", fork=fork) as host:
        assert len(list(short_path.iterdir())) == 1
        assert next(short_path.iterdir()).stat().st_mode & 0o777 == 0o700
        pid = int((await (await host.session()).run("import os; print(os.getpid())")).stdout)
        await host.session()
    assert gone(pid)
    assert not children("_process")
    assert not list(short_path.iterdir())


async def start_cancelled_after(host: KernelHost, seconds: float) -> bool:
    """Whether it had not come to its end before."""
    async with await host.session() as session:
        cell = asyncio.create_task(session.run("1"))
        await asyncio.sleep(seconds)
        cell.cancel()
        await asyncio.wait({cell})
        return cell.cancelled()


@pytest.mark.parametrize(("fork", "step"), [(True, 0.003), (False, 0.08)], ids=["forked", "stock"])
async def test_a_start_that_is_cancelled_leaves_no_kernel(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, fork: bool, step: float
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    elsewhere = {child.pid for child in psutil.Process().children(recursive=True)}
    async with KernelHost("none", fork=fork) as host:
        assert await start_cancelled_after(host, step)  # while the fork server is still importing
        async with await host.session() as session:
            await session.run("1")
        moment = 0.0
        while await start_cancelled_after(host, moment):
            helpers = {*children("_process")}
            kernels = {child.pid for child in psutil.Process().children(recursive=True)} - helpers - elsewhere
            await asyncio.to_thread(wait_until_gone, [*kernels])
            while list(short_path.glob("*/*")):
                await asyncio.sleep(0.01)
            moment += step
        assert moment > 2 * step


@forks
async def test_a_run_that_is_cancelled_ends_its_kernel_and_the_session_can_go_on(fork: bool) -> None:
    async with KernelHost("none", fork=fork) as host, await host.session() as session:
        pid = int((await session.run("import os; print(os.getpid())")).stdout)
        run = asyncio.create_task(session.run("while True: pass"))
        await asyncio.sleep(0.2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await asyncio.to_thread(wait_until_gone, [pid])
        assert (await session.run("1 + 1")).value == "2"
