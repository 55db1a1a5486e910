"""The grader's process: what it is given, and that it ends."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import environments.graders
from environments.faults import GraderFault
from environments.graders.worker import Exhausted, Pool, Worker

SCRIPT = Path(environments.graders.__path__[0]) / "mathworker.py"
PROBE = {"gold": "1", "answer": "1"}

HOST = """
import asyncio, sys
from pathlib import Path
from environments.graders.worker import Worker

async def main():
    worker = Worker(Path(sys.argv[1]), {"gold": "1", "answer": "1"})
    await worker.ask({"gold": "1", "answer": "1"})
    print(worker._process.pid, flush=True)
    if sys.argv[2] == "busy":
        await worker.ask({"gold": "1", "answer": "(x+1)**100000"})
    await asyncio.sleep(600)

asyncio.run(main())
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_killed_host_leaves_no_worker(state: str) -> None:
    root = SCRIPT.parent.parent.parent
    command = [sys.executable, "-c", HOST, str(SCRIPT), state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        assert _alive(pid)
        host.kill()
    for _ in range(500):
        if not _alive(pid):
            break
        time.sleep(0.01)
    assert not _alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_worker_sees_no_key_and_no_terminal_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    worker = Worker(SCRIPT, PROBE)
    await worker.ask(PROBE)
    assert worker._process is not None
    pid = worker._process.pid
    assert b"sk-secret" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.getpgid(pid) != os.getpgid(0)
    await worker.close()
    assert not _alive(pid)


async def test_a_worker_that_does_not_come_up_is_a_fault(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(1)")
    with pytest.raises(GraderFault, match="does not start"):
        await Worker(broken, PROBE).ask(PROBE)


async def test_a_worker_that_fails_its_own_test_is_a_fault(tmp_path: Path) -> None:
    liar = tmp_path / "liar.py"
    liar.write_text("import sys\nfor line in sys.stdin:\n    print('{\"equal\": false}', flush=True)")
    with pytest.raises(GraderFault, match="own test"):
        await Worker(liar, PROBE).ask(PROBE)


async def test_a_worker_killed_while_idle_costs_no_solution_its_grade() -> None:
    worker = Worker(SCRIPT, PROBE)
    await worker.ask(PROBE)
    process = worker._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    assert await worker.ask({"gold": "x+1", "answer": "1+x"}) == {"equal": True}
    await worker.close()


async def test_a_question_that_kills_its_worker_is_told_from_a_fault(tmp_path: Path) -> None:
    fragile = tmp_path / "fragile.py"
    fragile.write_text(
        "import sys\nfor line in sys.stdin:\n"
        "    if 'bomb' in line: sys.exit(9)\n    print('{\"equal\": true}', flush=True)"
    )
    worker = Worker(fragile, PROBE)
    with pytest.raises(Exhausted):
        await worker.ask({"gold": "bomb", "answer": ""})
    assert await worker.ask(PROBE) == {"equal": True}
    await worker.close()


async def test_a_pool_runs_no_more_workers_than_questions_meet() -> None:
    pool = Pool(SCRIPT, PROBE)
    for _ in range(3):
        await pool.ask(PROBE)
    assert sum(worker._process is not None for worker in pool._all) == 1
    await asyncio.gather(*(pool.ask(PROBE) for _ in range(8)))
    assert sum(worker._process is not None for worker in pool._all) == 2
    await pool.close()
