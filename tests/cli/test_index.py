"""`errata index`: what it says, where, and how it ends."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli import index
from environments.faults import UsageError
from environments.search.local import LocalSearch

APP = typer.Typer()
index.register(APP)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "pages.jsonl"
    pages = [{"title": "A", "text": "First."}, {"title": "B", "text": "Second.", "redirects": ["C"]}, {"x": 1}]
    path.write_text("".join(f"{json.dumps(page)}\n" for page in [*pages, pages[0]]))
    return path


def test_the_index_is_built_and_summed_up_in_a_few_lines(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "wiki"
    done = CliRunner().invoke(APP, [str(source), "--out", str(out)])
    assert done.exit_code == 0
    assert done.stdout == f"{out}\n"
    bad, pages, passed, use = done.stderr.splitlines()
    assert bad == f"{source}:3: neither a 'title' nor a 'context'"
    assert pages.startswith(f"2 pages and 1 redirects in {out} (fts5, 0.")
    assert passed == "Passed over: the same passage again (1); no passage (1)."
    assert use == f"To search it: ERRATA_INDEX={out} errata collect --env hotpotqa …"
    LocalSearch.open(out).close()


def test_a_program_is_told_in_json(source: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(APP, [str(source), "--out", str(tmp_path / "wiki"), "--json"])
    told = json.loads(done.stdout)
    assert (told["pages"], told["redirects"], told["bad"], told["backend"]) == (2, 1, 1, "fts5")
    assert told["bytes"] > 0
    assert len(told["digest"]) == 64


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.jsonl"], "there is no such file"),
        (["PAGES", "--backend", "lucene"], "There are: fts5, tantivy"),
    ],
)
def test_what_cannot_be_is_a_clear_line(arguments: list[str], said: str, source: Path, tmp_path: Path) -> None:
    given = [str(source) if one == "PAGES" else one for one in arguments]
    done = CliRunner().invoke(APP, [*given, "--out", str(tmp_path / "wiki")])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
