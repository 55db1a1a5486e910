"""`errata collect` as a user runs it: real processes, real kernels, a real server, real signals."""

import json
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

NO_ISOLATION = ("--isolation", "none")


def collect(teacher: Any, tasks: Path, *more: str) -> tuple[str, ...]:
    wanted = ("collect", "--env", "gsm8k", "--data", str(tasks), "--teacher", teacher.name, "--concurrency", "3")
    return (*wanted, "--run", "r", *NO_ISOLATION, *more)


def rows(store: Path) -> list[tuple[Any, ...]]:
    """All that a run is to have made, and nothing that depends on when."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(
            "SELECT tasks.task_id, trajectories.stop, turns.position, turns.text, turns.observation, grades.correct"
            " FROM trajectories JOIN tasks ON tasks.id = task_row JOIN turns ON turns.trajectory_id = trajectories.id"
            " LEFT JOIN grades ON grades.turn_id = turns.id WHERE NOT abandoned ORDER BY 1, 3"
        ).fetchall()


def count(store: Path, query: str) -> int:
    with closing(sqlite3.connect(store)) as connection:
        return int(connection.execute(query).fetchone()[0])


def wait_for(condition: Any, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


def replies(store: Path) -> int:
    try:
        return count(store, "SELECT count(*) FROM turns")
    except sqlite3.OperationalError:
        return 0


@pytest.fixture
def undisturbed(teacher: Any, tasks: Path, errata: Any, tmp_path: Path) -> list[tuple[Any, ...]]:
    done = errata(*collect(teacher, tasks), "--store", "sqlite:///undisturbed.db", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["solved_now"] == 6
    assert json.loads(done.stdout)["recovered_now"] == 6
    teacher.sold.clear()
    return rows(tmp_path / "undisturbed.db")


def test_a_run_killed_at_any_time_ends_with_the_same_rows_and_buys_no_committed_reply_again(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    store = tmp_path / "errata.db"
    committed: set[tuple[str, int]] = set()
    for stop_at in (2, 9, 16):
        process = errata.start(*collect(teacher, tasks))
        wait_for(lambda least=stop_at, process=process: replies(store) >= least or process.poll() is not None)
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate()
        wait_for(lambda family=family: not any(map(_alive, family)), 15)
        with closing(sqlite3.connect(store)) as connection:
            held = set(
                connection.execute(
                    "SELECT prompt, position FROM turns JOIN trajectories ON trajectories.id = trajectory_id"
                    " JOIN tasks ON tasks.id = task_row"
                ).fetchall()
            )
        assert committed <= held
        committed = held
        for task, turn in held:
            assert teacher.sold[f"Task:\n{task}", turn] >= 1
        sold_before = {key: number for key, number in teacher.sold.items() if (key[0][6:], key[1]) in held}
    done = errata(*collect(teacher, tasks))
    assert done.returncode == 0, done.stderr
    assert rows(store) == undisturbed
    assert {key: teacher.sold[key] for key in sold_before} == sold_before
    sold = sum(teacher.sold.values())
    errata(*collect(teacher, tasks))
    assert sum(teacher.sold.values()) == sold


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_ctrl_c_keeps_the_replies_under_way_and_prints_how_to_go_on(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path
) -> None:
    teacher.seconds = 1.0
    store = tmp_path / "errata.db"
    process = errata.start(*collect(teacher, tasks))
    wait_for(lambda: sum(teacher.sold.values()) >= 1)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "To go on: errata collect --env gsm8k" in said
    assert "Traceback" not in said
    assert replies(store) == sum(teacher.sold.values())
    assert count(store, "SELECT count(*) FROM turns WHERE observation IS NULL") == 0
    assert not any(map(_alive, family))
    teacher.seconds = 0.0
    assert errata(*collect(teacher, tasks)).returncode == 0
    assert max(teacher.sold.values()) == 1
    assert count(store, "SELECT count(*) FROM trajectories WHERE stop = 'solved'") == 6


def test_one_task_that_cannot_be_asked_does_not_end_the_run_and_is_tried_again(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path
) -> None:
    teacher.seconds, teacher.broken = 0.0, {"12"}
    done = errata(*collect(teacher, tasks))
    assert done.returncode == 1
    assert "this task is not for sale" in done.stderr
    assert "1 could not be done" in done.stderr
    assert count(tmp_path / "errata.db", "SELECT count(*) FROM trajectories WHERE stop = 'solved'") == 5
    teacher.broken = set()
    assert errata(*collect(teacher, tasks)).returncode == 0
    assert count(tmp_path / "errata.db", "SELECT count(*) FROM trajectories WHERE stop = 'solved'") == 6
    assert max(teacher.sold.values()) == 1


def test_two_collectors_of_one_run_share_its_tasks_and_the_second_takes_up_what_a_killed_one_leaves(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path, undisturbed: list[tuple[Any, ...]]
) -> None:
    teacher.seconds = 1.0
    first = errata.start(*collect(teacher, tasks))
    second = errata.start(*collect(teacher, tasks))
    owners = "SELECT count(DISTINCT epoch) FROM trajectories JOIN turns ON trajectory_id = trajectories.id"
    wait_for(lambda: replies(tmp_path / "errata.db") and count(tmp_path / "errata.db", owners) == 2)
    time.sleep(0.3)
    first.kill()
    first.communicate()
    _, said = second.communicate(timeout=120)
    assert second.returncode == 0, said
    assert rows(tmp_path / "errata.db") == undisturbed
    again = [place for place, times in teacher.sold.items() if times > 1]
    assert len(again) <= 3, "more than were in flight"
    assert count(tmp_path / "errata.db", "SELECT count(*) FROM leases") == 0


def test_a_budget_holds_over_starts_and_processes_and_a_higher_one_goes_on(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path
) -> None:
    teacher.seconds = 0.1
    price = ("--price", "1000,1000", "--max-tokens", "10")
    unknown = errata(*collect(teacher, tasks, "--max-tokens", "10", "--budget-usd", "1"))
    assert unknown.returncode == 2
    assert "give --price IN,OUT" in unknown.stderr
    unbounded = errata(*collect(teacher, tasks, "--budget-tokens", "1000"), "--run", "s")
    assert unbounded.returncode == 2
    assert "--max-tokens" in unbounded.stderr
    assert sum(teacher.sold.values()) == 0

    (tmp_path / "errata.db").unlink()
    capped = collect(teacher, tasks, *price, "--budget-usd", "4")
    both = [errata.start(*capped) for _ in range(2)]
    for process in both:
        assert process.wait(120) == 0, process.communicate()[1]
        assert "The budget is used up" in process.communicate()[1]
    spent = sum(teacher.sold.values()) * 0.110
    stands = "SELECT settled_usd, reserved_usd, cap_usd FROM budgets"
    with closing(sqlite3.connect(tmp_path / "errata.db")) as connection:
        settled, reserved, cap = connection.execute(stands).fetchone()
    assert (settled / 1e9, reserved, cap / 1e9) == (pytest.approx(spent), 0, 4)
    assert 0 < spent < 2.64
    done = errata(*collect(teacher, tasks, *price, "--budget-usd", "1000", "--json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 6
    assert max(teacher.sold.values()) == 1


def test_a_run_ends_when_enough_have_recovered(teacher: Any, tasks: Path, errata: Any, tmp_path: Path) -> None:
    teacher.seconds = 0.1
    wanted = collect(teacher, tasks, "--until-recovered", "2", "--concurrency", "1")
    done = errata(*wanted)
    assert done.returncode == 0, done.stderr
    assert "2 trajectories have recovered: that is enough." in done.stderr
    sold = sum(teacher.sold.values())
    assert count(tmp_path / "errata.db", "SELECT count(*) FROM trajectories WHERE stop = 'solved'") == 2
    assert errata(*wanted).returncode == 0
    assert sum(teacher.sold.values()) == sold


def test_what_has_not_been_read_for_errors_is_not_bought_again_to_recover(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path
) -> None:
    teacher.seconds = 0.0
    assert errata(*collect(teacher, tasks, "--limit", "2")).returncode == 0
    with closing(sqlite3.connect(tmp_path / "errata.db")) as connection, connection:
        connection.execute("UPDATE trajectories SET assessed = assessed - 1")
    wanted = collect(teacher, tasks, "--until-recovered", "2")
    refused = errata(*wanted)
    assert refused.returncode == 2
    assert "`errata filter --run r` reads them" in refused.stderr
    assert errata("filter", "--run", "r").returncode == 0
    assert "that is enough" in errata(*wanted).stderr
    assert sum(teacher.sold.values()) == 8


def test_a_weak_teacher_hands_over_to_a_strong_one(teacher: Any, tasks: Path, errata: Any) -> None:
    teacher.seconds = 0.0
    base = teacher.name.partition("@")[2]
    pair = f"openai:weak@{base},openai:strong@{base}"
    wanted = ("collect", "--env", "gsm8k", "--data", str(tasks), "--handover", pair, "--run", "r", *NO_ISOLATION)
    assert errata(*wanted, "--limit", "1").returncode == 0
    shown = json.loads(errata("show", "1", "--json").stdout)
    assert shown["teacher"] == f"openai:weak@{base}>openai:strong@{base}"
    assert [turn["reply"]["teacher"].split("@")[0] for turn in shown["turns"]] == [
        "openai:weak", "openai:weak", "openai:strong", "openai:strong",
    ]  # fmt: skip


def test_what_happens_is_written_as_json_lines_beside_the_store(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path
) -> None:
    teacher.seconds = 0.0
    assert errata(*collect(teacher, tasks)).returncode == 0
    lines = (tmp_path / "errata.logs" / "r.jsonl").read_text(encoding="utf-8").splitlines()
    events = Counter(json.loads(line)["event"] for line in lines)
    assert (events["started"], events["replied"], events["ended"], events["stopped"]) == (1, 24, 6, 1)


def test_a_configuration_file_and_flags_make_one_configuration(
    teacher: Any, tasks: Path, errata: Any, tmp_path: Path
) -> None:
    teacher.seconds = 0.0
    (tmp_path / "run.toml").write_text(
        f'env = "gsm8k"\nrun = "r"\nteachers = ["{teacher.name}"]\ndata = "{tasks}"\nisolation = "none"\nlimit = 2\n'
        "[rules]\nmax_turns = 2\n[sampling]\ntemperature = 0.5\n"
    )
    done = errata("collect", "--config", "run.toml", "--max-turns", "4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["solved_now"] == 2
    again = errata("collect", "--config", "run.toml", "--max-turns", "3")
    assert again.returncode == 2
    assert '"max_turns": 4' in again.stderr


def test_what_was_bought_is_shown_priced_and_exported(teacher: Any, tasks: Path, errata: Any, tmp_path: Path) -> None:
    teacher.seconds = 0.0
    assert errata(*collect(teacher, tasks, "--price", "1,10")).returncode == 0
    (run,) = json.loads(errata("runs", "--json").stdout)
    assert (run["run"], run["finished"], run["solved"], run["unpriced_replies"]) == ("r", 6, 6, 0)
    assert float(run["cost_usd"]) == pytest.approx(24 * (100 * 1 + 10 * 10) / 1e6)
    funnel = json.loads(errata("filter", "--json").stdout)
    assert (funnel["seen"], funnel["kept"]) == (6, 6)
    (group,) = json.loads(errata("stats", "--json").stdout)
    assert group["errors"] == {"E1": 6}
    shown = errata("show", "1").stdout
    assert "✗ E1 NameError" in shown
    assert "✓ fixes the error of turn 2" in shown
    assert json.loads(errata("show", "1", "--json").stdout)["outcome"]["stop"] == "solved"
    exported = errata("export", "out", "--json")
    assert json.loads(exported.stdout)["rows"] == 6
    lines = (tmp_path / "out" / "codeact.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["conversations"][-1]["role"] == "assistant" for line in lines)
