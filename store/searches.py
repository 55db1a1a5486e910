"""Replies of live searches, kept in the store: the first reply to a request stays, whoever asks again."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import select

from environments.types import Json
from store.inserts import insert_new
from store.schema import SearchReplyRow
from store.store import Store


class StoredReplies:
    """What `environments.search.cache.Cache` asks for. A reply is durable when `put` returns."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, key: str) -> Json:
        rows = await self._store.read(select(SearchReplyRow.reply).where(SearchReplyRow.digest == _digest(key)))
        reply: Json = rows[0]["reply"] if rows else None
        return reply

    async def put(self, key: str, value: Json) -> None:
        values: dict[str, Any] = {"digest": _digest(key), "request": key, "reply": value}
        await self._store.write(lambda connection: insert_new(connection, SearchReplyRow, [values]))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
