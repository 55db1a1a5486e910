"""`errata alfworld` writes files of games that load."""

import json
from pathlib import Path

import pytest
import typer

from cli.alfworld import register
from environments.alfworld import Alfworld
from environments.alfworld_games import TASK_TYPES
from environments.faults import UsageError
from environments.sources import load_tasks


def _errata(*arguments: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    app(["alfworld", *arguments], standalone_mode=False)


def test_made_games_load_and_are_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = tmp_path / "first.jsonl", tmp_path / "again.jsonl"
    for out in (first, again):
        _errata("make", str(out), "--count", "9", "--seed", "5")
    assert first.read_bytes() == again.read_bytes()
    loaded = load_tasks(Alfworld(), first)
    assert (len(loaded.tasks), loaded.problems) == (9, ())
    assert {task.metadata["task_type"] for task in loaded.tasks} == {*TASK_TYPES}
    told = capsys.readouterr()
    assert told.out == ""
    assert f"9 games in {first}" in told.err


def test_the_games_below_a_folder_are_named_in_a_file_beside_them(tmp_path: Path) -> None:
    for trial in ("b/trial_2", "a/trial_1"):
        folder = tmp_path / "json_2.1.1" / "train" / trial
        folder.mkdir(parents=True)
        (folder / "game.tw-pddl").touch()
    _errata("list", str(tmp_path / "games.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "games.jsonl").read_text().splitlines()]
    assert rows == [{"game": "json_2.1.1/train/a/trial_1"}, {"game": "json_2.1.1/train/b/trial_2"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["make", "games.txt"], r"games\.txt: a file of games is named \.jsonl"),
        (["make", "no/such/games.jsonl"], "cannot be written: No such file"),
        (["list", "games.jsonl"], r"no game\.tw-pddl below this folder"),
    ],
)
def test_what_cannot_be_written_is_one_clear_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        _errata(*arguments)
    assert not list(tmp_path.rglob("games*"))
