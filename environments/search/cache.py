"""Where replies of live Wikipedia are kept, so that the same question has the same answer when a run goes on.

What a run needs is the protocol; the command line hands in whatever keeps it. Here are one that ends with the
process and one in a file of its own.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Protocol, runtime_checkable

from environments.faults import ToolFault, UsageError
from environments.types import Json


class Cache(Protocol):
    """From a request's text to its reply: `{"revision": …, "fetched": …, "answer": …}`."""

    async def get(self, key: str) -> Json: ...

    async def put(self, key: str, value: Json) -> None: ...


@runtime_checkable
class Caching(Protocol):
    """An environment that takes a cache before it is entered."""

    cache: Cache


class MemoryCache:
    def __init__(self) -> None:
        self._held: dict[str, Json] = {}

    async def get(self, key: str) -> Json:
        return self._held.get(key)

    async def put(self, key: str, value: Json) -> None:
        self._held[key] = value


class FileCache:
    """A SQLite file. What is put is on the disk before `put` returns; the first reply to a request stays."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        except sqlite3.Error as error:
            raise UsageError(f"{path}: cannot be a cache of search replies: {error}") from error
        self._lock = asyncio.Lock()

    async def get(self, key: str) -> Json:
        row = await self._ask("SELECT value FROM replies WHERE key = ?", key)
        held: Json = json.loads(row[0]) if row else None
        return held

    async def put(self, key: str, value: Json) -> None:
        await self._ask("INSERT OR IGNORE INTO replies VALUES (?, ?)", key, json.dumps(value, ensure_ascii=False))

    def close(self) -> None:
        self._connection.close()

    async def _ask(self, statement: str, *values: str) -> tuple[str] | None:
        try:
            async with self._lock:
                return await asyncio.to_thread(lambda: self._connection.execute(statement, values).fetchone())
        except sqlite3.Error as error:
            raise ToolFault(f"the cache of search replies cannot be used: {error}") from error
