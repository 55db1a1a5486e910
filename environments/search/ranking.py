"""SQLite's full text search (FTS5) as a ranking of pages: there in every Python, and in the index of every back end."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Protocol

TOKENIZER = "porter unicode61 remove_diacritics 2"
_TITLE_WEIGHT = 8.0
"""Of a word in the title against one in the text, where more no longer helps to find HotpotQA's paragraphs."""
_COMMON_SHARE = 100
"""A word on more than one page in so many is common: it costs most and says least."""
_CHEAP = 1_000
"""Pages that are looked through in no time, however common the word is."""
_FEW = 3


class Ranking(Protocol):
    def every(self, words: Sequence[str], count: int) -> list[int]:
        """The pages that hold all the words, best first."""

    def some(self, words: Sequence[str], count: int) -> list[int]:
        """The pages that hold some of the words, best first."""

    def close(self) -> None: ...


def create(connection: sqlite3.Connection) -> None:
    # Without content: the texts stand in `pages`, and a second copy of them would double the file.
    connection.execute(f"CREATE VIRTUAL TABLE words USING fts5 (title, text, content='', tokenize='{TOKENIZER}')")
    connection.execute("CREATE TABLE common (word TEXT PRIMARY KEY, pages INTEGER NOT NULL) WITHOUT ROWID")


def finish(connection: sqlite3.Connection, pages: int) -> None:
    """Once all pages are in."""
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")
    connection.execute("CREATE VIRTUAL TABLE temp.held USING fts5vocab ('main', 'words', 'row')")
    many = max(pages // _COMMON_SHARE, _CHEAP)
    connection.execute("INSERT INTO common SELECT term, doc FROM temp.held WHERE doc > ? ORDER BY term", (many,))
    connection.execute("DROP TABLE temp.held")


class Fts5:
    """A word is common as the index's own stems are: a small index in memory says what stem a word has."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._stems = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._stems.execute(f"CREATE VIRTUAL TABLE words USING fts5 (word, tokenize='{TOKENIZER}')")
        self._stems.execute("CREATE VIRTUAL TABLE stems USING fts5vocab ('words', 'instance')")

    def every(self, words: Sequence[str], count: int) -> list[int]:
        return self._ranked(" AND ".join(map(_quoted, words)), count)

    def some(self, words: Sequence[str], count: int) -> list[int]:
        return self._ranked(" OR ".join(map(_quoted, self._telling(words))), count)

    def close(self) -> None:
        self._stems.close()

    def _ranked(self, match: str, count: int) -> list[int]:
        found = self._connection.execute(
            "SELECT rowid FROM words WHERE words MATCH ? AND rank MATCH ? ORDER BY rank, rowid LIMIT ?",
            (match, f"bm25({_TITLE_WEIGHT}, 1.0)", count),
        )
        return [row[0] for row in found]

    def _telling(self, words: Sequence[str]) -> list[str]:
        """Without the common words, as long as a few others are left; else the least common ones."""
        frequent = {word: self._pages(word) for word in words}
        rare = [word for word in words if not frequent[word]]
        return rare if len(rare) >= _FEW else sorted(words, key=lambda word: frequent[word])[:_FEW]

    def _pages(self, word: str) -> int:
        """On how many pages a common word stands; 0 for another."""
        self._stems.execute("DELETE FROM words")
        self._stems.execute("INSERT INTO words VALUES (?)", (word,))
        with closing(self._stems.execute("SELECT term FROM stems")) as stems:
            counts = [self._connection.execute("SELECT pages FROM common WHERE word = ?", stem) for stem in stems]
        return min((row[0] for count in counts for row in count), default=0)


def _quoted(word: str) -> str:
    return f'"{word}"'
