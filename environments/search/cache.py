"""Where replies of live Wikipedia are kept, so that the same question has the same answer when a run goes on.

What a run needs is the protocol; the command line hands in the store (`store/searches.py`). Here is one that ends with
the process.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

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
