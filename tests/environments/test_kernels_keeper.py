"""Kernels start and end while something else goes on, and neither their faults nor they themselves are lost."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import psutil
import pytest

from environments.faults import KernelFault
from environments.kernels import KernelHost
from environments.kernels.keeper import MOST_DEAD, Keeper


@pytest.fixture(autouse=True)
def _own_folder(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short_path))


@pytest.fixture
def elsewhere() -> set[psutil.Process]:
    """Child processes that are not of these tests."""
    return {*psutil.Process().children()}


def folders(short_path: Path) -> list[Path]:
    return [path for path in short_path.glob("*/*") if path.name.isdigit()]


async def test_a_session_is_there_before_its_kernel_is() -> None:
    async with KernelHost("none") as host:
        asking = host.session()
        with pytest.raises(StopIteration) as given:
            asking.send(None)  # it has waited for nothing
        assert (await given.value.value.run("1 + 1")).value == "2"


async def test_a_session_that_ends_before_its_first_cell_leaves_nothing_behind(
    short_path: Path, elsewhere: set[psutil.Process]
) -> None:
    async with KernelHost("none") as host:
        for moment in (0.0, 0.01, 0.5):
            async with await host.session():
                await asyncio.sleep(moment)
    assert not list(short_path.iterdir())
    assert {*psutil.Process().children()} <= elsewhere


async def test_a_host_left_while_kernels_start_leaves_nothing_behind(
    short_path: Path, elsewhere: set[psutil.Process]
) -> None:
    async with KernelHost("none") as host:
        sessions = [await host.session() for _ in range(8)]
        cell = asyncio.create_task(sessions[0].run("import time; time.sleep(1000)"))
        await asyncio.sleep(0.05)
    assert not list(short_path.iterdir())
    assert {*psutil.Process().children()} <= elsewhere
    with pytest.raises(KernelFault, match="closed"):
        await cell
    with pytest.raises(KernelFault, match="closed"):
        await sessions[1].run("1")


async def test_a_start_that_failed_unseen_is_logged(short_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with KernelHost("none") as host, await host.session(setup="1/0"):
            while not folders(short_path):
                await asyncio.sleep(0.01)
            while folders(short_path):
                await asyncio.sleep(0.01)
    (record,) = caplog.records
    assert "ZeroDivisionError" in record.getMessage()


async def test_a_start_whose_fault_was_raised_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with KernelHost("none") as host, await host.session(setup="1/0") as session:
            with pytest.raises(KernelFault, match="ZeroDivisionError"):
                await session.run("1")
    assert not caplog.records


class Slow:
    """Stands for a kernel whose remains are long to clear away."""

    def __init__(self) -> None:
        self.cleared = asyncio.Event()

    def kill(self) -> None:
        pass

    async def close(self) -> None:
        await self.cleared.wait()


async def test_starts_wait_while_too_much_is_left_of_the_dead() -> None:
    async def launch() -> Any:
        return Slow()

    keeper = Keeper()
    dead = [keeper.start(launch) for _ in range(MOST_DEAD)]
    await asyncio.wait(dead)
    for birth in dead:
        keeper.end(birth)
    waiting = keeper.start(launch)
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    dead[0].result().cleared.set()
    await asyncio.wait_for(waiting, timeout=10)
    for birth in (*dead, waiting):
        birth.result().cleared.set()
    await keeper.close()


async def test_a_session_goes_on_after_a_death_without_waiting_for_the_burial() -> None:
    async with KernelHost("none") as host, await host.session() as session:
        for number in range(5):
            assert (await session.run("import os; os._exit(1)")).died
            assert (await session.run(f"{number}")).value == str(number)


async def test_no_kernel_starts_once_the_host_has_been_left(elsewhere: set[psutil.Process]) -> None:
    async with KernelHost("none") as host:
        pass
    with pytest.raises(KernelFault, match="left"):
        await host.session()
    assert {*psutil.Process().children()} <= elsewhere
