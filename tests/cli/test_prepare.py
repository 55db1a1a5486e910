"""`errata prepare` from files and from the Hub, and the collecting of what it wrote."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from environments.hub import SCRIPTED
from environments.sources import load_tasks
from environments.tables import Tables
from tests.cli.hub_stub import SHA, Hub


def _problems(folder: Path, count: int = 40) -> Path:
    path = folder / "problems.jsonl"
    rows = [
        {"id": n, "problem": f"{n} + 1?", "answer": str(n + 1), "level": f"Level {n % 5 + 1}", "type": "Algebra"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_papers_recipe_makes_a_file_that_collect_plays(errata: Any, tmp_path: Path) -> None:
    _problems(tmp_path)
    done = errata(
        "prepare", "math", "problems.jsonl", "--preset", "codeactinstruct", "--count", "3", "--out", "tasks.jsonl"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["tasks.jsonl", "tasks.manifest.json"]
    assert [line.split(maxsplit=1) for line in done.stderr.splitlines()] == [
        ["40", "rows read"], ["40", "tasks"], ["24", "level >= 3"], ["3", "drawn with seed 42"],
    ]  # fmt: skip
    tasks = [json.loads(line) for line in (tmp_path / "tasks.jsonl").read_text().splitlines()]
    tape = [{"task": one["id"], "replies": [f"<solution>{one['reference']}</solution>"]} for one in tasks]
    (tmp_path / "tape.jsonl").write_text("".join(json.dumps(one) + "\n" for one in tape))
    taped = ("--teacher", "scripted:tape.jsonl", "--isolation", "none", "--json")
    played = errata("collect", "--env", "math", "--data", "tasks.jsonl", *taped)
    assert json.loads(played.stdout)["solved_now"] == 3, played.stderr


def test_flags_come_on_top_of_the_preset(errata: Any, tmp_path: Path) -> None:
    _problems(tmp_path)
    choice = ("--preset", "codeactinstruct", "--min-level", "4", "--where", "subject=Algebra", "--seed", "1")
    splits = ("--split", "train=0.75,dev=0.25", "--licence", "CC0-1.0")
    done = errata("prepare", "math", "problems.jsonl", *choice, *splits, "--out", "tasks.jsonl", "--json")
    manifest = json.loads(done.stdout)
    assert manifest == json.loads((tmp_path / "tasks.manifest.json").read_text())
    assert manifest["where"] == ["level >= 3", "subject = Algebra", "level >= 4"]
    assert (manifest["seed"], manifest["sources"][0]["licence"]) == (1, "CC0-1.0")
    assert {name: one["tasks"] for name, one in manifest["files"].items()} == {
        "tasks.train.jsonl": 12,
        "tasks.dev.jsonl": 4,
    }


def test_refused_rows_are_told_in_a_line_for_each_reason(errata: Any, tmp_path: Path) -> None:
    with _problems(tmp_path).open("a") as file:
        file.writelines('{"problem": "?"}\n' for _ in range(5))
    done = errata("prepare", "math", "problems.jsonl", "--out", "tasks.jsonl")
    assert done.returncode == 0
    assert done.stderr.splitlines()[0] == (
        "passed over 5: no 'solution' or 'answer' (problems.jsonl:41, problems.jsonl:42, problems.jsonl:43, and 2 more)"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("math", "problems.jsonl"), "no --out"),
        (("math", "--out", "x.jsonl"), "no source: give a file"),
        (("math", "problems.jsonl", "--out", "x.parquet"), "call it x.jsonl"),
        (("math", "problems.jsonl", "--out", "no/x.jsonl"), "there is no folder no"),
        (("math", "problems.jsonl", "--out", "problems.jsonl"), "--force writes over it"),
        (("math", "none.jsonl", "--out", "x.jsonl"), "there is no such file"),
        (("math", "problems.jsonl", "--preset", "paper", "--out", "x.jsonl"), "there is no preset 'paper'"),
        (("gsm8k", "problems.jsonl", "--preset", "codeactinstruct", "--out", "x.jsonl"), "has nothing for gsm8k"),
        (("math", "problems.jsonl", "--where", "level", "--out", "x.jsonl"), "--where takes"),
        (("math", "problems.jsonl", "--where", "lvl=3", "--out", "x.jsonl"), "there are: level, subject"),
        (("math", "problems.jsonl", "--min-level", "6", "--out", "x.jsonl"), "no task is left"),
        (("math", "problems.jsonl", "--largest", "rows", "--out", "x.jsonl"), "--largest takes"),
        (("math", "problems.jsonl", "--part", "3/2", "--out", "x.jsonl"), "--part takes"),
        (("math", "problems.jsonl", "--split", "train=0.9,dev=0.2", "--out", "x.jsonl"), "make 1 together"),
        (("math", "problems.jsonl", "--split", "train", "--out", "x.jsonl"), "--split takes"),
        (("tables", "problems.jsonl", "--out", "x.jsonl"), "tables:sql and tables:pandas"),
        (("gsm8k", "problems.jsonl", "--out", "x.jsonl"), "not one task of 'gsm8k'"),
        (("tables:sql", "hf:hotpotqa/hotpot_qa#train", "--out", "x.jsonl"), "the configs are distractor, fullwiki"),
    ],
)  # fmt: skip
def test_what_cannot_be_prepared_is_said_in_one_line(
    errata: Any, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    _problems(tmp_path)
    done = errata("prepare", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("errata: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["problems.jsonl"]


# -- the Hub -------------------------------------------------------------------------------------


def _parquet(numbers: range) -> bytes:
    rows = [
        {
            "id": f"nt-{n}",
            "question": f"which is the number {n}?",
            "answers": [f"{n} years"],
            "table": {"header": ["a", "b"], "rows": [["1", "2"]] * (n + 1), "name": f"csv/{n}.tsv"},
        }
        for n in numbers
    ]
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


@pytest.fixture
def hub(errata: Any, tmp_path: Path) -> Iterator[Hub]:
    """The data set as the Hub keeps what its script had made."""
    name = "stanfordnlp/wikitablequestions"
    parts = {"train": range(20), "validation": range(20, 30), "test": range(30, 35)}
    files = {f"random-split-1/{split}/0000.parquet": _parquet(numbers) for split, numbers in parts.items()}
    hub = Hub(name, SCRIPTED[name]["random-split-1"].revision, files, "cc-by-sa-4.0")
    errata.environ |= {
        "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / ".hf"), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_TOKEN": "",
    }  # fmt: skip
    yield hub
    hub.close()


def test_a_data_set_that_a_script_made_is_read_from_its_files_at_one_commit(
    errata: Any, tmp_path: Path, hub: Hub
) -> None:
    halves = []
    for variant in ("sql", "pandas"):
        choice = ("--preset", "codeactinstruct", "--largest", "rows,columns=20", "--out", f"{variant}.jsonl")
        done = errata("prepare", f"tables:{variant}", *choice, "--json")
        assert done.returncode == 0, done.stderr
        manifest = json.loads(done.stdout)
        assert [(one["licence"], one["revision"]) for one in manifest["sources"]] == [("cc-by-sa-4.0", SHA)] * 2
        assert [step["left"] for step in manifest["steps"]] == [30, 30, 20, 10]
        tasks = load_tasks(Tables(variant), tmp_path / f"{variant}.jsonl").tasks
        halves.append({int(task.id.rpartition("-")[2]) for task in tasks})
        assert all(task.reference["canon"] == [f"{task.id.rpartition('-')[2]}.0"] for task in tasks)  # type: ignore[call-overload,index]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == set(range(10, 30))
    read = [path for path in hub.asked if "/resolve/" in path]
    assert read
    assert all(f"/resolve/{SHA}/random-split-1/" in path for path in read)


def test_a_wrong_split_of_the_hub_is_told(errata: Any, hub: Hub) -> None:
    done = errata("prepare", "tables:sql", "hf:stanfordnlp/wikitablequestions/random-split-1#dev", "--out", "x.jsonl")
    assert done.returncode == 2
    assert "there is no 'dev': the splits are train, validation, test" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_data_set_that_is_not_there_is_told(errata: Any, hub: Hub) -> None:
    done = errata("prepare", "math", "hf:nobody/nothing#train", "--out", "x.jsonl")
    assert done.returncode == 2
    assert "hf:nobody/nothing: there is no such data set on the Hub" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_hub_that_does_not_answer_is_told(errata: Any, hub: Hub) -> None:
    errata.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    done = errata("prepare", "tables:sql", "--preset", "codeactinstruct", "--out", "x.jsonl")
    assert done.returncode == 1
    assert "hf:stanfordnlp/wikitablequestions: the Hub did not answer" in done.stderr
    assert done.stderr.count("\n") == 1
