"""Replies of live searches are kept for whoever asks again."""

import asyncio

from environments.search.cache import Cache
from store.searches import StoredReplies
from store.store import open_store


async def test_the_first_reply_to_a_search_stays(address: str) -> None:
    long = "q=" + "é" * 3_000
    async with open_store(address, create=True) as store:
        replies: Cache = StoredReplies(store)
        assert await replies.get(long) is None
        await asyncio.gather(*(replies.put(long, {"revision": n, "answer": "x" * 10_000}) for n in range(5)))
        first = await replies.get(long)
        await replies.put(long, {"revision": 99})
    async with open_store(address) as store:
        assert await StoredReplies(store).get(long) == first
        assert await StoredReplies(store).get("q=other") is None
