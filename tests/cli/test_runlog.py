"""The log that a run writes for programs."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.runlog import Observers, RunLog
from environments.types import Assessment, Call, ErrorEvent, Outcome, Recovery, Reply, Usage, Work
from tests.factory import make_trajectory, make_turn, solve

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPLY = Reply("text", "openai:m", "m-1", "stop", Usage(100, 10, 80), 0.5, Decimal("0.001"), {})
ASSESSMENT = Assessment((ErrorEvent(0, "E1", "NameError"), ErrorEvent(1, "E1", "KeyError")), 1, Recovery("R2"), 1)


def fail(message: str) -> None:
    raise AssertionError(message)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_is_an_object_on_a_line_of_its_own(tmp_path: Path) -> None:
    trajectory = make_trajectory([make_turn(0, solve("3")), make_turn(1, solve("2"))])
    with RunLog(tmp_path / "logs" / "r.jsonl", fail) as log:
        log.started("r", {"env": "math"}, {"errata": "1"}, concurrency=8)
        log.planned(40, 10)
        log.begun(7, Work("math/1", "openai:m", 0))
        log.called(7, "openai:m", Call(2, NOW, 1.5, "rate_limited", 429, 20.0, "req-1", "slow\ndown"))
        log.called(7, "openai:m", Call(2, NOW, 0.5))
        log.replied(7, REPLY)
        log.ended(replace(trajectory, id=7, outcome=Outcome("max_turns", "five")), ASSESSMENT)
        log.warned("careful")
        log.event("budget_used_up", left_usd="0.01")
    told = lines(tmp_path / "logs" / "r.jsonl")
    assert [line["event"] for line in told] == [
        "started", "planned", "begun", "called", "called", "replied", "ended", "warned", "budget_used_up",
    ]  # fmt: skip
    assert all(datetime.fromisoformat(line["at"]).utcoffset() is not None for line in told)
    assert {line["pid"] for line in told} == {os.getpid()}
    fault, answered, replied, ended = told[3:7]
    assert (fault["fault"], fault["status"], fault["retry_after"], fault["message"]) == (
        "rate_limited", 429, 20.0, "slow\ndown",
    )  # fmt: skip
    assert "fault" not in answered
    assert (replied["turn"], replied["tokens_in"], replied["tokens_cache_read"]) == (2, 100, 80)
    assert replied["cost_usd"] == "0.001"
    assert (ended["task"], ended["stop"], ended["note"], ended["turns"]) == ("math/1", "max_turns", "five", 2)
    assert (ended["errors"], ended["level"]) == ({"E1": 2}, "R2")


def test_no_key_no_password_and_no_reference_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "key-that-nobody-may-see")
    server = "openai:m@http://me:hidden@127.0.0.1:1/v1"
    trajectory = make_trajectory([])
    trajectory = replace(trajectory, teacher=server, task=replace(trajectory.task, reference="the gold answer"))
    options = {"extra_headers": {"Authorization": "Bearer hidden", "x-api-key": "hidden"}, "max_tokens": 7}
    with RunLog(tmp_path / "r.jsonl", fail) as log:
        log.started(
            "r", {"teachers": [server], "sampling": {"options": options}}, {}, store="postgresql://u:hidden@h/d"
        )
        log.begun(1, Work("math/1", server, 0))
        log.called(1, server, Call(0, NOW, 1.0, "denied", 401, message="wrong key key-that-nobody-may-see"))
        log.replied(1, replace(REPLY, teacher=server))
        log.ended(replace(trajectory, outcome=Outcome("failed", f"{server} is away")), ASSESSMENT)
        log.warned("postgresql://u:hidden@h/d is away")
    written = (tmp_path / "r.jsonl").read_text(encoding="utf-8")
    assert not [word for word in ("hidden", "nobody-may-see", "gold answer") if word in written]
    assert lines(tmp_path / "r.jsonl")[0]["config"]["sampling"]["options"]["max_tokens"] == 7


def test_a_long_message_is_cut_and_a_lone_surrogate_does_no_harm(tmp_path: Path) -> None:
    with RunLog(tmp_path / "r.jsonl", fail) as log:
        log.warned("é\udc80" + "x" * 10_000)
    (line,) = lines(tmp_path / "r.jsonl")
    assert line["message"].startswith("é\udc80xxx")
    assert len(line["message"]) < 600


def test_a_torn_last_line_spoils_no_line_after_it(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"event":"planned"}\n{"event":"cal', encoding="utf-8")
    with RunLog(file, fail) as log:
        log.warned("one")
        log.warned("two")
    whole = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in (whole[0], *whole[2:])] == ["planned", "warned", "warned"]


def test_processes_that_share_a_log_tear_no_line_of_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, cli.runlog as r\n"
        "with r.RunLog(pathlib.Path(sys.argv[1]), print) as log:\n"
        "    for n in range(500): log.event('counted', n=n, padding='x' * (n % 400))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "r.jsonl")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    told = lines(tmp_path / "r.jsonl")
    for process in processes:
        assert [line["n"] for line in told if line["pid"] == process.pid] == list(range(500))


def test_a_full_disk_is_told_once_and_ends_nothing() -> None:
    told: list[str] = []
    with RunLog(Path("/dev/full"), told.append) as log:
        log.warned("one")
        log.warned("two")
    (message,) = told
    assert "No space left" in message
    assert "/dev/full" in message


def test_what_a_full_disk_swallowed_is_counted_when_there_is_room_again(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    code = (
        "import sys, pathlib, resource, signal, cli.runlog as r\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "told = []\n"
        "with r.RunLog(pathlib.Path(sys.argv[1]), told.append) as log:\n"
        "    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "    log.warned('before')\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (120, hard))\n"
        "    for word in ('torn', 'lost', 'lost'): log.warned(word)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))\n"
        "    log.warned('after')\n"
        "sys.exit(len(told))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(file)], check=False).returncode == 1
    before, torn, *after = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(before)["message"] == "before"
    with pytest.raises(json.JSONDecodeError):
        json.loads(torn)
    assert [json.loads(line)["event"] for line in after] == ["lines_lost", "warned"]
    assert json.loads(after[0])["count"] == 3


def test_a_log_in_a_place_that_cannot_be_is_told_once_and_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told: list[str] = []
    with RunLog(tmp_path / "file" / "r.jsonl", told.append) as log:
        log.planned(1, 0)
        log.warned("one")
    assert len(told) == 1


def test_several_observers_all_hear_everything(tmp_path: Path) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    with RunLog(files[0], fail) as first, RunLog(files[1], fail) as second:
        both = Observers(first, second)
        both.planned(1, 0)
        both.begun(1, Work("t", "m", 0))
        both.called(1, "m", Call(0, NOW, 1.0))
        both.replied(1, REPLY)
        both.ended(make_trajectory([]), ASSESSMENT)
        both.ended_elsewhere(Work("t", "m", 1))
        both.waiting(1)
        both.warned("careful")
    heard = [[line["event"] for line in lines(file)] for file in files]
    assert heard[0] == heard[1] == [
        "planned", "begun", "called", "replied", "ended", "ended_elsewhere", "waiting", "warned",
    ]  # fmt: skip
