"""What holds for every environment that is installed: a row that is no task costs itself alone, told in a line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from environments.environment import Environment, Row, make_environment, registered_environments
from environments.faults import UsageError
from environments.sources import Problem, load_tasks, read_rows, read_tasks

MALFORMED = (None, True, -1, 2.5, "", " ", "[", "\x00", "\ud800", [], [None], [[]], {}, {"x": None}, [{"x": [1]}])


@pytest.fixture(params=list(registered_environments()))
def environment(request: pytest.FixtureRequest) -> Environment:
    return make_environment(request.param)


@pytest.fixture
def rows(environment: Environment) -> list[Row]:
    assert environment.demo
    return list(read_rows(environment.demo))


def _changed(row: Row, field: str, value: Any) -> Row:
    return Row({**row.data, field: value}, "changed:1", row.folder)


def _without(row: Row, field: str) -> Row:
    return Row({name: value for name, value in row.data.items() if name != field}, "changed:1", row.folder)


def _others_go_on(environment: Environment, bad: Row, rows: list[Row]) -> list[Problem]:
    """Reads the row before the others, and gives what was told of it."""
    problems: list[Problem] = []
    found = {task.id for task in read_tasks(environment, [bad, *rows], problems)}
    assert found >= {environment.task(row).id for row in rows}
    for problem in problems:
        assert problem.reason.strip()
        assert "\n" not in str(problem)
        assert problem.where == "changed:1"
    return problems


def _fields(rows: list[Row]) -> Iterator[str]:
    yield from rows[0].data


def test_it_says_what_it_is(environment: Environment) -> None:
    assert environment.summary
    assert environment.grading
    assert environment.data
    assert "\n" not in environment.summary + environment.grading + environment.data
    assert environment.tools.strip()
    assert environment.example.startswith("Task:\n")


def test_a_missing_field_costs_its_own_row_alone(environment: Environment, rows: list[Row]) -> None:
    told = [_others_go_on(environment, _without(rows[0], field), rows[1:]) for field in _fields(rows)]
    assert any(told)
    (nothing,) = _others_go_on(environment, Row({}, "changed:1", rows[0].folder), rows)
    assert "'" in nothing.reason  # It names the field.


def test_a_malformed_field_costs_its_own_row_alone(environment: Environment, rows: list[Row]) -> None:
    told = [
        _others_go_on(environment, _changed(rows[0], field, value), rows[1:])
        for field in _fields(rows)
        for value in MALFORMED
    ]
    assert any(told)


def test_a_broken_line_costs_itself_alone(environment: Environment, tmp_path: Path) -> None:
    assert environment.demo
    first, *others = Path(environment.demo).read_text(encoding="utf-8").splitlines()
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join([first, first[: len(first) // 2], *others, ""]), encoding="utf-8")
    loaded = load_tasks(environment, path)
    assert [task.id for task in loaded.tasks] == [task.id for task in load_tasks(environment, environment.demo).tasks]
    (problem,) = loaded.problems
    assert problem.startswith(f"{path}:2: not JSON")
    assert "\n" not in problem


def test_an_empty_file_is_told_in_a_line(environment: Environment, tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match=r"empty\.jsonl: not one task of .*: it holds no rows\.$"):
        load_tasks(environment, path)


def test_a_file_of_other_rows_is_told_in_a_line(environment: Environment, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"colour": "blue"}\n{"colour": "red"}\n')
    with pytest.raises(
        UsageError, match=r"other\.jsonl: not one task of .*other\.jsonl:1: no .*other\.jsonl:2: no "
    ) as told:
        load_tasks(environment, path)
    assert "\n" not in str(told.value)


def test_a_wrong_split_is_told_with_those_that_there_are(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for split in ("train", "test"):
        pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / f"{split}.parquet")
    with pytest.raises(UsageError, match=r"there is no 'dev': the splits are (train, test|test, train)") as told:
        load_tasks(environment, f"hf:{tmp_path}#dev")
    assert "\n" not in str(told.value)
