"""WikiTableQuestions' tables arrive in the session as they were read, cell by cell."""

import csv
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pandas
import pytest

from environments.columns import columns_of, described
from environments.environment import BadRow, Row, make_environment
from environments.faults import UsageError
from environments.files import unescape
from environments.sources import load_tasks
from environments.tables import Tables, read_table
from environments.types import Task

HEADERS = ["Year", "Order", "", "2nd place", "Name", "name", "Name", "Größe\n(m)", "№"]
ROW = ["1999", "1", "", "a|b", "007", "1,234", "24.10", "1.5", "-"]
OTHER = ["2004", "-2", "x", 'say "no"', "7", "5", "2.5", "-0.25", "NaN"]


def _task(variant: str, headers: list[str] = HEADERS, rows: list[list[str]] | None = None) -> Task:
    table = {"header": headers, "rows": [ROW, OTHER] if rows is None else rows}
    return Tables(variant).task(Row({"id": "x", "question": "which?", "answers": ["1"], "table": table}, "here"))  # type: ignore[dict-item]


def _session(task: Task) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(Tables(task.environment.partition(":")[2]).setup(task), namespace)
    del namespace["__builtins__"]
    return namespace


def test_a_variant_has_to_be_named() -> None:
    for name in ("tables", "tables:excel"):
        with pytest.raises(UsageError, match=r"tables:sql and tables:pandas"):
            make_environment(name)
    assert make_environment("tables:sql").name == "tables:sql"


def test_sql_names_need_no_quotes_and_are_unique_whatever_their_case() -> None:
    session = _session(_task("sql"))
    assert list(session) == ["conn"]
    names = [row[1] for row in session["conn"].execute("PRAGMA table_info(data_table)")]
    assert names == ["Year", "Order_", "column_3", "n_2nd_place", "Name", "name_2", "Name_3", "Groe_m", "No_"]
    for name in names:
        session["conn"].execute(f"SELECT {name} FROM data_table WHERE {name} IS NOT NULL ORDER BY {name}")


def test_every_keyword_of_sqlite_becomes_a_name_that_works() -> None:
    from environments.columns import _KEYWORDS

    columns = columns_of(sorted(_KEYWORDS), [], identifiers=True)
    conn = sqlite3.connect(":memory:")
    conn.execute(f"CREATE TABLE data_table ({', '.join(f'{column.name} TEXT' for column in columns)})")
    for column in columns:
        conn.execute(f"SELECT {column.name} FROM data_table GROUP BY {column.name}")
    conn.close()


def test_a_column_is_a_number_only_when_every_cell_survives_the_round_trip() -> None:
    types = {
        column.header: column.type
        for column in columns_of(
            HEADERS[:2] + HEADERS[4:], [ROW[:2] + ROW[4:], OTHER[:2] + OTHER[4:]], identifiers=False
        )
    }
    assert types["Year"] == types["Order"] == "integer"
    assert types["Größe\n(m)"] == "float"
    for cells in (
        ["007"],
        ["1,234"],
        ["24.10"],
        ["1", ""],
        ["1", "2.5"],
        ["+1"],
        ["-0"],
        ["nan"],
        ["1e5"],
        ["٣"],
        [" 1"],
    ):
        assert columns_of(["a"], [[cell] for cell in cells], identifiers=False)[0].type == "text", cells
    assert columns_of(["a"], [[str(2**63)]], identifiers=False)[0].type == "text"
    assert columns_of(["a"], [[str(2**63 - 1)]], identifiers=False)[0].type == "integer"


def test_the_sessions_hold_the_cells_as_read() -> None:
    conn = _session(_task("sql"))["conn"]
    assert conn.execute("SELECT * FROM data_table").fetchall()[0] == (
        1999,
        1,
        "",
        "a|b",
        "007",
        "1,234",
        "24.10",
        1.5,
        "-",
    )
    session = _session(_task("pandas"))
    assert list(session) == ["df"]
    frame = session["df"]
    assert list(frame.columns) == [
        "Year",
        "Order",
        "column_3",
        "2nd place",
        "Name",
        "name_2",
        "Name_3",
        "Größe (m)",
        "№",
    ]
    assert [[str(cell) for cell in row] for row in frame.values.tolist()] == [ROW, OTHER]
    assert str(frame["Year"].dtype) == "int64"


def test_a_table_without_rows_is_one() -> None:
    assert _session(_task("sql", ["a"], []))["conn"].execute("SELECT a FROM data_table").fetchall() == []
    assert _session(_task("pandas", ["a"], []))["df"].shape == (0, 1)


def test_the_prompt_shows_what_was_renamed_and_cuts_long_cells_visibly() -> None:
    prompt = _task("sql", ["Group", "b\nc"], [["x" * 100, "1\n2"]]).prompt
    assert prompt == (
        "which?\n\nThe data stands in the table `data_table` of `conn`: 1 rows, 2 columns.\nColumns:\n"
        '- Group_ (text, headed "Group")\n- b_c (text, headed "b\\nc")\n'
        f"First 1 of 1 rows, cells separated by ' | ':\n{'x' * 60}… (40 more characters) | 1\\n2"
    )


def test_setup_does_not_hold_the_reference() -> None:
    table = {"header": ["a"], "rows": [["1"]]}
    for variant in ("sql", "pandas"):
        environment = Tables(variant)
        row = Row({"id": "x", "question": "q", "answers": ["the secret"], "table": table}, "here")  # type: ignore[dict-item]
        assert "secret" not in environment.setup(environment.task(row))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"question": "?", "answers": ["1"]}, "no 'context'"),
        ({"question": "?", "context": "csv/x.csv", "targetValue": "1"}, "in none of the folders"),
        ({"question": "?", "context": "../x.csv", "targetValue": "1"}, "no table for"),
        ({"question": "?", "table": {"header": ["a"], "rows": []}}, "no 'answers' and no 'targetValue'"),
        ({"question": "?", "answers": ["1"], "table": {"header": [], "rows": []}}, "no columns"),
        ({"question": "?", "answers": ["1"], "table": {"header": ["a"], "rows": [["1", "2"]]}}, "row 1 .* 2 cells"),
        ({"question": "?", "answers": ["1"], "table": {"header": "a", "rows": []}}, "its table is not"),
        ({"answers": ["1"]}, "no 'question'"),
    ],
)
def test_a_row_that_is_no_task_says_why(data: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadRow, match=said):
        Tables("sql").task(Row({"id": "x", **data}, "here", tmp_path))


def test_a_table_is_found_from_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "1.csv").write_text('"a","b"\n"say \\"hi\\"","two\nlines"\n', encoding="utf-8")
    (tmp_path / "data").mkdir()
    source = tmp_path / "data" / "training.tsv"
    source.write_text("id\tutterance\tcontext\ttargetValue\nnt-1\twhat\\nis it?\tcsv/1.csv\tx\\py|z\n")
    (task,) = load_tasks(Tables("pandas"), source).tasks
    assert task.id == "tables:pandas/nt-1"
    assert task.prompt.startswith("what\nis it?\n\n")
    assert task.reference == {"targets": ["x|y", "z"]}
    assert task.inputs == {"columns": ["a", "b"], "rows": [['say "hi"', "two\nlines"]]}


@pytest.mark.parametrize("variant", ["sql", "pandas"])
async def test_the_bundled_tasks_load_and_their_references_are_right(variant: str) -> None:
    environment = Tables(variant)
    loaded = load_tasks(environment, environment.demo)
    assert len(loaded.tasks) >= 5
    assert loaded.problems == ()
    for task in loaded.tasks:
        assert len(_session(task)) == 1
        assert (await environment.grade(task, "|".join(task.reference["targets"]))).correct  # type: ignore[index,call-overload,arg-type]


# -- the data set's tables -----------------------------------------------------------------------


def _twin(path: Path) -> list[list[str]]:
    """The data set's own TSV of a table. It alone keeps no-break spaces, and the CSV alone runs of spaces."""
    lines = path.with_suffix(".tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    return [[_spaced(unescape(cell)) for cell in line.split("\t")] for line in lines]


def _spaced(cell: str) -> str:
    return re.sub("[ \xa0]+", " ", cell)


@pytest.mark.data
def test_every_table_agrees_with_its_twin_cell_by_cell(data: Path) -> None:
    paths = sorted((data / "wtq" / "csv").glob("*/*.csv"))
    assert len(paths) == 124
    for path in paths:
        headers, rows = read_table(path)
        assert [[_spaced(cell) for cell in row] for row in [headers, *rows]] == _twin(path), path


def _real(data: Path) -> dict[str, tuple[list[str], list[list[str]]]]:
    quirks = json.loads((data / "wtq" / "table_quirks.json").read_text())
    assert {quirk for found in quirks.values() for quirk in found} >= {
        "dup_headers", "empty_header", "newline_in_header", "newline_in_cell", "unicode_dash", "total_row", "wide",
    }  # fmt: skip
    return {name: read_table(data / "wtq" / name) for name in quirks}


@pytest.mark.data
@pytest.mark.parametrize("variant", ["sql", "pandas"])
def test_every_table_stands_in_the_session_as_read(variant: str, data: Path) -> None:
    for name, (headers, rows) in _real(data).items():
        session = _session(_task(variant, headers, rows))
        if variant == "sql":
            held = session["conn"].execute("SELECT * FROM data_table").fetchall()
        else:
            held = session["df"].values.tolist()
        assert [[str(cell) for cell in row] for row in held] == rows, name


@pytest.mark.data
def test_every_column_has_a_name_that_sql_takes_without_quotes_and_the_prompt_maps_it_to_its_header(data: Path) -> None:
    for name, (headers, rows) in _real(data).items():
        task = _task("sql", headers, rows)
        conn = _session(task)["conn"]
        names = [row[1] for row in conn.execute("PRAGMA table_info(data_table)")]
        assert len({one.lower() for one in names}) == len(headers), name
        told = dict(re.findall(r"^- (\S+) \(\w+(?:, headed (.*))?\)$", task.prompt, re.MULTILINE))
        assert list(told) == names, name
        for column, header in zip(names, headers, strict=True):
            conn.execute(f"SELECT {column}, count(*) FROM data_table GROUP BY {column} ORDER BY {column}")
            shown = re.sub(r"[\r\n\t]", lambda one: repr(one[0])[1:-1], header)
            assert told[column] == ("" if column == header else f'"{shown}"' if header.strip() else "with nothing"), (
                name
            )


@pytest.mark.data
@pytest.mark.parametrize("variant", ["sql", "pandas"])
def test_a_prompt_shows_the_first_rows_whole_however_wide_the_terminal(
    variant: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = []
    for width in ("20", "400"):
        monkeypatch.setenv("COLUMNS", width)
        pandas.set_option("display.width", int(width), "display.max_columns", int(width) // 10)
        prompts.append([_task(variant, *table).prompt for table in _real(data).values()])
    pandas.reset_option("display.width")
    pandas.reset_option("display.max_columns")
    assert prompts[0] == prompts[1]
    for prompt, (headers, rows) in zip(prompts[0], _real(data).values(), strict=True):
        shown = prompt.rpartition("rows, cells separated by ' | ':\n")[2].split("\n")
        assert len(shown) == min(5, len(rows))
        for line, row in zip(shown, rows, strict=False):
            assert line.count(" | ") >= len(headers) - 1
            assert line.startswith(re.sub(r"[\r\n\t]", lambda one: repr(one[0])[1:-1], row[0][:60]))


@pytest.mark.data
@pytest.mark.parametrize("variant", ["sql", "pandas"])
def test_every_question_is_a_task(variant: str, data: Path) -> None:
    counts = {"training": 218, "pristine-unseen-tables": 143, "pristine-seen-tables": 85}
    for name, count in counts.items():
        loaded = load_tasks(Tables(variant), data / "wtq" / "data" / f"{name}.tsv")
        assert (len(loaded.tasks), loaded.problems) == (count, ())
        assert all(len(task.prompt) < 20_000 for task in loaded.tasks)


def test_a_table_shows_the_same_whatever_pandas_does() -> None:
    columns = columns_of(["a"], [["1"]], identifiers=False)
    assert described(columns, [["1"]]) == "Columns:\n- a (integer)\nFirst 1 of 1 rows, cells separated by ' | ':\n1"


def test_csv_that_is_cut_off_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('"a","b"\n"1","2', encoding="utf-8")
    with pytest.raises(BadRow, match=r"x\.csv cannot be read"):
        read_table(path)
    with path.open(newline="") as file, pytest.raises(csv.Error):
        list(csv.reader(file, strict=True))
