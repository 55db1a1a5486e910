"""A run of very many tasks goes on without reading its source again, as long as the source is what it was."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli import loading
from cli.collecting import Ended, carry_out
from cli.plan import Plan

RIGHT = "<solution>{}</solution>"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that were read."""
    read: list[str] = []
    really = loading.load_tasks

    def load_tasks(environment: Any, source: Any, **more: Any) -> Any:
        read.append(str(source))
        return really(environment, source, **more)

    monkeypatch.setattr(loading, "load_tasks", load_tasks)
    monkeypatch.setattr(loading, "_MANY_TASKS", 3)
    monkeypatch.setattr(loading, "revision", lambda: "some revision")
    return read


def write(file: Path, numbers: range) -> None:
    rows = [{"id": str(n), "question": f"What is twice {n}?", "answer": str(2 * n)} for n in numbers]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Any]:
    write(tmp_path / "tasks.jsonl", range(4))
    tape = [{"task": f"gsm8k/{n}", "replies": [RIGHT.format(2 * n)]} for n in range(9)]
    (tmp_path / "tape.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tape), encoding="utf-8")

    async def play(**more: Any) -> Ended:
        values = {
            "env": "gsm8k", "teachers": [f"scripted:{tmp_path / 'tape.jsonl'}"], "run": "r", "isolation": "none",
            "data": str(tmp_path / "tasks.jsonl"), **more,
        }  # fmt: skip
        return await carry_out(Plan.make(values, f"sqlite:///{tmp_path / 'e.db'}"))

    return play


def change(store: Path, statement: str) -> None:
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(statement)


async def test_what_is_open_is_played_from_the_store(play: Any, loads: list[str], tmp_path: Path) -> None:
    await play()
    assert len(loads) == 1
    change(tmp_path / "e.db", "UPDATE trajectories SET stop = 'failed' WHERE id = 2")
    ended = await play()
    assert len(loads) == 1
    assert (ended.tally.total, ended.tally.done_before, ended.tally.ended, ended.tally.solved) == (4, 3, 1, 1)
    again = await play()
    assert (len(loads), again.tally.total, again.tally.done_before, again.tally.ended) == (1, 4, 4, 0)


async def test_a_source_that_has_changed_is_read(play: Any, loads: list[str], tmp_path: Path) -> None:
    await play()
    write(tmp_path / "tasks.jsonl", range(6))
    assert (await play()).tally.ended == 2
    assert len(loads) == 2
    assert (await play()).tally.total == 6
    assert len(loads) == 2


async def test_another_limit_takes_other_tasks(play: Any, loads: list[str]) -> None:
    assert (await play(limit=3)).tally.total == 3
    assert (await play()).tally.ended == 1
    assert len(loads) == 2
    assert (await play(limit=2)).tally.total == 2


async def test_few_tasks_are_read_each_time(play: Any, loads: list[str]) -> None:
    await play(limit=2)
    await play(limit=2)
    assert len(loads) == 2


async def test_where_very_many_are_open_the_source_is_read(
    play: Any, loads: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.tasklist.MOST_OPEN", 1)
    await play()
    change(tmp_path / "e.db", "UPDATE trajectories SET stop = 'failed' WHERE id > 2")
    assert (await play()).tally.ended == 2
    assert len(loads) == 2


async def test_code_that_is_being_changed_reads_the_source(
    play: Any, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "revision", lambda: "some revision-dirty")
    await play()
    await play()
    assert len(loads) == 2
