"""Installed beside numpy, as by pip: then Errata itself stands among what kernels may read, and is hidden there."""

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from environments.kernels.isolation import LEVELS, working_levels

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cli", "collectors", "environments", "exporters", "filters", "store")

LOOK = """
import asyncio, json, sys
from environments.kernels import KernelHost

CELLS = (
    "import numpy, os, sys; [folder] = {path for path in sys.path if path.endswith('site-packages')}; 1",
    "open(os.path.join(folder, 'environments', 'graders', 'mathematics.py')).read()",
    "open(os.path.join(folder, 'store', 'schema.py')).read()",
    "import environments.graders",
    "int(numpy.ones(3).sum()), os.path.isdir(os.path.join(folder, 'numpy'))",
)

async def main(level):
    async with KernelHost(level) as host, await host.session() as session:
        results = [await session.run(cell) for cell in CELLS]
    print(json.dumps([[result.value, result.error and result.error.name] for result in results]))

asyncio.run(main(sys.argv[1]))
"""


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds what ours holds, and Errata itself."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    leave_out = shutil.ignore_patterns("__editable__*", "_errata*", "errata*", "torch*")
    shutil.copytree(
        sysconfig.get_path("purelib"), packages, dirs_exist_ok=True, copy_function=link, ignore=leave_out, symlinks=True
    )
    for name in PACKAGES:
        shutil.copytree(ROOT / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "bin" / "python"


@pytest.mark.parametrize("level", [level for level in LEVELS if level in working_levels() and level != "none"])
def test_a_kernel_finds_numpy_there_and_nothing_of_errata(installed: Path, level: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [installed, "-c", LOOK, level], capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, grader, store, imported, numpy = json.loads(done.stdout)
    assert (found, numpy) == (["1", None], ["(3, True)", None])
    assert grader[1] in ("FileNotFoundError", "PermissionError")
    assert store[1] in ("FileNotFoundError", "PermissionError")
    assert imported[1] in ("ModuleNotFoundError", "PermissionError")
