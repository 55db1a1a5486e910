"""The published schema, read back by the library that its users read it with."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from environments.faults import ErrataError, UsageError
from environments.types import CellResult, Grade, Trajectory
from exporters import codeact
from exporters.codeact import codeact_row, row_id, write_codeact
from exporters.folder import MANIFEST
from exporters.formats import find_writer, format_names
from exporters.view import messages, published
from store.load import load_trajectories
from store.store import open_store
from tests.factory import execute, make_trajectory, make_turn, put, solve


def sample(number: int = 1, said: str = "é\u2028😀") -> Trajectory:
    turns = [
        make_turn(0, execute(f"print('{said}')"), CellResult(stdout=f"{said}\n")),
        make_turn(1, solve("2"), grade=Grade(True, 1.0)),
    ]
    return make_trajectory(turns, number=number)


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "codeact.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


async def test_every_row_is_the_view_of_the_stored_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codeact, "_BATCH", 3)
    async with open_store(f"sqlite:///{tmp_path / 'errata.db'}", create=True) as store:
        for number in range(7):
            await put(store, sample(number, f'run {number}\nof "7" \''))
        manifest = await write_codeact(load_trajectories(store), tmp_path / "out")
        stored = [one async for one in load_trajectories(store)]
    expected = [
        {"id": row_id(one), "conversations": [{"role": m.role, "content": m.content} for m in published(messages(one))]}
        for one in stored
    ]
    assert manifest.rows == len(expected) == 7
    assert lines(tmp_path / "out") == expected
    assert pq.read_table(tmp_path / "out" / "codeact.parquet").to_pylist() == expected
    assert len({row["id"] for row in expected}) == 7


def test_an_id_has_six_parts_and_tells_the_run_the_attempt_and_the_row() -> None:
    assert row_id(sample()) == "errata/reasoning/math/1/tape-1/max5_p2+r+a0+t1"
    odd = replace(sample(), run="a/b", attempt=2, task=replace(sample().task, id="nt/2/11", environment="tables:sql"))
    assert row_id(odd) == "errata/tabular/tables:sql/nt-2-11/tape-1/max5_p2+a-b+a2+t1"
    foreign = replace(sample(), task=replace(sample().task, environment="chess", metadata={"task_type": "play"}))
    assert row_id(foreign).split("/")[:4] == ["errata", "play", "chess", "math-1"]


async def test_what_the_datasets_library_reads_joins_the_published_rows_without_a_cast(tmp_path: Path) -> None:
    await write_codeact([sample(1), sample(2)], tmp_path / "out")
    script = """
import json, sys
from datasets import Dataset, Features, List, Value, concatenate_datasets, load_dataset
hub = Features({"id": Value("string"), "conversations": List({"role": Value("string"), "content": Value("string")})})
ours = load_dataset("parquet", data_files=sys.argv[1] + "/codeact.parquet", split="train")
assert ours.features == hub, ours.features
row = {"id": "x", "conversations": [{"role": "system", "content": "s"}]}
both = concatenate_datasets([Dataset.from_list([row], features=hub), ours])
assert both.features == hub
print(json.dumps(both.to_list()))
print(load_dataset(sys.argv[1], split="train").to_list() == ours.to_list())
"""
    place = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        env={**os.environ, **place},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    joined, folder_reads_alike = done.stdout.splitlines()
    assert json.loads(joined)[1:] == lines(tmp_path / "out")
    assert folder_reads_alike == "True"


async def test_an_empty_export_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ErrataError, match="nothing to export"):
        await write_codeact([], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


async def test_an_export_takes_the_place_of_an_earlier_one_and_keeps_what_stands_beside_it(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    await write_codeact([sample(1)], out)
    (out / "README.md").write_text("mine")
    await write_codeact([sample(2), sample(3)], out)
    assert len(lines(out)) == 2
    assert json.loads((out / MANIFEST).read_text())["rows"] == 2
    assert (out / "README.md").read_text() == "mine"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


async def test_a_folder_of_someone_else_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not an export of Errata"):
        await write_codeact([sample()], tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        await write_codeact([sample()], tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


async def test_an_export_that_breaks_leaves_the_earlier_one_whole(tmp_path: Path) -> None:
    async def breaking() -> AsyncIterator[Trajectory]:
        yield sample(2)
        raise RuntimeError("the store went away")

    out = tmp_path / "out"
    await write_codeact([sample(1)], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RuntimeError):
        await write_codeact(breaking(), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


async def test_what_a_killed_export_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".out.errata-partial").mkdir()
    (tmp_path / ".out.errata-partial" / "codeact.jsonl").write_text("torn")
    await write_codeact([sample()], tmp_path / "out")
    assert lines(tmp_path / "out") == [codeact_row(sample())]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_formats_are_found_by_name_and_an_unknown_one_lists_them() -> None:
    assert find_writer("codeact") is write_codeact
    assert all(callable(find_writer(name)) for name in format_names())
    with pytest.raises(UsageError, match="There are: codeact"):
        find_writer("codeakt")
