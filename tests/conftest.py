"""What all tests share: where the recorded data stands, and a count of the tests that used it."""

import os
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ERRATA_DATA") or ROOT.parent / "shared" / "data")

_data_tests: Counter[str] = Counter()


@pytest.fixture(scope="session")
def data() -> Path:
    """The recorded data sets; tests that need them are skipped, visibly, where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"no recorded data at {DATA}; name its folder with ERRATA_DATA")
    return DATA


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "data" in report.keywords and (report.when == "call" or report.skipped):
        # What is not installed is not asked to be, and is told among the skipped ones.
        _data_tests["not installed" if "errata[" in str(report.longrepr) else report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    # Data that is there and not used would be a check that looks passed and was not made.
    if DATA.is_dir() and _data_tests["skipped"] and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    ran = _data_tests["passed"] + _data_tests["failed"]
    left = f"{_data_tests['skipped']} skipped, {_data_tests['not installed']} without the packages they need"
    terminalreporter.write_line(f"tests over recorded data: {ran} ran, {left}")
