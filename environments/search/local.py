"""Searching a local index: the page of that title, else the best page that holds all the words, else titles."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from environments.faults import ToolFault, UsageError
from environments.search.index import Backend, Manifest, fill_memory, open_index
from environments.search.pages import SIMILAR, Miss, Page, title_key
from environments.search.passages import Passage
from environments.search.ranking import Fts5, Ranking
from environments.search.tantivy_ranking import Tantivy
from environments.search.words import words_of


class LocalSearch:
    """One thread asks, so that many trajectories can wait at once without holding up the others."""

    def __init__(self, connection: sqlite3.Connection, ranking: Ranking, manifest: Manifest) -> None:
        self._connection = connection
        self._ranking = ranking
        self.manifest = manifest
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")

    @classmethod
    def open(cls, path: Path, backend: Backend | None = None) -> Self:
        """By the index's own back end unless told. Raises `UsageError`."""
        connection, manifest = open_index(path)
        try:
            return cls(connection, _ranking(path, backend or manifest.backend, connection, manifest), manifest)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def of(cls, passages: Sequence[Passage]) -> Self:
        connection = fill_memory(passages)
        return cls(connection, Fts5(connection), Manifest(pages=len(passages)))

    async def search(self, query: str) -> Page | Miss:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.find, query)

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._thread.shutdown()
        self._ranking.close()
        self._connection.close()

    def find(self, query: str) -> Page | Miss:
        try:
            return self._named(query) or self._holding(query)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise ToolFault(f"the local index cannot be searched: {error}") from error

    def titles(self, query: str, count: int) -> list[str]:
        """Of the pages that hold some of the words, best first."""
        words = words_of(query)
        return [title for title, _ in self._pages(self._ranking.some(words, count))] if words else []

    def _named(self, query: str) -> Page | None:
        rows = self._connection.execute(
            "SELECT title, text FROM titles JOIN pages ON id = page WHERE key = ? ORDER BY redirect, title <> ?, id",
            (title_key(query), query),
        )
        row = rows.fetchone()
        rows.close()
        return Page(*row) if row else None

    def _holding(self, query: str) -> Page | Miss:
        words = words_of(query)
        if not words:
            return Miss()
        pages = self._pages(self._ranking.every(words, SIMILAR + 1))
        if not pages:
            return Miss(tuple(self.titles(query, SIMILAR)))
        return Page(*pages[0], similar=tuple(title for title, _ in pages[1:]))

    def _pages(self, numbers: Sequence[int]) -> list[tuple[str, str]]:
        ask = "SELECT title, text FROM pages WHERE id = ?"
        return [row for number in numbers for row in self._connection.execute(ask, (number,))]


def _ranking(path: Path, backend: Backend, connection: sqlite3.Connection, manifest: Manifest) -> Ranking:
    if backend == "fts5":
        return Fts5(connection)
    folder = path if path.is_dir() else path.parent
    if manifest.folder is None or not (folder / manifest.folder).is_dir():
        raise UsageError(f"{path}: built without tantivy. Build it again with --backend tantivy, or take fts5.")
    return Tantivy(folder / manifest.folder)
