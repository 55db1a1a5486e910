"""Many kernels started and ended, 32 at a time: is anything left, and does the host grow?

`python -m benchmarks.endurance [--json] [--quick]`. 2,000 kernels (200 with `--quick`), isolated as strongly as
this machine allows; each runs a cell and leaves a daemon behind. Counted in between, whenever no kernel is
alive, and once all is closed: processes, descriptors, folders, control groups, mounts, the host's memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from environments.kernels import KernelHost, choose_isolation

AT_A_TIME = 32
CELL = """
import os, subprocess
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1000"])
    os._exit(0)
open("left", "w").write("behind")
6 * 7
"""


async def main() -> None:
    level = choose_isolation(None)
    rounds = 4
    size = 50 if "--quick" in sys.argv else 500
    tempfile.tempdir = tempfile.mkdtemp(prefix="endurance-")
    counts = {"before": count()}
    began = time.perf_counter()
    async with KernelHost(level) as host:
        await many(host, AT_A_TIME)
        counts["after the first 32"] = count()
        for number in range(1, rounds + 1):
            await many(host, size)
            counts[f"after {number * size:,} more"] = count()
    seconds = time.perf_counter() - began
    counts["after all, closed"] = count()
    Path(tempfile.tempdir).rmdir()  # fails if anything was left in it
    report(level, counts, seconds, AT_A_TIME + rounds * size)


async def many(host: KernelHost, number: int) -> None:
    """Start and end so many; return when nothing of them is left, or after ten seconds."""
    gate = asyncio.Semaphore(AT_A_TIME)

    async def one() -> None:
        async with gate, await host.session() as session:
            result = await session.run(CELL)
            if result.value != "42":
                raise SystemExit(f"a kernel did not answer: {result}")

    await asyncio.gather(*(one() for _ in range(number)))
    deadline = time.monotonic() + 10
    while count()["sleeping daemons"] and time.monotonic() < deadline:  # noqa: ASYNC110  # other processes' end
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)


def count() -> dict[str, float]:
    host = psutil.Process()
    daemons = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "1000"]]
    return {
        "processes": len(host.children(recursive=True)),
        "sleeping daemons": len(daemons),
        "descriptors": host.num_fds(),
        "threads": host.num_threads(),
        "kernel folders": len([path for path in Path(tempfile.gettempdir()).glob("*/*") if path.name.isdecimal()]),
        "control groups": sum(1 for path in groups()),
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
        "memory, MB": round(host.memory_full_info().uss / 1e6, 1),
        "memory of servers, MB": round(sum(p.memory_full_info().uss for p in host.children(recursive=True)) / 1e6, 1),
    }


def groups() -> list[Path]:
    return [path for path in Path("/sys/fs/cgroup").rglob("*") if path.name.isdecimal() and path.is_dir()]


def report(level: str, counts: dict[str, dict[str, float]], seconds: float, kernels: int) -> None:
    last, first = counts["after all, closed"], counts["before"]
    leaks = {name: {"ours": last[name], "other": first[name], "ratio": None, "unit": "left"} for name in last}
    if "--json" in sys.argv:
        measured: dict[str, Any] = {**leaks, "kernels a second": {"ours": kernels / seconds, "unit": "1/s"}}
        print(json.dumps(measured))
        return
    print(f"{kernels:,} kernels, {AT_A_TIME} at a time, isolation {level}, {os.cpu_count()} cores")
    print(f"{'':24}" + "".join(f"{when:>20}" for when in counts))
    for name in last:
        print(f"{name:24}" + "".join(f"{found[name]:>20,}" for found in counts.values()))
    print(f"{kernels / seconds:.1f} kernels a second")


if __name__ == "__main__":
    asyncio.run(main())
