"""What is drawn on a terminal while a run goes on."""

import re
from datetime import UTC, datetime

import pytest

from cli.progress import Progress
from environments.types import Call

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The last picture of a run with a long name and a long fault, on a narrow terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    with Progress("run-" + "x" * 90) as progress:
        progress.planned(total=40, finished=0)
        progress.called("openai:m", Call(0, datetime.now(UTC), 1.0, "rate_limited", message="slow down " * 30))
        progress.tally.errors.update(E1=3, E4=1)
        progress.tally.ended = 10
    pictures = CODES.sub("", capsys.readouterr().err.partition("\x1b[?25h")[0])
    return ("run-" + pictures.rpartition("run-")[2]).rstrip("\n").split("\n")


def test_a_picture_has_at_most_ten_lines_and_none_is_wrapped(drawn: list[str]) -> None:
    assert len(drawn) == 10
    assert max(map(len, drawn)) <= 60


def test_how_far_a_run_is_stands_whatever_its_name(drawn: list[str]) -> None:
    assert re.fullmatch("━{40}  10/40 · .* left", drawn[1])
    assert [line.split()[0] for line in drawn[2:]] == [
        "solved", "recovered", "tokens", "cost", "errors", "faults", "in", "last",
    ]  # fmt: skip
