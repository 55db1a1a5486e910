"""Live Wikipedia, asked through MediaWiki's action API over aiohttp.

Of our own because the package `wikipedia-api` takes a lagging server's refusal (status 200) for a page that is not
there, which would make the server's trouble the teacher's; it also fixes the address, waits however long it is told
to, and pins its dependencies to one version each. Requests go out one after the other, as Wikipedia asks of programs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from environments.faults import ToolFault, UsageError
from environments.search.cache import Cache, MemoryCache
from environments.search.pages import SIMILAR, Miss, Page, tidy, unquoted
from environments.types import Json

if TYPE_CHECKING:
    import aiohttp

URL = "https://en.wikipedia.org/w/api.php"
_NOT_IN_TITLES = frozenset("|#<>[]{}\x1f")
_LONGEST_TITLE = 255
"""Bytes."""
_LARGEST_ANSWER = 4_000_000
_PASSING = frozenset({"maxlag", "ratelimited", "readonly", "internal_api_error_DBConnectionError"})
"""What MediaWiki refuses for now only, with status 200."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How Wikipedia is asked."""

    concurrency: int = 1
    maxlag: int = 5
    """Seconds that the server's copies may lag behind; beyond, it serves people first."""
    attempts: int = 5
    first_wait: float = 1.0
    """Seconds before the second attempt, where the server names none; doubled each time."""
    longest_wait: float = 60.0
    """Seconds. A server that asks for more is not waited for: the trajectory is tried again later."""
    timeout: float = 20.0


class _Refused(Exception):
    """Not answered for now."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        super().__init__(why)
        self.retry_after = retry_after


class Wikipedia:
    """A `Search`. `contact` is a mail address or a page of yours, by which Wikipedia can reach you."""

    def __init__(
        self, contact: str | None, *, cache: Cache | None = None, url: str = URL, manners: Manners | None = None
    ) -> None:
        self._agent = f"errata/{version('errata')} ({_contact(contact)})"
        self._cache = MemoryCache() if cache is None else cache
        self._url = url
        self._manners = manners or Manners()
        self._slots = asyncio.Semaphore(self._manners.concurrency)
        self._session: aiohttp.ClientSession | None = None

    async def search(self, query: str) -> Page | Miss:
        title = unquoted(query)
        named = await self._page(title) if _may_be_title(title) else None
        if named and not named.disambiguation:
            return named.page
        hits, meant = await self._hits(query)
        titles = [other for other in hits if not named or other != named.page.title]
        if titles and not named:
            return await self._best(titles)
        # Nothing holds these words: what Wikipedia thinks was meant is similar, and no answer.
        similar = (await self._hits(meant))[0] if meant and not titles else titles
        return Miss(tuple(similar[:SIMILAR]))

    async def aclose(self) -> None:
        if self._session:
            await self._session.close()

    async def _best(self, titles: list[str]) -> Page | Miss:
        """The first found that is a page of its own. All found hold the words: that is how Wikipedia searches."""
        for at, title in enumerate(titles[:SIMILAR]):
            found = await self._page(title)
            if found and not found.disambiguation and found.page.text:
                others = [other for other in titles if other not in titles[: at + 1]]
                return Page(found.page.title, found.page.text, tuple(others[:SIMILAR]), found.page.revision)
        return Miss(tuple(titles[:SIMILAR]))

    # -- what is asked ---------------------------------------------------------------------------

    async def _page(self, title: str) -> _Found | None:
        """By its title or a redirect's."""
        answer = await self._ask(
            titles=title, redirects="1", prop="extracts|info|pageprops", exintro="1", explaintext="1",
            ppprop="disambiguation",
        )  # fmt: skip
        pages = _list(answer, "pages")
        return _found(pages[0]) if pages else None

    async def _hits(self, query: str) -> tuple[list[str], str | None]:
        """The titles of pages that hold the words, and another query that may have been meant."""
        answer = await self._ask(
            list="search", srsearch=query, srlimit=str(2 * SIMILAR), srnamespace="0", srprop="", srinfo="suggestion"
        )
        info = answer.get("searchinfo")
        meant = info.get("suggestion") if isinstance(info, Mapping) else None
        titles = [str(hit["title"]) for hit in _list(answer, "search") if isinstance(hit.get("title"), str)]
        return titles, meant if isinstance(meant, str) else None

    async def _ask(self, **asked: str) -> Mapping[str, Json]:
        """The `query` of the answer, from the cache if it was asked before."""
        key = f"{self._url}?{json.dumps(asked, sort_keys=True, ensure_ascii=False)}"
        held = await self._cache.get(key)
        if held is None:
            async with self._slots:
                held = await self._cache.get(key)
                if held is None:
                    held = await self._fetched(asked)
                    await self._cache.put(key, held)
        answer = held.get("answer") if isinstance(held, Mapping) else None
        if not isinstance(answer, Mapping):
            raise ToolFault("the cache of search replies holds something else.")
        return answer

    # -- how it is asked -------------------------------------------------------------------------

    async def _fetched(self, asked: Mapping[str, str]) -> Json:
        answer = await self._answered(asked)
        return {"revision": _revision(answer), "fetched": datetime.now(UTC).isoformat(), "answer": answer}

    async def _answered(self, asked: Mapping[str, str]) -> Mapping[str, Json]:
        manners = self._manners
        wait = manners.first_wait
        for attempt in range(1, manners.attempts + 1):
            try:
                return await self._request(asked)
            except _Refused as refused:
                pause = wait if refused.retry_after is None else refused.retry_after
                if pause > manners.longest_wait:
                    raise ToolFault(
                        f"Wikipedia: {refused}. It asks to wait {pause:.0f} s, and the longest wait is "
                        f"{manners.longest_wait:.0f} s."
                    ) from refused
                if attempt == manners.attempts:
                    raise ToolFault(f"Wikipedia: {refused}, {attempt} times.") from refused
            await asyncio.sleep(pause)
            wait *= 2
        raise AssertionError("unreachable")

    async def _request(self, asked: Mapping[str, str]) -> Mapping[str, Json]:
        import aiohttp

        fixed = {"action": "query", "format": "json", "formatversion": "2", "maxlag": str(self._manners.maxlag)}
        try:
            async with self._opened().get(self._url, params={**fixed, **asked}) as response:
                body = await response.content.read(_LARGEST_ANSWER)
                while chunk := await response.content.read(_LARGEST_ANSWER):
                    body += chunk
                    if len(body) > _LARGEST_ANSWER:
                        raise ToolFault(f"Wikipedia: an answer of more than {_LARGEST_ANSWER:,} bytes.")
                return _read(response.status, _retry_after(response.headers.get("Retry-After")), body)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _Refused(f"it cannot be reached ({type(error).__name__}: {error})".replace(": )", ")")) from error

    def _opened(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"User-Agent": self._agent},
                timeout=aiohttp.ClientTimeout(total=self._manners.timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


@dataclass(frozen=True, slots=True)
class _Found:
    page: Page
    disambiguation: bool


def _found(page: Mapping[str, Any]) -> _Found | None:
    if page.get("missing") or page.get("invalid") or page.get("special") or page.get("ns") != 0:
        return None
    title, text = str(page.get("title", "")), str(page.get("extract", ""))
    revision = page.get("lastrevid")
    properties = page.get("pageprops")
    disambiguation = isinstance(properties, Mapping) and "disambiguation" in properties
    return _Found(Page(title, tidy(text), (), revision if isinstance(revision, int) else None), disambiguation)


def _may_be_title(query: str) -> bool:
    return not _NOT_IN_TITLES.intersection(query) and len(query.encode()) <= _LONGEST_TITLE


def _list(answer: Mapping[str, Json], name: str) -> list[Mapping[str, Any]]:
    found = answer.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _revision(answer: Mapping[str, Json]) -> int | None:
    revisions = [page.get("lastrevid") for page in _list(answer, "pages")]
    return next((one for one in revisions if isinstance(one, int)), None)


def _read(status: int, retry_after: float | None, body: bytes) -> Mapping[str, Json]:
    """Raises `_Refused` for what passes, and `ToolFault` for what does not."""
    if status == 429 or status >= 500:
        raise _Refused(f"it answers with status {status}", retry_after)
    if status != 200:
        why = " Is ERRATA_CONTACT a true address?" if status == 403 else ""
        raise ToolFault(f"Wikipedia: it answers with status {status}.{why}")
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise _Refused("it answers with something that is not JSON", retry_after) from error
    if not isinstance(answer, dict):
        raise ToolFault("Wikipedia: it does not answer as MediaWiki does.")
    refusal = answer.get("error")
    if isinstance(refusal, dict):
        code, info = str(refusal.get("code")), str(refusal.get("info", "no reason given"))
        if code in _PASSING:
            raise _Refused(f"{code}: {info}", retry_after)
        raise ToolFault(f"Wikipedia: {code}: {info}")
    query = answer.get("query", {})
    return query if isinstance(query, dict) else {}


def _retry_after(header: str | None) -> float | None:
    """Seconds, or a date."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _contact(contact: str | None) -> str:
    text = (contact or "").strip()
    if not text or not ("@" in text or "://" in text) or not text.isprintable() or "(" in text or ")" in text:
        raise UsageError(
            "live Wikipedia wants to know whom to write to: set ERRATA_CONTACT to a mail address or a page of yours."
        )
    return text
