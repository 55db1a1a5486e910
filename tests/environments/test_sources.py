"""Where tasks come from: every form of file, the Hub's loader offline, and what is told about bad rows."""

import gzip
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from environments.faults import UsageError
from environments.files import unescape
from environments.gsm8k import Gsm8k
from environments.hub import SCRIPTED, Address, _asked, address
from environments.math import Math
from environments.sources import load_tasks, read_rows

RECORDS = [
    {"id": "a", "question": "What is 3 + 4,\nin words?", "answer": "3 + 4 = 7\n#### 7"},
    {"id": "b", "question": "“Zwei” und – drei?", "answer": "#### 5"},
    {"id": "c", "question": "1 | 2?", "answer": "#### 1,000"},
]


def _written(kind: str, folder: Path) -> Path:
    path = folder / f"rows{kind}"
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    match kind:
        case ".jsonl":
            path.write_text(lines, encoding="utf-8-sig")
        case ".jsonl.gz":
            path.write_bytes(gzip.compress(lines.encode()))
        case ".json":
            path.write_text(json.dumps(RECORDS))
        case ".json.gz":
            path.write_bytes(gzip.compress(json.dumps({"data": RECORDS}).encode()))
        case ".csv":
            rows = [["id", "question", "answer"], *(list(record.values()) for record in RECORDS)]
            path.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows), encoding="utf-8")
        case ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
    return path


@pytest.mark.parametrize("kind", [".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".parquet"])
def test_every_form_of_file_gives_the_same_tasks(kind: str, tmp_path: Path) -> None:
    path = _written(kind, tmp_path)
    assert [row.data for row in read_rows(path)] == RECORDS
    assert all(row.folder == tmp_path for row in read_rows(path))
    loaded = load_tasks(Gsm8k(), path)
    assert [(task.id, task.reference) for task in loaded.tasks] == [
        ("gsm8k/a", "7"),
        ("gsm8k/b", "5"),
        ("gsm8k/c", "1,000"),
    ]
    assert loaded.problems == ()


def test_a_tsv_cell_is_given_as_written_and_unescaped_on_request(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("id\tquestion\nx\t$a \\neq b$ \\p \\\\\n")
    assert next(read_rows(path)).data == {"id": "x", "question": "$a \\neq b$ \\p \\\\"}
    assert unescape("a\\nb\\pc\\\\n") == "a\nb|c\\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("torn.jsonl", b'{"id": 1}\n{"id": 2, "ques', r"torn\.jsonl:2: not JSON, or cut off"),
        ("list.jsonl", b"[1, 2]\n", r"list\.jsonl:1: a list where a record"),
        ("latin.jsonl", b'{"id": 1}\n{"id": "\xe9"}\n', r"latin\.jsonl:2: not UTF-8"),
        ("torn.json", b'[{"id": 1},\n{"id"', r"torn\.json:2: not JSON"),
        ("one.json", b'{"id": 1}', r"one\.json: neither a list"),
        ("torn.jsonl.gz", gzip.compress(b'{"id": 1}\n' * 9, mtime=0)[:-9], r"torn\.jsonl\.gz:\d+: the gzip stream"),
        ("fake.jsonl.gz", b'{"id": 1}\n', r"fake\.jsonl\.gz:1: the gzip stream"),
        ("short.csv", b"a,b\n1,2\n3\n", r"short\.csv:3: 1 cells where the header has 2"),
        ("torn.csv", b'a,b\n1,"2\n', r"torn\.csv:\d: not CSV, or cut off"),
        ("short.tsv", b"a\tb\n1\n", r"short\.tsv:2: 1 cells"),
        ("torn.tsv", b"a\tb\n1\t2\n1", r"torn\.tsv:3: 1 cells .* is the file cut off"),
        ("last.csv", b"a,b\n1,2\n3", r"last\.csv:3: 1 cells .* is the file cut off"),
        ("deep.jsonl", b"[" * 100_000, r"deep\.jsonl:1: not JSON, or cut off \(nested too deep"),
        ("torn.parquet", b"PAR1\x00\x00", r"torn\.parquet:1: not Parquet"),
        ("rows.xlsx", b"", r"rows\.xlsx: no reader.*\.jsonl"),
        ("empty.jsonl", b"", r"empty\.jsonl: not one task of 'gsm8k'.*no rows"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        load_tasks(Gsm8k(), path)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UsageError, match="no such file"):
        list(read_rows(tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match="a folder"):
        list(read_rows(tmp_path / "folder.jsonl"))


def test_a_bad_row_is_told_and_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [RECORDS[0], {"id": "x", "question": "?"}, RECORDS[0], {**RECORDS[0], "question": "Other?"}, RECORDS[1]]
    path.write_text("\n".join(map(json.dumps, rows)))
    loaded = load_tasks(Gsm8k(), path)
    assert [task.id for task in loaded.tasks] == ["gsm8k/a", "gsm8k/b"]
    assert loaded.problems == (
        f"{path}:2: no 'answer'",
        f"{path}:4: 'gsm8k/a' again, with other content than at {path}:1",
    )


@pytest.mark.parametrize(
    ("kind", "broken", "said"),
    [
        (".jsonl", "not json\n", ":2: not JSON (Expecting value at column 1)"),
        (".jsonl", '{"id": \n', ":2: not JSON (Expecting value at column"),
        (".jsonl", "7\n", ":2: a single value where a record (an object) is expected"),
        (".jsonl", "[" * 100_000 + "\n", ":2: not JSON (nested too deep)"),
        (".json", "[],", "[2]: a list where a record (an object) is expected"),
        (".csv", "x\n", ":3: 1 cells where the header has 3"),
        (".tsv", "x\n", ":3: 1 cells where the header has 3"),
    ],
)
def test_a_broken_row_in_the_midst_of_a_file_costs_no_other(kind: str, broken: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{kind}"
    first, last = ('{"id": "%s", "question": "1?", "answer": "1"}' % name for name in "ab")  # noqa: UP031
    separator = "," if kind == ".csv" else "\t"
    table = [
        separator.join(cells) + "\n" for cells in (("id", "question", "answer"), ("a", "1?", "1"), ("b", "1?", "1"))
    ]
    path.write_text(
        {
            ".jsonl": f"{first}\n{broken}{last}\n",
            ".json": f"[{first}, {broken} {last}]",
            ".csv": "".join((*table[:2], broken, table[2])),
            ".tsv": "".join((*table[:2], broken, table[2])),
        }[kind]
    )
    loaded = load_tasks(Gsm8k(), path)
    assert [task.id for task in loaded.tasks] == ["gsm8k/a", "gsm8k/b"]
    (problem,) = loaded.problems
    assert problem.startswith(f"{path}{said}")


def test_a_source_of_bad_rows_only_is_the_users_to_put_right(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n')
    with pytest.raises(UsageError, match=r"not one task of 'math'.*rows\.jsonl:1: no 'problem'"):
        load_tasks(Math(), path)


def test_a_seed_shuffles_before_the_limit_cuts(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"id": n, "question": f"{n}?", "answer": str(n)}) for n in range(50)))
    ordered = [task.id for task in load_tasks(Gsm8k(), path, limit=5).tasks]
    shuffled = [task.id for task in load_tasks(Gsm8k(), path, limit=5, seed=7).tasks]
    assert ordered == [f"gsm8k/{n}" for n in range(5)]
    assert shuffled != ordered
    assert shuffled == [task.id for task in load_tasks(Gsm8k(), path, limit=5, seed=7).tasks]
    assert len({task.id for task in load_tasks(Gsm8k(), path, seed=7).tasks}) == 50
    with pytest.raises(UsageError, match="limit of 0"):
        load_tasks(Gsm8k(), path, limit=0)


# -- the Hub -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openai/gsm8k", Address("openai/gsm8k", None, None, None)),
        ("openai/gsm8k/main#train", Address("openai/gsm8k", "main", None, "train")),
        ("a/b/c@v1.0#test", Address("a/b", "c", "v1.0", "test")),
        ("/tmp/a/b/c#test", Address("/tmp/a/b/c", None, None, "test")),
    ],
)
def test_a_data_set_on_the_hub_is_named_in_one_word(text: str, expected: Address) -> None:
    assert address(text) == expected


@pytest.fixture
def hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    for split, records in (("train", RECORDS[:2]), ("test", RECORDS[2:])):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), folder / f"{split}.parquet")
    return folder


def test_a_data_set_is_read_through_datasets(hub_folder: Path) -> None:
    rows = list(read_rows(f"hf:{hub_folder}#train"))
    assert [row.data for row in rows] == RECORDS[:2]
    assert rows[1].where == f"hf:{hub_folder}#train:2"
    assert [row.data for row in read_rows(f"hf:{hub_folder}", split="test")] == RECORDS[2:]
    assert [task.id for task in load_tasks(Gsm8k(), f"hf:{hub_folder}#test").tasks] == ["gsm8k/c"]


def test_a_split_that_is_not_named_or_not_there_is_asked_for(hub_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"say which: the splits are (train, test|test, train)"):
        list(read_rows(f"hf:{hub_folder}"))
    with pytest.raises(UsageError, match="there is no 'dev'"):
        list(read_rows(f"hf:{hub_folder}#dev"))


def test_a_data_set_that_is_not_there_is_the_users_to_put_right(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be loaded"):
        list(read_rows(f"hf:{tmp_path}/none#train"))


@pytest.mark.parametrize(
    ("name", "config"), [(name, config) for name, configs in SCRIPTED.items() for config in configs]
)
def test_a_data_set_that_a_script_made_is_asked_for_by_its_files(name: str, config: str) -> None:
    files = SCRIPTED[name][config]
    asked = _asked(address(f"{name}/{config}#train"), "here")
    revision = files.revision.replace("/", "%2F")
    assert asked["path"] == files.form
    assert asked["data_files"]["train"] == f"hf://datasets/{name}@{revision}/{files.splits['train']}"


def test_a_revision_that_is_named_comes_before_the_usual_one() -> None:
    asked = _asked(address("codeparrot/apps@refs/pr/5#train"), "here")
    assert asked["data_files"]["train"] == "hf://datasets/codeparrot/apps@refs%2Fpr%2F5/train.jsonl"


def test_a_data_set_of_scripts_needs_a_config_that_there_is() -> None:
    for text, said in (
        ("hotpotqa/hotpot_qa#train", "say which"),
        ("hotpotqa/hotpot_qa/easy#train", "there is no 'easy'"),
    ):
        with pytest.raises(UsageError, match=rf"{said}: the configs are distractor, fullwiki"):
            list(read_rows(f"hf:{text}"))


def test_a_data_set_that_is_still_a_script_is_told_in_a_line(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(UsageError, match=r"is made by a script.*refs/convert/parquet") as told:
        list(read_rows(f"hf:{folder}#train"))
    assert "\n" not in str(told.value)


def test_the_documentation_names_every_data_set_that_a_script_made() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    for name, configs in SCRIPTED.items():
        assert f"`hf:{name}" in page
        assert all(config in page for config in (next(iter(configs)), list(configs)[-1]) if len(configs) > 1)
