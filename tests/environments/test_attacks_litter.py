"""Cells that leave files which are hard to remove: none outlives its kernel, nor keeps a session from ending."""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from environments.kernels import KernelHost
from tests.environments.attacks import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

LITTER = {
    "folders in folders": "for _ in range(3_000):\n    os.mkdir('d')\n    os.chdir('d')",
    "folders that cannot be listed": "os.mkdir('d'); open('d/file', 'w'); os.mkdir('d/d'); os.chmod('d', 0)",
    "folders that cannot be changed": "os.mkdir('d'); open('d/file', 'w'); os.chmod('d', 0o500); os.chmod('.', 0o500)",
    "links in a circle": "os.symlink('.', 'here'); os.symlink('b', 'a'); os.symlink('a', 'b')",
    "names that are no text": "open(b'\\xff\\xfe', 'w'); open('new\\nline', 'w')",
    "pipes": "os.mkfifo('pipe')",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def littered(level: str) -> AsyncIterator[tuple[KernelHost, Path]]:
    """A host, and the folder in which it has its own."""
    place = tempfile.mkdtemp(prefix="litter-")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.tempdir", place)
            async with KernelHost(level, cell_timeout=20) as host:
                yield host, Path(place)
        assert not list(Path(place).iterdir())
    finally:
        subprocess.run(["chmod", "-R", "700", place], check=True)
        subprocess.run(["rm", "-rf", place], check=True)


@pytest.mark.parametrize("code", LITTER.values(), ids=LITTER)
async def test_no_file_outlives_its_kernel(littered: tuple[KernelHost, Path], code: str) -> None:
    host, place = littered
    async with await host.session() as session:
        result = await session.run(f"import os\n{code}")
        assert result.error is None or refused(result), result
        assert kernels(place)
    while kernels(place):
        await asyncio.sleep(0.01)


def kernels(place: Path) -> list[Path]:
    """Their folders."""
    return [path for path in place.glob("*/*") if path.name.isdigit()]
