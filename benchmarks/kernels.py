"""How soon a kernel is there, and what it costs: ours beside stock ipykernel through a plain AsyncKernelManager.

`python -m benchmarks.kernels [--json] [--quick]`. Both are measured in turns in one run, so that a busy
machine slows both; times are medians. Isolation is off. The fork server has been started before, except
where the first start of all is measured.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import psutil
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from environments.kernels import KernelHost

MODULES = ("numpy", "pandas", "sympy")
IMPORT = "import numpy as np, pandas as pd, sympy as sp\n1 + 1"
CELLS = (
    "import numpy as np, pandas as pd, sympy as sp",
    "df = pd.DataFrame({'a': range(100), 'b': np.arange(100) ** 2})\ndf.groupby(df.a % 3).b.mean()",
    "x = sp.symbols('x')\nsp.solve(x**2 - 5*x + 6)",
    "1 / 0",
)

Run: TypeAlias = Callable[[str], Awaitable[Any]]
Start: TypeAlias = Callable[[], AbstractAsyncContextManager[Run]]
Pair: TypeAlias = tuple[float, float]
"""Ours and the other's."""


@dataclass(frozen=True, slots=True)
class Sizes:
    starts: int
    kernels: int
    trips: int
    interrupts: int


class Specs(KernelSpecManager):
    """One kernelspec, whatever is asked for: the stock one, or the same with our provisioner."""

    metadata: dict[str, Any] = {}  # noqa: RUF012  # a traitlets class

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, language="python", metadata=self.metadata)


class ForkedSpecs(Specs):
    metadata = {"kernel_provisioner": {"provisioner_name": "errata-fork", "config": {"preload": [*MODULES]}}}  # noqa: RUF012


@asynccontextmanager
async def plain(specs: type[Specs] = Specs) -> AsyncIterator[tuple[AsyncKernelManager, Run]]:
    manager = AsyncKernelManager(kernel_spec_manager=specs())
    # It warns on stderr that TCP can be listened to.
    await manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready()
    try:
        yield manager, lambda code: client.execute_interactive(code, output_hook=lambda message: None)
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


@asynccontextmanager
async def stock() -> AsyncIterator[Run]:
    async with plain() as (_, run):
        yield run


async def main() -> None:
    quick = "--quick" in sys.argv
    sizes = Sizes(starts=5, kernels=8, trips=100, interrupts=5) if quick else Sizes(20, 8, 1_000, 10)
    measured = await measure(sizes)
    if "--json" in sys.argv:
        print(json.dumps(measured))
        return
    for name, row in measured.items():
        print(f"{name:66} {row['ours']:8.1f} {row['other']:8.1f} {row['unit']:3} {row['ratio']:6.3f}")


async def measure(sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Metric → ours, the stock kernel's, their ratio and unit."""
    found: dict[str, tuple[Pair, str]] = {}
    async with KernelHost("none") as host:

        @asynccontextmanager
        async def forked(*preload: str) -> AsyncIterator[Run]:
            async with await host.session(preload=preload) as session:
                yield session.run

        loaded = partial(forked, *MODULES)
        first, _ = await starts(loaded, IMPORT, 1)
        await starts(forked, "1 + 1", 1)
        bare, _ = await starts(forked, "1 + 1", sizes.starts)
        imported, cpu = await starts(loaded, IMPORT, sizes.starts)
        alone, all_in = await memory(loaded, sizes.kernels)
        found = {
            "first start of all to first result, modules imported": (first, "ms"),
            "start to first result": (bare, "ms"),
            "start to first result, numpy, pandas and sympy imported": (imported, "ms"),
            "CPU of all processes for that": (cpu, "ms"),
            f"PSS a kernel after {len(CELLS)} cells, of {sizes.kernels}": (alone, "MB"),
            "PSS a kernel, the fork servers' divided among them": (all_in, "MB"),
            "round trip of x = 1": (await trips(loaded, sizes.trips), "ms"),
        }
    found["interrupt to next result"] = (await interrupts(sizes.interrupts), "ms")
    return {
        name: {"ours": ours, "other": other, "ratio": ours / other, "unit": unit}
        for name, ((ours, other), unit) in found.items()
    }


async def starts(forked: Start, code: str, times: int) -> tuple[Pair, Pair]:
    """Milliseconds to the first result, and of CPU until then."""
    found: dict[Start, list[Pair]] = {forked: [], stock: []}
    for _ in range(times):
        for start, pairs in found.items():
            busy = _cpu()
            began = time.perf_counter()
            async with start() as run:
                await run(code)
                taken = time.perf_counter() - began
                pairs.append((_ms(taken), _ms(_cpu() - busy)))
    (wall, cpu), (other_wall, other_cpu) = (
        map(statistics.median, zip(*pairs, strict=True)) for pairs in found.values()
    )
    return (wall, other_wall), (cpu, other_cpu)


async def memory(forked: Start, kernels: int) -> tuple[Pair, Pair]:
    """MB a kernel: of the kernels alone, and with their share of what the fork servers hold."""
    (alone, all_in), (other, _) = await _memory(forked, kernels), await _memory(stock, kernels)
    return (alone, other), (all_in, other)


async def _memory(start: Start, kernels: int) -> Pair:
    before = psutil.Process().children(recursive=True)
    async with AsyncExitStack() as stack:
        runs = [await stack.enter_async_context(start()) for _ in range(kernels)]
        for run in runs:
            for cell in CELLS:
                await run(cell)
        started = [process for process in psutil.Process().children(recursive=True) if process not in before]
        parents = {process.ppid() for process in started} - {process.pid for process in [psutil.Process(), *started]}
        servers = [psutil.Process(pid) for pid in parents]
        return _pss(started) / kernels, _pss([*started, *servers]) / kernels


async def trips(forked: Start, times: int) -> Pair:
    async with forked() as ours, stock() as other:
        taken: dict[Run, list[float]] = {ours: [], other: []}
        for _ in range(times):
            for run, trips in taken.items():
                began = time.perf_counter()
                await run("x = 1")
                trips.append(_ms(time.perf_counter() - began))
    return statistics.median(taken[ours]), statistics.median(taken[other])


async def interrupts(times: int) -> Pair:
    """A loop interrupted, to the result of the cell after it; both through a plain manager."""
    async with plain(ForkedSpecs) as ours, plain() as other:
        taken: dict[str, list[float]] = {"ours": [], "other": []}
        for _ in range(times):
            for name, (manager, run) in (("ours", ours), ("other", other)):
                cell = asyncio.ensure_future(run("while True: pass"))
                await asyncio.sleep(0.3)
                began = time.perf_counter()
                await manager.interrupt_kernel()
                await cell
                await run("1 + 1")
                taken[name].append(_ms(time.perf_counter() - began))
    return statistics.median(taken["ours"]), statistics.median(taken["other"])


def _ms(seconds: float) -> float:
    return 1_000 * seconds


def _cpu() -> float:
    """Seconds of CPU used by this process and all that it has started and that still runs."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _pss(processes: list[psutil.Process]) -> float:
    return float(sum(process.memory_full_info().pss for process in processes)) / 1e6


if __name__ == "__main__":
    asyncio.run(main())
