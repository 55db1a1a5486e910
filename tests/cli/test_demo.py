"""`errata demo`, the first thing a newcomer runs."""

import json
from pathlib import Path
from typing import Any

import pytest

from environments.kernels.isolation import working_levels


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    from tests.cli.conftest import Errata

    folder = tmp_path_factory.mktemp("demo")
    return Errata(folder)("demo"), folder


def test_it_needs_no_key_and_shows_the_whole_way(demo: tuple[Any, Path]) -> None:
    done, folder = demo
    assert done.returncode == 0, done.stderr
    assert "recipe recovered" in done.stdout
    assert "✗ E1" in done.stdout
    assert "✓ fixes the error of turn" in done.stdout
    assert f"(isolation: {working_levels()[0]})" in done.stdout
    assert "errata-demo/codeact/codeact.parquet" in done.stdout
    assert (folder / "errata-demo" / "errata.db").is_file()


def test_some_recover_some_never_err_and_some_never_recover(demo: tuple[Any, Path]) -> None:
    from tests.cli.conftest import Errata

    _, folder = demo
    funnel = json.loads(Errata(folder)("filter", "--store", "errata-demo/errata.db", "--json").stdout)
    assert funnel["seen"] in (76, 84)  # without the household, and with it
    assert 24 <= funnel["kept"] < 76
    reasons = " ".join(reason for step in funnel["steps"] for reason in step["dropped"])
    assert "R0" in reasons
    assert "not solved" in reasons


def test_what_it_leaves_loads_in_the_published_schema(demo: tuple[Any, Path], tmp_path: Path) -> None:
    from datasets import Features, List, Value, load_dataset

    _, folder = demo
    file = str(folder / "errata-demo" / "codeact" / "codeact.parquet")
    rows = load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path))
    said = List({"role": Value("string"), "content": Value("string")})
    assert rows.features == Features({"id": Value("string"), "conversations": said})
    assert len(set(rows["id"])) == len(rows)
    for row in rows:
        roles = [turn["role"] for turn in row["conversations"]]
        assert roles == ["system", *["user", "assistant"] * (len(roles) // 2)]
        assert "<thought>" not in str(row)


def test_a_second_time_changes_nothing(demo: tuple[Any, Path]) -> None:
    from tests.cli.conftest import Errata

    _, folder = demo
    written = (folder / "errata-demo" / "codeact" / "codeact.parquet").read_bytes()
    again = Errata(folder)("demo")
    assert again.returncode == 0, again.stderr
    assert (folder / "errata-demo" / "codeact" / "codeact.parquet").read_bytes() == written
