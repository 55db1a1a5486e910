"""Whatever a user gets wrong is one clear line and an exit code, never a traceback."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TAPE = ("--teacher", "scripted:demo", "--isolation", "none")
MATH = ("collect", "--env", "math")


def torn(folder: Path) -> None:
    (folder / "torn.jsonl").write_text('{"problem": "1+1", "answer": "2"}\n{"problem": "2+')


def foreign(folder: Path) -> None:
    (folder / "foreign.jsonl").write_text('{"text": "hello"}\n')


def binary(folder: Path) -> None:
    (folder / "binary.jsonl").write_bytes(os.urandom(1000))


def empty(folder: Path) -> None:
    (folder / "empty.jsonl").write_text("")


def not_toml(folder: Path) -> None:
    (folder / "run.toml").write_text("env = math")


def odd_toml(folder: Path) -> None:
    (folder / "run.toml").write_text(
        'env = "math"\nteachers = ["scripted:demo"]\nisolation = "none"\nconcurrency = 0\n'
    )


def unknown_setting(folder: Path) -> None:
    (folder / "run.toml").write_text('env = "math"\nteachers = ["scripted:demo"]\nisolation = "none"\nmax_turn = 3\n')


def not_a_store(folder: Path) -> None:
    (folder / "errata.db").write_text("dear diary")


def a_folder(folder: Path) -> None:
    (folder / "errata.db").mkdir()


@pytest.mark.parametrize(
    ("make", "arguments", "code", "says"),
    [
        (None, (*MATH, "--teacher", "nosuch:x", "--isolation", "none"), 2, "unknown teacher 'nosuch'"),
        (None, (*MATH, "--teacher", "openai:gpt-5.5", "--isolation", "none"), 2, "set OPENAI_API_KEY"),
        (None, (*MATH, "--teacher", "anthropic:claude-opus-5-5", "--isolation", "none"), 2, "set ANTHROPIC_API_KEY"),
        (None, (*MATH, "--teacher", "openai:x@nourl", "--isolation", "none"), 2, "'nourl' is no base URL"),
        (None, (*MATH, "--teacher", "scripted:demo", "--preload", "no_such"), 2, "there is no module 'no_such'"),
        (None, (*MATH, "--teacher", "scripted:demo", "--preload", "-x"), 2, "'-x' is not a module's name"),
        (None, (*MATH, "--teacher", "scripted:demo", "--kernel-memory", "lots"), 2, "'lots' is no size"),
        (None, (*MATH, "--teacher", "scripted:demo", "--kernel-memory", "1M"), 2, "needs at least"),
        (None, (*MATH, "--teacher", "scripted:demo", "--isolation", "iron"), 2, "unknown isolation level 'iron'"),
        (None, ("collect", "--env", "nosuch", *TAPE), 2, "unknown environment 'nosuch'. There are: alfworld"),
        (None, ("collect", "--env", "tables", *TAPE), 2, "tables:sql and tables:pandas"),
        (None, ("collect", "--env", "no.such:Thing", *TAPE), 2, "cannot be imported"),
        (None, ("collect", *TAPE), 2, "give --env"),
        (None, (*MATH, "--isolation", "none"), 2, "give --teacher"),
        (None, (*MATH, *TAPE, "--data", "none.jsonl"), 2, "none.jsonl: there is no such file"),
        (torn, (*MATH, *TAPE, "--data", "torn.jsonl"), 2, "torn.jsonl:2"),
        (foreign, (*MATH, *TAPE, "--data", "foreign.jsonl"), 2, "no 'problem'"),
        (binary, (*MATH, *TAPE, "--data", "binary.jsonl"), 2, "not UTF-8"),
        (empty, (*MATH, *TAPE, "--data", "empty.jsonl"), 2, "holds no rows"),
        (None, (*MATH, *TAPE, "--max-turns", "0"), 2, "rules.max_turns must be more than 0"),
        (None, (*MATH, *TAPE, "--policy", "loose"), 2, "'first-action' or 'mint'"),
        (None, (*MATH, *TAPE, "--price", "1"), 2, "IN,OUT"),
        (None, (*MATH, *TAPE, "--price", "1,x"), 2, "price"),
        (None, (*MATH, *TAPE, "--teacher-option", "x"), 2, "key=value"),
        (None, (*MATH, *TAPE, "--teacher", "scripted:demo"), 2, "named twice"),
        (None, (*MATH, *TAPE, "--store", "mysql://x/y"), 2, "'mysql' stores are not supported"),
        (None, (*MATH, *TAPE, "--store", "no/such/errata.db"), 2, "there is no folder"),
        (not_a_store, (*MATH, *TAPE), 1, "The file is something else"),
        (a_folder, (*MATH, *TAPE), 2, "is a folder"),
        (not_toml, ("collect", "--config", "run.toml"), 2, "run.toml is not TOML"),
        (odd_toml, ("collect", "--config", "run.toml"), 2, "concurrency must be a whole number of at least 1"),
        (unknown_setting, ("collect", "--config", "run.toml"), 2, "unknown setting 'max_turn'"),
        (None, ("collect", "--config", "none.toml"), 2, "cannot read none.toml"),
        (None, ("runs",), 2, "there is no store at errata.db"),
        (None, ("show", "1"), 2, "there is no store"),
        (None, ("filter", "--recipe", "nosuch"), 2, "there is no recipe 'nosuch'"),
        (None, ("export", "out"), 2, "there is no store"),
    ],
)
def test_it_is_said_in_one_line(
    errata: Any, tmp_path: Path, make: Callable[[Path], None] | None, arguments: tuple[str, ...], code: int, says: str
) -> None:
    if make:
        make(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    done = errata(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert done.stderr.startswith("errata: ")
    assert done.stderr.count("\n") == 1
    assert before == {file: file.read_bytes() for file in before}


def test_a_folder_that_may_not_be_written_is_named(errata: Any, tmp_path: Path) -> None:
    small = tmp_path / "ro"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a read-only file system")
    try:
        for arguments in ((*MATH, *TAPE, "--store", "ro/errata.db"), ("demo", "--dir", "ro/demo")):
            done = errata(*arguments)
            assert done.returncode in (1, 2)
            assert done.stderr.startswith("errata: cannot ")
            assert done.stderr.count("\n") == 1
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_one_bad_row_is_named_and_the_others_are_played(errata: Any, tmp_path: Path) -> None:
    rows = [{"id": "a", "problem": "What is 1+1?", "answer": "2"}, {"id": "b", "problem": "What is 2+2?"}]
    (tmp_path / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tape.jsonl").write_text(json.dumps({"task": "math/a", "replies": ["<solution>2</solution>"]}))
    taped = ("--teacher", "scripted:tape.jsonl", "--isolation", "none")
    done = errata(*MATH, *taped, "--data", "mixed.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    assert "mixed.jsonl:2" in done.stderr
    assert json.loads(done.stdout)["solved_now"] == 1
