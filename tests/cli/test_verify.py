"""`errata verify` as a user runs it, over a store that a real run has left."""

import json
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

NO_ISOLATION = ("--isolation", "none")


@pytest.fixture
def collected(teacher: Any, tasks: Path, errata: Any, tmp_path: Path) -> Path:
    teacher.seconds = 0.0
    wanted = ("collect", "--env", "gsm8k", "--data", str(tasks), "--teacher", teacher.name, "--concurrency", "1")
    done = errata(*wanted, "--run", "r", *NO_ISOLATION)
    assert done.returncode == 0, done.stderr
    return tmp_path / "errata.db"


def change(store: Path, statement: str) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute(statement)
        connection.commit()


def rows(store: Path, query: str) -> Sequence[Any]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


def forge(store: Path) -> None:
    change(store, "UPDATE turns SET observation = replace(observation, '22', '23') WHERE trajectory_id = 1")
    change(store, "UPDATE grades SET correct = 0 WHERE turn_id IN (SELECT id FROM turns WHERE trajectory_id = 2)")


def test_what_was_verified_is_not_run_again_and_no_teacher_is_asked(errata: Any, teacher: Any, collected: Path) -> None:
    sold = sum(teacher.sold.values())
    first = errata("verify", "--json", *NO_ISOLATION)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert (told["trajectories"], told["verified_now"], told["hold"], told["differ"]) == (6, 6, 6, 0)
    assert sum(teacher.sold.values()) == sold
    second = errata("verify", *NO_ISOLATION, "--strict")
    assert second.returncode == 0
    assert "6 of 6 trajectories verified, 0 of them now; 6 hold, 0 no longer." in second.stderr
    assert second.stdout == ""
    third = errata("verify", "2", "3", "--again", "--json", *NO_ISOLATION)
    assert json.loads(third.stdout)["verified_now"] == 2


def test_what_was_forged_is_told_and_kept_in_the_store(errata: Any, collected: Path) -> None:
    forge(collected)
    found = errata("verify", *NO_ISOLATION, "--concurrency", "2")
    assert found.returncode == 0
    assert "4 hold, 2 no longer" in found.stderr
    lines = [line.split() for line in found.stdout.splitlines()]
    assert lines[0] == ["id", "task", "turn", "what", "recorded", "found"]
    assert ["1", "gsm8k/11", "1", "observation", "23", "22"] in lines
    assert ["2", "gsm8k/12", "4", "grade", "wrong,", "score", "1", "right,", "score", "1"] in lines
    again = errata("verify", "--json", "--strict", *NO_ISOLATION)
    assert again.returncode == 1
    differences = json.loads(again.stdout)["differences"]
    assert {(one["id"], one["turn"], one["what"]) for one in differences} == {
        (1, 0, "observation"), (1, 2, "observation"), (2, 3, "grade"),
    }  # fmt: skip
    assert rows(collected, "SELECT trajectory_id FROM verifications WHERE NOT holds ORDER BY 1") == [(1,), (2,)]


def test_what_cannot_be_verified_is_told(errata: Any, collected: Path) -> None:
    assert errata("verify", "99").returncode == 2
    change(collected, "UPDATE tasks SET environment = 'nowhere' WHERE task_id = 'gsm8k/11'")
    change(collected, "UPDATE trajectories SET stop = NULL, ended = NULL WHERE id = 3")
    told = errata("verify", "1", "2", "3", *NO_ISOLATION)
    assert told.returncode == 0
    assert "unknown environment 'nowhere'" in told.stderr
    assert "has not ended" in told.stderr
    assert "1 skipped" in told.stderr
    assert errata("verify", "1", "--strict", *NO_ISOLATION).returncode == 1


def test_an_interrupt_keeps_what_was_verified(errata: Any, collected: Path) -> None:
    slow = "'<execute>import time; time.sleep(100)</execute>'"
    change(collected, f"UPDATE turns SET text = {slow} WHERE trajectory_id > 3 AND position = 0")
    running = errata.start("verify", *NO_ISOLATION, "--concurrency", "6")
    ends = time.monotonic() + 60
    while len(rows(collected, "SELECT 1 FROM verifications")) < 3:
        assert time.monotonic() < ends, "nothing was verified"
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "3 of 6 trajectories verified, 3 of them now" in err
    assert "what was verified is kept" in err
    assert len(rows(collected, "SELECT 1 FROM verifications WHERE holds")) == 3
