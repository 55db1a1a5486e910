"""What is drawn on a terminal while a run goes on."""

import re
from datetime import UTC, datetime

import pytest

from cli.progress import Progress
from environments.types import Assessment, Call, ErrorEvent, Recovery, Work
from tests.factory import make_trajectory

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The last picture of a run with a long name and a long fault, on a narrow terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    with Progress("run-" + "x" * 90) as progress:
        progress.planned(total=40, finished=0)
        progress.called(1, "openai:m", Call(0, datetime.now(UTC), 1.0, "rate_limited", message="slow down " * 30))
        progress.tally.errors.update(E1=3, E4=1)
        progress.tally.ended = 10
        progress.budget = "$1.20 of $5.00 left"
        progress.limits = "8 at a time"
    pictures = CODES.sub("", capsys.readouterr().err.partition("\x1b[?25h")[0])
    return ("run-" + pictures.rpartition("run-")[2]).rstrip("\n").split("\n")


def test_a_picture_has_at_most_ten_lines_and_none_is_wrapped(drawn: list[str]) -> None:
    assert len(drawn) == 10
    assert max(map(len, drawn)) <= 60


def test_how_far_a_run_is_stands_whatever_its_name(drawn: list[str]) -> None:
    assert re.fullmatch("━{40}  10/40 · .* left", drawn[1])
    assert [line.split()[0] for line in drawn[2:]] == [
        "solved", "tokens", "cost", "errors", "faults", "limits", "in", "last",
    ]  # fmt: skip
    assert drawn[4].endswith("$0.00 · budget $1.20 of $5.00 left")


def test_what_was_read_of_a_trajectory_is_counted_and_not_read_again() -> None:
    event = ErrorEvent(0, "E1", "NameError")
    progress = Progress("r")
    for recovery in (Recovery("R2"), Recovery("R1")):
        progress.ended(make_trajectory([]), Assessment((event,), 1, recovery, 1))
    assert (progress.tally.ended, progress.tally.recovered, progress.tally.errors) == (2, 1, {"E1": 2})


def test_what_others_have_done_stays_done_when_the_next_teacher_is_given_its_tasks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress("r")
    progress.planned(10, 4)
    progress.ended_elsewhere(Work("t", "openai:m", 0))
    progress.planned(15, 4)
    assert (progress.tally.done, progress.tally.total) == (5, 15)
    assert capsys.readouterr().err == "4 of 10 were finished before; going on with 6.\n"
