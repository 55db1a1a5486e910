"""tantivy as a ranking of pages: many times faster than SQLite on millions of them. The extra `search` installs it.

It analyses text as the other ranking does (no accents, no case, English stems), so that both find much the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from environments.faults import UsageError

if TYPE_CHECKING:
    import tantivy

_ANALYZER = "errata"
_TITLE_WEIGHT = 0.8
"""Chosen as SQLite's. It is smaller since a title is weighed here as a short text of its own."""
_HEAP = 128_000_000
_LONGEST_WORD = 60


def installed() -> bool:
    try:
        import tantivy  # noqa: F401
    except ImportError:
        return False
    return True


def check_installed() -> None:
    if not installed():
        raise UsageError("the tantivy back end is not installed: pip install 'errata[search]', or take fts5.")


class Writer:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._index = _index(folder)
        # One thread: the same pages then make the same index, and the other core reads and parses.
        self._writer = self._index.writer(_HEAP, 1)

    def add(self, number: int, title: str, text: str) -> None:
        import tantivy

        self._writer.add_document(tantivy.Document(id=number, title=title, text=text))

    def finish(self) -> None:
        self._writer.commit()
        self._writer.wait_merging_threads()


class Tantivy:
    def __init__(self, folder: Path) -> None:
        import tantivy

        check_installed()
        self._query, self._occur = tantivy.Query, tantivy.Occur
        self._analyzer = _analyzer()
        try:
            self._index = _index(folder)
            self._searcher = self._index.searcher()
        except (ValueError, OSError) as error:
            raise UsageError(f"{folder}: tantivy cannot open it: {error}. Build the index again.") from error

    def every(self, words: Sequence[str], count: int) -> list[int]:
        return self._ranked(words, self._occur.Must, count)

    def some(self, words: Sequence[str], count: int) -> list[int]:
        return self._ranked(words, self._occur.Should, count)

    def close(self) -> None:
        return None

    def _ranked(self, words: Sequence[str], occur: tantivy.Occur, count: int) -> list[int]:
        parts = [(occur, self._either(stem)) for word in words for stem in self._analyzer.analyze(word)]
        hits = self._searcher.search(self._query.boolean_query(parts), count, count=False).hits
        addresses = [address for _, address in hits]
        numbers = self._searcher.fast_field_values("id", addresses)
        # Equal scores come in no certain order: the earlier page goes first, as with SQLite.
        ranked = sorted((-score, int(number or 0)) for (score, _), number in zip(hits, numbers, strict=True))
        return [number for _, number in ranked]

    def _either(self, stem: str) -> tantivy.Query:
        title = self._query.term_query(self._index.schema, "title", stem, "freq")
        text = self._query.term_query(self._index.schema, "text", stem, "freq")
        should = self._occur.Should
        return self._query.boolean_query([(should, self._query.boost_query(title, _TITLE_WEIGHT)), (should, text)])


def _index(folder: Path) -> tantivy.Index:
    import tantivy

    fields = tantivy.SchemaBuilder().add_integer_field("id", fast=True)
    for name in ("title", "text"):
        fields = fields.add_text_field(name, tokenizer_name=_ANALYZER, index_option="freq")
    index = tantivy.Index(fields.build(), path=str(folder))
    index.register_tokenizer(_ANALYZER, _analyzer())
    return index


def _analyzer() -> tantivy.TextAnalyzer:
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    builder = TextAnalyzerBuilder(Tokenizer.simple())
    for step in (Filter.remove_long(_LONGEST_WORD), Filter.lowercase(), Filter.ascii_fold(), Filter.stemmer("english")):
        builder = builder.filter(step)
    return builder.build()
