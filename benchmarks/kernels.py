"""How soon a kernel is there, and what it costs: ours beside stock ipykernel through a plain AsyncKernelManager.

`python -m benchmarks.kernels [--json] [--quick]`. Both are measured in turns in one run, so that a busy
machine slows both; times are medians. "Isolated" is the strongest level that works here; without that
word isolation is off. The fork server has been started before, except where the first start of all is
measured. `python -c` is a plain interpreter that imports the same, and is not a session.
"""

from __future__ import annotations

import asyncio
import json
import resource
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
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from environments.kernels import KernelHost, choose_isolation

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
Timed: TypeAlias = Callable[[], Awaitable[float]]
Stop: TypeAlias = Callable[["Plain"], Awaitable[float]]
"""Seconds until a kernel that was stopped goes on."""

LIMIT = 0.3
"""Seconds that a loop may take until it is stopped."""

KERNELS = 8, 32
"""At which numbers of live kernels memory is measured."""


@dataclass(frozen=True, slots=True)
class Sizes:
    starts: int
    trips: int
    stops: int


class Specs(KernelSpecManager):
    """One kernelspec, whatever is asked for: the stock one, or the same with our provisioner."""

    metadata: dict[str, Any] = {}  # noqa: RUF012  # a traitlets class

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, language="python", metadata=self.metadata)


class ForkedSpecs(Specs):
    metadata = {"kernel_provisioner": {"provisioner_name": "errata-fork", "config": {"preload": [*MODULES]}}}  # noqa: RUF012


@dataclass(frozen=True, slots=True)
class Plain:
    """A kernel as any Jupyter user has one."""

    manager: AsyncKernelManager
    client: AsyncKernelClient

    async def run(self, code: str) -> None:
        await self.client.execute_interactive(code, output_hook=lambda message: None)


@asynccontextmanager
async def plain(specs: type[Specs] = Specs) -> AsyncIterator[Plain]:
    manager = AsyncKernelManager(kernel_spec_manager=specs())
    # It warns on stderr that TCP can be listened to.
    await manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready()
    try:
        yield Plain(manager, client)
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)


@asynccontextmanager
async def stock() -> AsyncIterator[Run]:
    async with plain() as kernel:
        yield kernel.run


async def main() -> None:
    sizes = Sizes(5, 100, 3) if "--quick" in sys.argv else Sizes(20, 1_000, 10)
    measured = await measure(sizes, choose_isolation(None))
    if "--json" in sys.argv:
        print(json.dumps(measured))
        return
    print(f"{'':76} {'ours':>8} {'stock':>8}      ours/stock")
    for name, row in measured.items():
        print(f"{name:76} {row['ours']:8.1f} {row['other']:8.1f} {row['unit']:3} {row['ratio']:9.3f}")


async def measure(sizes: Sizes, level: str) -> dict[str, dict[str, Any]]:
    """Metric → ours, the stock kernel's, their ratio and unit."""
    found: dict[str, tuple[Pair, str]] = {}
    modules = ", ".join(MODULES)
    async with KernelHost("none") as open_host, KernelHost(level) as host:
        bare, loaded, isolated = sessions(open_host), sessions(open_host, *MODULES), sessions(host, *MODULES)
        first, _ = await starts(loaded, stock, IMPORT, 1)
        for warm in (bare, isolated):
            await starts(warm, warm, "1 + 1", 1)
        found["first start of all to first result, modules imported"] = first, "ms"
        found["start to first result"] = (await starts(bare, stock, "1 + 1", sizes.starts))[0], "ms"
        for name, ours in (("", loaded), (f", isolated ({level})", isolated)):
            wall, cpu = await starts(ours, stock, IMPORT, sizes.starts)
            found[f"start to first result, {modules} imported{name}"] = wall, "ms"
            found[f"CPU of all processes for that{name}"] = cpu, "ms"
        wall, cpu = await starts(isolated, interpreter, IMPORT, sizes.starts)
        found[f"start to first result, isolated, beside python -c importing {modules}"] = wall, "ms"
        found["CPU of all processes for that, beside python -c"] = cpu, "ms"
        for count, ours_and_server, other in zip(KERNELS, await memory(isolated), await memory(stock), strict=True):
            alone, all_in = ours_and_server
            found[f"PSS a kernel after {len(CELLS)} cells, of {count}, isolated"] = (alone, other[0]), "MB"
            found[f"PSS a kernel, the fork servers' divided among them, of {count}"] = (all_in, other[0]), "MB"
        wall, cpu = await trips(isolated, sizes.trips)
        found["round trip of x = 1, isolated"] = wall, "ms"
        found["CPU of all processes for that, isolated"] = cpu, "ms"
        for name, last_words, stop in (
            ("a cell at its limit, to the next result, isolated, beside interrupt", "while True: pass", interrupted),
            ("a kernel's death, to the next result, isolated, beside restart", "import os; os._exit(1)", restarted),
        ):
            found[name] = await stops(host, last_words, stop, sizes.stops), "ms"
    for name, stop in (("interrupt", interrupted), ("restart", restarted)):
        async with plain(ForkedSpecs) as forked, plain() as unforked:
            taken = await in_turns(partial(stop, forked), partial(stop, unforked), sizes.stops)
            found[f"{name} to next result, both through a plain manager"] = taken, "ms"
    return {
        name: {"ours": ours, "other": other, "ratio": ours / other, "unit": unit}
        for name, ((ours, other), unit) in found.items()
    }


def sessions(host: KernelHost, *preload: str) -> Start:
    @asynccontextmanager
    async def start() -> AsyncIterator[Run]:
        async with await host.session(preload=preload) as session:
            yield session.run

    return start


@asynccontextmanager
async def interpreter() -> AsyncIterator[Run]:
    async def run(code: str) -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        await process.wait()

    yield run


async def starts(ours: Start, others: Start, code: str, times: int) -> tuple[Pair, Pair]:
    """Milliseconds to the first result, and of CPU until then, of both in turns."""
    found: tuple[list[Pair], list[Pair]] = [], []
    for _ in range(times):
        for start, pairs in zip((ours, others), found, strict=True):
            busy = _cpu()
            began = time.perf_counter()
            async with start() as run:
                await run(code)
                taken = time.perf_counter() - began
                pairs.append((_ms(taken), _ms(_cpu() - busy)))
    (wall, cpu), (other_wall, other_cpu) = (map(statistics.median, zip(*pairs, strict=True)) for pairs in found)
    return (wall, other_wall), (cpu, other_cpu)


async def memory(start: Start) -> list[Pair]:
    """MB a kernel at each number of them: of the kernels alone, and with their share of what started them holds."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    found = []
    async with AsyncExitStack() as stack:
        live = 0
        for count in KERNELS:
            for _ in range(live, count):
                # One by one: stock kernels that start at once take each other's ports, and are then waited for.
                run = await stack.enter_async_context(start())
                for cell in CELLS:
                    await run(cell)
            live = count
            found.append(_memory(before, count))
    return found


def _memory(before: set[int], kernels: int) -> Pair:
    """Fork servers were there before; the kernels' parents among them are those that count."""
    family = psutil.Process().children(recursive=True)
    started = [process for process in family if process.pid not in before]
    parents = {process.ppid() for process in started}
    servers = [process for process in family if process.pid in parents]
    return _pss(started) / kernels, _pss([*started, *servers]) / kernels


async def trips(forked: Start, times: int) -> tuple[Pair, Pair]:
    """Milliseconds of one, and of CPU in all processes."""
    async with forked() as ours, stock() as other:
        await ours("x = 1")
        await other("x = 1")
        found: list[tuple[float, float]] = []
        for run in (ours, other):
            busy, taken = _cpu(), []
            for _ in range(times):
                began = time.perf_counter()
                await run("x = 1")
                taken.append(_ms(time.perf_counter() - began))
            found.append((statistics.median(taken), _ms(_cpu() - busy) / times))
    (wall, cpu), (other_wall, other_cpu) = found
    return (wall, other_wall), (cpu, other_cpu)


async def stops(host: KernelHost, last_words: str, stop: Stop, times: int) -> Pair:
    """Milliseconds until a session goes on, after a cell that its kernel does not survive."""
    async with await host.session(preload=MODULES) as session, plain() as other:
        await session.run(IMPORT)

        async def ours() -> float:
            began = time.perf_counter()
            result = await session.run(last_words, timeout=LIMIT)
            await session.run(IMPORT)
            return time.perf_counter() - began - (LIMIT if result.timed_out else 0.0)

        return await in_turns(ours, partial(stop, other), times)


async def in_turns(ours: Timed, other: Timed, times: int) -> Pair:
    """Their medians in milliseconds."""
    found = [(await ours(), await other()) for _ in range(times)]
    (one, another) = (statistics.median(taken) for taken in zip(*found, strict=True))
    return _ms(one), _ms(another)


async def interrupted(kernel: Plain) -> float:
    """Seconds from a loop's interrupt to the result of the cell after it."""
    cell = asyncio.ensure_future(kernel.run("while True: pass"))
    await asyncio.sleep(LIMIT)
    began = time.perf_counter()
    await kernel.manager.interrupt_kernel()
    await cell
    await kernel.run(IMPORT)
    return time.perf_counter() - began


async def restarted(kernel: Plain) -> float:
    """Seconds from a kernel's end to the modules' import in the next."""
    began = time.perf_counter()
    await kernel.manager.restart_kernel(now=True)
    # Without it a client may wait for ever for what was published before it was connected.
    await kernel.client.wait_for_ready()
    await kernel.run(IMPORT)
    return time.perf_counter() - began


def _ms(seconds: float) -> float:
    return 1_000 * seconds


def _cpu() -> float:
    """Seconds of CPU used by this process, all that it has started and that still runs, and what it has waited for."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(sum(process.cpu_times()[:2]) for process in processes) + ended.ru_utime + ended.ru_stime


def _pss(processes: list[psutil.Process]) -> float:
    return float(sum(process.memory_full_info().pss for process in processes)) / 1e6


if __name__ == "__main__":
    asyncio.run(main())
