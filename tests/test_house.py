"""What holds for the house as a whole."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cli", "collectors", "environments", "exporters", "filters", "store")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_a_name_of_ours(package: str) -> None:
    # A dependency with a top-level `cli` would shadow ours, or ours it.
    assert set(packages_distributions().get(package, ["errata"])) == {"errata"}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    heavy = ("anthropic", "openai", "datasets", "pandas", "sympy", "sqlalchemy", "jupyter_client", "pyarrow")
    code = f"import sys, {package}, cli.main; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_lock_names_no_registry_and_hashes_everything() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    pins = [line for line in lock.splitlines() if "==" in line]
    assert pins
    assert all(line.endswith("\\") for line in pins)
    assert lock.count("--hash=sha256:") >= len(pins)


def test_the_tests_are_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
