"""A server on the loopback that answers the action API as MediaWiki does, in as far as a search needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

PAGES = {
    "Łódź": "Łódź is a city in central Poland. Its name is read as “boat” – Polish has a boat in its arms.",
    "Li Bai": "Li Bai (李白, 701–762) was a poet of the Tang dynasty.",
    "Mercury": "Mercury may refer to:",
    "Mercury (planet)": "Mercury is the first planet from the Sun.",
    "Mercury (element)": "Mercury is a chemical element.",
    "Chemical element": "A chemical element is a species of atom. Mercury is one.",
}
REDIRECTS = {"Lodz": "Łódź", "Rihaku": "Li Bai"}
DISAMBIGUATIONS = {"Mercury"}
SUGGESTIONS = {"chemicla": "chemical"}

MAXLAG = {"error": {"code": "maxlag", "info": "Waiting for db1: 8.5 seconds lagged.", "lag": 8.5}}
"""Comes with status 200."""


@dataclass
class Wiki:
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    troubles: list[web.StreamResponse] = field(default_factory=list)
    """Answers that are given first, in this order."""
    running: int = 0
    most_running: int = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        self.agents.add(request.headers["User-Agent"])
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.troubles:
                return self.troubles.pop(0)
            found = self._search(request.query["srsearch"]) if "srsearch" in request.query else self._page(request)
            return web.json_response({"batchcomplete": True, "query": found})
        finally:
            self.running -= 1

    def _page(self, request: web.Request) -> dict[str, object]:
        asked = request.query["titles"]
        title = REDIRECTS.get(asked[:1].upper() + asked[1:], asked[:1].upper() + asked[1:])
        if title.startswith("Special:"):
            return {"pages": [{"ns": -1, "title": title, "special": True}]}
        if title.startswith("de:"):
            return {"interwiki": [{"title": title, "iw": "de"}]}
        if title not in PAGES:
            return {"pages": [{"ns": 0, "title": title, "missing": True}]}
        number = list(PAGES).index(title) + 1
        page = {"pageid": number, "ns": 0, "title": title, "lastrevid": 1000 + number, "extract": PAGES[title]}
        if title in DISAMBIGUATIONS:
            page["pageprops"] = {"disambiguation": ""}
        return {"pages": [page]}

    def _search(self, query: str) -> dict[str, object]:
        words = query.lower().split()
        hits = [title for title, text in PAGES.items() if all(word in f"{title} {text}".lower() for word in words)]
        info = {"suggestion": SUGGESTIONS[query]} if query in SUGGESTIONS else {}
        return {"searchinfo": info, "search": [{"ns": 0, "title": title, "pageid": 1} for title in hits]}


@asynccontextmanager
async def served() -> AsyncIterator[Wiki]:
    wiki = Wiki()
    app = web.Application()
    app.router.add_get("/w/api.php", wiki.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        wiki.url = f"http://127.0.0.1:{runner.addresses[0][1]}/w/api.php"
        yield wiki
    finally:
        await runner.cleanup()
