"""The local index: what it is built from, that it is replaced whole or not at all, and what it finds."""

import bz2
import gzip
import io
import json
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from environments.environment import BadRow
from environments.faults import ToolFault, UsageError
from environments.search import passages
from environments.search.index import BACKENDS, FILE, Backend, build_index, open_index
from environments.search.local import LocalSearch
from environments.search.pages import LONGEST_SUMMARY, Miss, Page, shortened, title_key, told
from environments.search.passages import Passage, Record, passages_of, read_records
from environments.search.tantivy_ranking import installed
from environments.search.words import words_of

PAGES = [
    {
        "title": "Béla Bartók",
        "text": "Béla Bartók was a composer and pianist from Hungary.",
        "redirects": ["Bartok, B."],
    },
    {"title": "Wallace &amp; Gromit", "sentences": ["Two friends of clay.", " One is a dog."]},
    {"title": "The Hound", "text": ["A hound is a dog that hunts.", " Composers own few of them."]},
    {"title": "Hungary", "text": [['Hungary is a <a href="Country">country</a>.'], ["Its capital is Budapest."]]},
    {"title": "Straße", "text": "Ein Weg aus Stein."},
    {"title": "Empty list", "text": []},
]
FOUND = [
    Passage("Béla Bartók", "Béla Bartók was a composer and pianist from Hungary.", ("Bartok, B.",)),
    Passage("Wallace & Gromit", "Two friends of clay. One is a dog."),
    Passage("The Hound", "A hound is a dog that hunts. Composers own few of them."),
    Passage("Hungary", "Hungary is a country. Its capital is Budapest."),
    Passage("Straße", "Ein Weg aus Stein."),
]
LINES = "".join(f"{json.dumps(page)}\n" for page in PAGES).encode()

each_backend = pytest.mark.parametrize(
    "backend",
    ["fts5", pytest.param("tantivy", marks=pytest.mark.skipif(not installed(), reason="tantivy is not installed"))],
)


def read(path: Path) -> list[Passage]:
    return [passage for record in read_records(path) for passage in passages_of(record)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "pages.jsonl"
    path.write_bytes(LINES)
    return path


# -- sources ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "json.gz", "bz2", "tar.bz2", "tar", "parquet", "folder"])
def test_every_form_holds_the_same_passages(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"wiki.{kind}"
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        rows = [{"title": one.title, "text": one.text, "redirects": list(one.redirects)} for one in FOUND]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif kind == "folder":
        (path / "AA").mkdir(parents=True)
        lines = LINES.splitlines(keepends=True)
        (path / "AA" / "wiki_00.bz2").write_bytes(bz2.compress(b"".join(lines[:3])))
        (path / "AA" / "wiki_01.bz2").write_bytes(bz2.compress(b"".join(lines[3:])))
    elif kind.startswith("tar"):
        with tarfile.open(path, "w:bz2" if kind.endswith("bz2") else "w") as archive:
            packed = bz2.compress(LINES)
            member = tarfile.TarInfo("wiki/AA/wiki_00.bz2")
            member.size = len(packed)
            archive.addfile(member, io.BytesIO(packed))
    else:
        text = json.dumps(PAGES, indent=1).encode() if "json" in kind.split(".") else LINES
        packers = {"gz": gzip.compress, "bz2": bz2.compress}
        path.write_bytes(packers.get(kind.rpartition(".")[2], bytes)(text))
    assert read(path) == FOUND


def test_a_data_set_of_the_hub_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    context = {"title": ["A & B", "C"], "sentences": [["One.", " Two."], []]}
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"id": "1", "context": context}]), tmp_path / "train.parquet"
    )
    source = f"hf:{tmp_path}#train"
    assert [passage for record in read_records(source) for passage in passages_of(record)] == [
        Passage("A & B", "One. Two.")
    ]
    assert build_index([source], tmp_path / "wiki").manifest.sources == [source]


def test_a_file_of_another_kind_is_told_which_there_are(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("title,text\n")
    with pytest.raises(UsageError, match=r"There are: \.jsonl, \.json"):
        read(tmp_path / "pages.csv")


def test_both_forms_of_a_question_hold_its_paragraphs() -> None:
    official = {"_id": "1", "context": [["A &amp; B", ["One.", " Two."]], ["C", []]]}
    hub = {"id": "1", "context": {"title": ["A & B", "C"], "sentences": [["One.", " Two."], []]}}
    for row in (official, hub):
        assert passages_of(Record(row, "here")) == [Passage("A & B", "One. Two.")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "neither a 'title' nor a 'context'"),
        ({"title": " ", "text": "x"}, "without a title"),
        ({"title": "A"}, "neither a text nor a list"),
        ({"title": "A", "text": "x", "redirects": "B"}, "'redirects'"),
        ({"context": "x"}, "no list of paragraphs"),
        ({"context": [["A"]]}, r"not \[title, sentences\]"),
        ({"context": {"title": ["A"], "sentences": []}}, "of the same length"),
    ],
)
def test_a_record_that_holds_no_passage_says_why(row: dict[str, object], said: str) -> None:
    with pytest.raises(BadRow, match=said):
        passages_of(Record(row, "here"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'[{"title": "A", "text": "x"}, {"title"', r"a\.json\[2\]: not JSON, or cut off"),
        ("a.json", b'{"title": "A"}', "not a list"),
        ("a.json", b"", "cut off"),
        ("a.json", b"[1]", "a int where a record"),
        ("a.json", b'["\xff"]', "not UTF-8"),
        ("a.jsonl", b'{"title": "A", "text": "x"}\n{"ti', r"a\.jsonl:2: not JSON"),
        ("a.jsonl.gz", gzip.compress(LINES)[:-9], "cut off"),
        ("a.bz2", bz2.compress(LINES)[:-9], "cut off"),
        ("a.tar.bz2", b"no archive", "cannot be read"),
    ],
)
def test_a_source_that_is_broken_is_told_with_its_place(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        read(tmp_path / name)


def test_a_long_list_is_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(PAGES, ensure_ascii=False, indent=2), encoding="utf-8")
    for size in (1, 7, 100):
        monkeypatch.setattr(passages, "_CHUNK", size)
        assert read(path) == FOUND


# -- building --------------------------------------------------------------------------------------


@each_backend
def test_what_was_built_says_what_it_holds(backend: Backend, source: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text(
        '{"title": "Hungary", "text": "Something else."}\n{"title": "Straße", "text": "Ein Weg aus Stein."}\n{}'
    )
    told: list[tuple[str, int]] = []
    built = build_index(
        [source, more], tmp_path / "wiki", backend=backend, progress=lambda name, pages: told.append((name, pages))
    )
    manifest = built.manifest
    assert (manifest.pages, manifest.redirects, manifest.repeated, manifest.other_text, manifest.bad) == (5, 1, 1, 1, 1)
    assert built.problems == (f"{more}:3: neither a 'title' nor a 'context'",)
    assert told == [("pages.jsonl", 5), ("more.jsonl", 5)]
    connection, read_back = open_index(tmp_path / "wiki")
    connection.close()
    assert read_back == manifest
    assert manifest.sources == ["pages.jsonl", "more.jsonl"]
    assert sorted(path.name for path in (tmp_path / "wiki").iterdir()) == (
        [FILE] if backend == "fts5" else [FILE, "tantivy-1"]
    )


def test_the_same_sources_make_the_same_file(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_index([source], tmp_path / name)
    assert (tmp_path / "one" / FILE).read_bytes() == (tmp_path / "two" / FILE).read_bytes()


@each_backend
async def test_a_reader_keeps_the_index_it_has_open_while_another_takes_its_place(
    backend: Backend, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "wiki"
    build_index([source], out, backend=backend)
    before = LocalSearch.open(out)
    other = tmp_path / "other.jsonl"
    other.write_text('{"title": "Iceland", "text": "An island with a dog."}')
    build_index([other], out, backend=backend)
    after = LocalSearch.open(out)
    assert isinstance(await before.search("dog hunts"), Page)
    assert await after.search("dog") == Page("Iceland", "An island with a dog.")
    for search in (before, after):
        await search.aclose()
    assert len([path for path in out.iterdir() if path.name.startswith("tantivy")]) == (backend == "tantivy")


async def test_a_build_that_fails_leaves_the_index_that_was_there(source: Path, tmp_path: Path) -> None:
    out, bad = tmp_path / "wiki", tmp_path / "bad.jsonl"
    build_index([source], out)
    bad.write_text('{"title": "A", "text": "x"}\n{"tit')
    with pytest.raises(UsageError, match=r"bad\.jsonl:2"):
        build_index([bad], out)
    search = LocalSearch.open(out)
    assert isinstance(await search.search("Hungary"), Page)
    await search.aclose()
    assert [path.name for path in out.iterdir()] == [FILE]


def test_a_build_that_is_killed_is_cleared_away_by_the_next(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "wiki"
    code = f"""
import os, signal
from pathlib import Path
from environments.search import index
index._publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
index.build_index([Path({str(source)!r})], Path({str(out)!r}))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not (out / FILE).exists()
    with pytest.raises(UsageError, match="there is no index"):
        open_index(out)
    build_index([source], out)
    assert [path.name for path in out.iterdir()] == [FILE]


def test_a_source_without_a_passage_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"question": "?"}\n')
    with pytest.raises(UsageError, match=r"not one passage in it: .*neither a 'title' nor a 'context'"):
        build_index([tmp_path / "a.jsonl"], tmp_path / "wiki")
    assert not (tmp_path / "wiki").exists()


def test_a_folder_or_file_that_is_something_else_is_not_written_over(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a file stands there"):
        build_index([source], source)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("a")
    with pytest.raises(UsageError, match="holds something, and no index"):
        build_index([source], tmp_path / "mine")
    other = sqlite3.connect(tmp_path / "mine" / FILE)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(UsageError, match="not an index of Errata's"):
        build_index([source], tmp_path / "mine")
    with pytest.raises(UsageError, match="not an index of Errata's"):
        open_index(tmp_path / "mine")


def test_an_index_of_a_newer_version_is_neither_read_nor_replaced(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "wiki"
    build_index([source], out)
    _mark(out, 99)
    with pytest.raises(UsageError, match="an index of a newer Errata"):
        open_index(out)
    with pytest.raises(UsageError, match="a newer Errata stands there"):
        build_index([source], out)


def test_an_index_of_an_older_version_is_not_read_and_may_be_replaced(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "wiki"
    build_index([source], out)
    _mark(out, 0)
    with pytest.raises(UsageError, match="an index of an older Errata"):
        open_index(out)
    build_index([source], out)
    LocalSearch.open(out).close()


def _mark(out: Path, version: int) -> None:
    connection = sqlite3.connect(out / FILE)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def test_two_builds_of_one_index_do_not_mix(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "wiki"

    def second(name: str, pages: int) -> None:
        with pytest.raises(UsageError, match="another process is building"):
            build_index([source], out)

    assert build_index([source], out, progress=second).manifest.pages == 5


def test_an_index_that_is_cut_off_is_a_clear_line(source: Path, tmp_path: Path) -> None:
    build_index([source], tmp_path / "wiki")
    file = tmp_path / "wiki" / FILE
    file.write_bytes(file.read_bytes()[:5_000])
    with pytest.raises(UsageError, match="not an index of Errata's, or damaged"):
        open_index(tmp_path / "wiki")


def test_tantivy_is_asked_only_of_an_index_built_with_it(source: Path, tmp_path: Path) -> None:
    build_index([source], tmp_path / "wiki")
    with pytest.raises(UsageError, match="built without tantivy"):
        LocalSearch.open(tmp_path / "wiki", "tantivy")


def test_every_back_end_that_is_not_there_says_how_to_have_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BACKENDS == ("fts5", "tantivy")
    monkeypatch.setitem(sys.modules, "tantivy", None)
    with pytest.raises(UsageError, match=r"pip install 'errata\[search\]'"):
        build_index([source], tmp_path / "wiki", backend="tantivy")


# -- searching -------------------------------------------------------------------------------------


@each_backend
@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("Béla Bartók", "Béla Bartók"),
        ("bela  BARTOK", "Béla Bartók"),
        ("Bela_Bartok", "Béla Bartók"),
        ('"Béla Bartók"', "Béla Bartók"),
        ("Bartok, B.", "Béla Bartók"),
        ("Wallace & Gromit", "Wallace & Gromit"),
        ("strasse", "Straße"),
        ("dogs that hunted", "The Hound"),
        ("what is the capital of Hungary?", "Hungary"),
        ("pianists bartok", "Béla Bartók"),
        ("straße stein", "Straße"),
    ],
)
async def test_a_page_is_found_by_its_title_or_by_its_words(
    backend: Backend, query: str, title: str, source: Path, tmp_path: Path
) -> None:
    build_index([source], tmp_path / "wiki", backend=backend)
    search = LocalSearch.open(tmp_path / "wiki")
    found = await search.search(query)
    await search.aclose()
    assert isinstance(found, Page)
    assert found.title == title


@each_backend
async def test_where_no_page_holds_all_words_the_nearest_titles_are_told(
    backend: Backend, source: Path, tmp_path: Path
) -> None:
    build_index([source], tmp_path / "wiki", backend=backend)
    search = LocalSearch.open(tmp_path / "wiki")
    assert await search.search("Hungarian composer Bartok") == Miss(("Béla Bartók", "The Hound"))
    assert await search.search("xyzzy") == Miss()
    for odd in ('"', "AND", "NEAR(", "title:x", "*", "-", "(", "^a", "の", "'; DROP TABLE pages", "a" * 300, "\\"):
        assert isinstance(await search.search(odd), (Miss, Page))
        assert isinstance(search.titles(odd, 5), list)
    await search.aclose()


async def test_a_page_found_by_its_words_comes_with_other_titles_that_hold_them(source: Path, tmp_path: Path) -> None:
    build_index([source], tmp_path / "wiki")
    search = LocalSearch.open(tmp_path / "wiki")
    found = await search.search("dog")
    await search.aclose()
    assert isinstance(found, Page)
    assert {found.title, *found.similar} == {"The Hound", "Wallace & Gromit"}
    assert told("dog", found).endswith(f"\nSimilar: {list(found.similar)}")


async def test_an_index_that_fails_while_it_is_read_is_a_fault_and_no_miss(source: Path, tmp_path: Path) -> None:
    build_index([source], tmp_path / "wiki")
    file = tmp_path / "wiki" / FILE
    content = bytearray(file.read_bytes())
    search = LocalSearch.open(tmp_path / "wiki")
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(ToolFault, match="cannot be searched"):
        for title in ("Hungary", "dog", "xyzzy", "Straße"):
            await search.search(title)
    await search.aclose()


def test_a_word_that_stands_everywhere_is_searched_for_only_where_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    pages = [{"title": f"River {number}", "text": f"A river of county {number % 7}."} for number in range(1_500)]
    path.write_text("".join(f"{json.dumps(page)}\n" for page in [*pages, {"title": "Bonk", "text": "A bonk river"}]))
    build_index([path], tmp_path / "wiki")
    search = LocalSearch.open(tmp_path / "wiki")
    common = search._connection.execute("SELECT word, pages FROM common").fetchall()
    assert ("river", 1_501) in common
    assert search.titles("rivers bonk", 2)[0] == "Bonk"
    assert len(search.titles("rivers", 3)) == 3
    search.close()


def test_titles_that_differ_only_in_spelling_share_a_key() -> None:
    assert title_key("“Weird Al” Yankovic") == title_key('"weird al" yankovic')
    assert title_key("Spider–Man") == title_key("spider-man")
    assert title_key("C#") != title_key("C")
    assert title_key('"') == '"'


def test_the_words_of_a_query_are_those_that_tell() -> None:
    assert words_of("Who was the director of The Salt Ledger?") == ["director", "salt", "ledger"]
    assert words_of("The Who") == ["the", "who"]
    assert len(words_of(" ".join(f"w{number}" for number in range(100)))) == 24


def test_a_long_summary_ends_with_a_sentence_and_says_so() -> None:
    text = "This is a sentence of some length. " * 200
    short = shortened(text)
    assert len(short) <= LONGEST_SUMMARY + 4
    assert short.endswith("length. […]")
    assert shortened("x" * 5_000) == "x" * (LONGEST_SUMMARY // 2) + " […]"
    assert shortened("short.") == "short."
