"""What all tests share: where the recorded data stands."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The recorded data sets; tests that need them are skipped, visibly, where they are absent."""
    folder = Path(os.environ.get("ERRATA_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no recorded data at {folder}; name its folder with ERRATA_DATA")
    return folder
