"""The fork server's own life: killed, refused, shared by Jupyter's users, and gone with all that it made."""

import ast
import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from environments.kernels import KernelHost, KernelSession
from environments.kernels.forkserver import PROGRAM

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a fork is safe on Linux only")

ROOT = Path(__file__).resolve().parents[2]


def servers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "forkserver_process" in " ".join(child.cmdline())]


async def told(session: KernelSession, code: str) -> object:
    """The value of a cell's last expression, itself and not its repr."""
    result = await session.run(code)
    assert result.value is not None, result
    return ast.literal_eval(result.value)


async def test_a_killed_server_takes_its_kernels_along_and_another_takes_its_place() -> None:
    async with KernelHost("none") as host:
        session, idle = await host.session(setup="ready = True"), await host.session()
        child = await told(idle, "import subprocess; child = subprocess.Popen(['sleep', '1000']); child.pid")
        cell = asyncio.create_task(session.run("import time; time.sleep(1000)", timeout=1000))
        await asyncio.sleep(0.2)
        (server,) = servers()
        server.kill()
        assert (await cell).died
        assert (await session.run("ready")).value == "True"
        assert (await idle.run("1")).died
        assert (await idle.run("1 + 1")).value == "2"
        assert (await (await host.session()).run("2 + 2")).value == "4"
        assert [other.pid for other in servers()] != [server.pid]
        assert isinstance(child, int)
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


async def test_a_server_killed_while_kernels_start_is_replaced_too() -> None:
    async with KernelHost("none") as host:
        start = asyncio.create_task(host.session())
        while not servers():
            await asyncio.sleep(0.01)
        servers()[0].kill()
        assert (await (await start).run("1 + 1")).value == "2"
        assert len(servers()) == 1


async def test_thirty_kernels_in_a_row_leave_nothing_behind(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))

    async def one_after_another(host: KernelHost, times: int) -> tuple[object, ...]:
        for number in range(times):
            async with await host.session() as session:
                assert (await session.run(f"{number} + 1")).value == str(number + 1)
        (server,) = servers()
        while server.children() or list(short_path.glob("*/*")):  # the last are still on their way out
            await asyncio.sleep(0.01)
        return server.num_fds(), psutil.Process().num_fds()

    async with KernelHost("none") as host:
        assert await one_after_another(host, 3) == await one_after_another(host, 30)


UNSAFE = {
    "thread": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=[1000], daemon=True).start()",
        "threads",
    ),
    "file": ("import os\nleft = open('/dev/zero')", "/dev/zero"),
    "context": ("import zmq\ncontext = zmq.Context.instance()\ncontext.socket(zmq.PUB)", "threads"),
    "loop": ("import asyncio\nloop = asyncio.new_event_loop()", "eventpoll"),
}


@pytest.mark.parametrize(("code", "reason"), UNSAFE.values(), ids=UNSAFE.keys())
def test_a_server_refuses_to_fork_what_a_fork_would_break(tmp_path: Path, code: str, reason: str) -> None:
    (tmp_path / "unsafe.py").write_text(code)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", PROGRAM, str(theirs.fileno()), "none", tmp_path, "unsafe"],
            pass_fds=[theirs.fileno()], cwd=ROOT, env={"PYTHONPATH": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert reason in done.stderr.splitlines()[-1]


async def test_kernels_start_without_a_server_that_cannot_start_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "server.py").write_text("raise SystemExit('no fork today')")
    monkeypatch.setattr("environments.kernels.forkserver.PROJECT", tmp_path)
    monkeypatch.setattr("environments.kernels.forkserver.PROGRAM", "server")
    with caplog.at_level(logging.WARNING):
        async with KernelHost("none") as host:
            for _ in range(2):
                assert await told(await host.session(), "import os; os.getppid()") == os.getpid()
    assert [record.getMessage() for record in caplog.records] == [
        "Kernels start without a fork server, and slowly: no fork today"
    ]


JUPYTER = """
import asyncio, json
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

class Specs(KernelSpecManager):
    def get_kernel_spec(self, name):
        return KernelSpec(
            argv=["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python",
            metadata={"kernel_provisioner": {"provisioner_name": "errata-fork", "config": {"preload": ["numpy"]}}},
        )

async def run(client, code):
    said = []
    reply = await client.execute_interactive(code, output_hook=lambda message: said.append(message), timeout=60)
    texts = [message["content"]["text"] for message in said if message["msg_type"] == "stream"]
    return reply["content"]["status"], "".join(texts)

async def main():
    manager = AsyncKernelManager(kernel_spec_manager=Specs())
    other = AsyncKernelManager(kernel_spec_manager=Specs())
    answers = []
    for kernel in (manager, other):
        await kernel.start_kernel()
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready()
    who = "import os, numpy; print(os.getppid(), numpy.random.rand())"
    answers.append(await run(client, who))
    cell = asyncio.create_task(run(client, "import time; time.sleep(1000)"))
    await asyncio.sleep(0.5)
    await manager.interrupt_kernel()
    answers.append(await cell)
    await manager.restart_kernel(now=True)
    await client.wait_for_ready()
    answers.append(await run(client, who))
    await manager.shutdown_kernel()
    print(json.dumps([answers, await manager.is_alive(), await other.is_alive(), other.provisioner.pid]))
    client.stop_channels()

asyncio.run(main())
"""


def test_any_jupyter_user_has_it_by_a_kernelspec(tmp_path: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    done = subprocess.run(
        [sys.executable, "-c", JUPYTER], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (first, interrupted, again), alive, other_alive, other = json.loads(done.stdout)
    assert (first[0], interrupted[0], again[0]) == ("ok", "error", "ok")
    assert first[1].split()[0] == again[1].split()[0], "a server of the same process"
    assert first[1].split()[1] != again[1].split()[1], "but other random numbers"
    assert (alive, other_alive) == (False, True)
    # The manager that was forgotten has a kernel that ends with the process.
    psutil.wait_procs([psutil.Process(pid) for pid in (other, int(first[1].split()[0])) if psutil.pid_exists(pid)], 10)
    assert not psutil.pid_exists(other)
    assert not psutil.pid_exists(int(first[1].split()[0]))
