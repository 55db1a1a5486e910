"""What kernels' tests run in: the attacks at each level of isolation in turn, with decoys planted around it."""

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from environments.kernels import KernelHost, KernelSession
from environments.kernels.isolation import LEVELS
from tests.environments.attacks import assert_goes_on, working
from tests.environments.attacks_decoys import SECRET, Decoys, planted


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder that can hold kernels, of whose sockets the paths may not be long."""
    with tempfile.TemporaryDirectory(prefix="kernels-") as folder:
        yield Path(folder).resolve()


@pytest.fixture(scope="session")
def decoys() -> Iterator[Decoys]:
    if sys.platform != "linux":
        pytest.skip("the attacks are on walls of Linux, and speak its language")
    with planted() as decoys:
        yield decoys


@pytest.fixture(scope="module", params=LEVELS)
def level(request: pytest.FixtureRequest, decoys: Decoys) -> str:
    level: str = request.param
    if level not in working():
        pytest.skip(f"level {level} does not work on this machine, for this user")
    return level


@dataclass(frozen=True, slots=True)
class Way:
    """How a test's kernels come to life."""

    level: str
    fork: bool


@pytest.fixture(scope="module", params=["forked", "isolated", "stock"])
def way(request: pytest.FixtureRequest) -> Way:
    if request.param != "isolated":
        return Way("none", fork=request.param == "forked")
    strongest = working()[0]
    if strongest == "none":
        pytest.skip("no level of isolation works on this machine, for this user")
    return Way(strongest, fork=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(level: str, decoys: Decoys) -> AsyncIterator[KernelHost]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", SECRET)
        async with KernelHost(level, cell_timeout=20) as host:
            yield host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def attacker(host: KernelHost, decoys: Decoys) -> KernelSession:
    """A session in which the attacks' helpers are defined."""
    return await host.session(setup=decoys.inside)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forger(host: KernelHost) -> AsyncIterator[KernelSession]:
    """A session beside another that has to be at work in the end."""
    async with await host.session() as session, await host.session() as bystander:
        yield session
        await assert_goes_on(bystander)
