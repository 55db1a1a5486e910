"""When walls cannot be raised there is no kernel: none ever runs at a level below the one its host says."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from environments.faults import KernelFault
from environments.kernels import KernelHost
from tests.environments.attacks import claims, refused
from tests.environments.attacks_decoys import Decoys

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Killer(threading.Thread):
    """Kills the first fork servers that this process starts, as the system does when memory is short."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._ended = threading.Event()
        self.killed: set[int] = set()

    def run(self) -> None:
        while len(self.killed) < self._most and not self._ended.wait(0.002):
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):
                    if child.pid not in self.killed and any("forkserver_process" in word for word in child.cmdline()):
                        os.kill(child.pid, signal.SIGKILL)
                        self.killed.add(child.pid)

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture(params=[1, 2, 3])
def killer(request: pytest.FixtureRequest) -> Iterator[Killer]:
    killer = Killer(request.param)
    yield killer
    killer.end()


async def test_a_kernel_whose_servers_are_killed_has_its_walls_or_is_none(
    level: str, decoys: Decoys, killer: Killer
) -> None:
    async with KernelHost(level, cell_timeout=20) as host:
        killer.start()
        session = await host.session(setup=decoys.inside)
        try:
            await session.run("'started'")
        except KernelFault:
            return
        finally:
            killer.end()
        assert killer.killed
        result = await session.run("print(open(decoy['file']).read())")
        assert refused(result) == claims(level, "files"), result
