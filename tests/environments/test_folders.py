"""APPS as it lies on disk: a folder a problem."""

from pathlib import Path

import pytest

from environments.apps import Apps
from environments.faults import UsageError
from environments.files import read_file
from environments.folders import read_folders


def _problem(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_the_files_of_a_folder_are_the_fields_of_a_row(tmp_path: Path) -> None:
    _problem(
        tmp_path / "0012",
        question__txt="Add.",
        input_output__json='{"inputs": ["1 2\\n"], "outputs": ["3\\n"]}',
        metadata__json='{"difficulty": "interview", "url": "https://example.org"}',
        starter_code__py="def f():\n",
        notes__md="not a field",
    )
    (tmp_path / "README.txt").write_text("not a record")
    (row,) = read_folders(tmp_path)
    assert row.where == str(tmp_path / "0012")
    assert dict(row.data) == {
        "problem_id": 12,
        "question": "Add.",
        "input_output": '{"inputs": ["1 2\\n"], "outputs": ["3\\n"]}',
        "difficulty": "interview",
        "url": "https://example.org",
        "starter_code": "def f():\n",
    }


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none that holds a folder"):
        list(read_folders(tmp_path))
    _problem(tmp_path / "a", metadata__json="{")
    with pytest.raises(UsageError, match=r"metadata\.json: not JSON"):
        list(read_folders(tmp_path))
    (tmp_path / "a" / "metadata.json").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="not UTF-8"):
        list(read_folders(tmp_path))


@pytest.mark.data
def test_both_layouts_give_the_same_tasks(data: Path) -> None:
    lines = {task.id: task for task in map(Apps().task, read_file(data / "apps" / "apps_train_mini.jsonl"))}
    folders = [Apps().task(row) for row in read_file(data / "apps" / "original_layout" / "train")]
    assert len(folders) == 5
    for task in folders:
        assert task.id in lines
        assert task.reference == lines[task.id].reference
        assert task.metadata["difficulty"] == lines[task.id].metadata["difficulty"]
