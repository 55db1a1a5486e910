"""The attacks once more as an ordinary user, where the tests are run by root."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
QUICK = ("files", "network", "processes")
"""Where it may make a difference who runs them. At level `none` root has shown that they succeed."""

UNLIKE_ROOT = "not [none and not cpu_time and not fork_bomb and not ordinary_error"

LEVELS = "from environments.kernels.isolation import working_levels; print(*working_levels())"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs these tests already")


@pytest.fixture
def home() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ordinary-") as home:
        (Path(home) / "notes").write_text("of an ordinary user")
        yield home


def run(home: str, *command: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(HERE / "ordinary.py"), home, sys.executable, *command]
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode == 77:
        pytest.skip(f"no ordinary user can be had here: {done.stdout}")
    return done


def test_an_ordinary_users_kernels_stand_the_same_attacks(home: str) -> None:
    levels = run(home, "-c", LEVELS).stdout.split()
    if levels == ["none"]:
        pytest.skip("an ordinary user can have no isolation here")
    assert "namespaces" not in levels, "it is not as an ordinary user that this ran"
    files = [str(HERE / f"test_attacks_{name}.py") for name in QUICK]
    done = run(home, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", UNLIKE_ROOT, *files)
    assert done.returncode == 0, done.stdout
