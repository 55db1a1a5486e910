"""The client of live Wikipedia, against a server that answers like it: also when that one is busy, or down."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from environments.faults import ToolFault, UsageError
from environments.search.cache import Cache, MemoryCache
from environments.search.pages import Miss, Page
from environments.search.wikipedia import Manners, Wikipedia
from store.searches import StoredReplies
from store.store import open_store
from tests.environments.mediawiki import MAXLAG, PAGES, Wiki, served

CONTACT = "someone@example.org"
QUICK = Manners(first_wait=0.001, attempts=3)


@pytest_asyncio.fixture
async def wiki() -> AsyncIterator[Wiki]:
    async with served() as wiki:
        yield wiki


async def find(wiki: Wiki, query: str, *, cache: Cache | None = None, manners: Manners = QUICK) -> Page | Miss:
    client = Wikipedia(CONTACT, cache=cache, url=wiki.url, manners=manners)
    try:
        return await client.search(query)
    finally:
        await client.aclose()


async def test_a_page_is_found_by_its_title_with_its_revision(wiki: Wiki) -> None:
    assert await find(wiki, "Li Bai") == Page("Li Bai", PAGES["Li Bai"], revision=1002)
    (asked,) = wiki.asked
    assert (asked["action"], asked["maxlag"], asked["redirects"]) == ("query", "5", "1")
    (agent,) = wiki.agents
    assert agent.startswith("errata/")
    assert f"({CONTACT})" in agent


@pytest.mark.parametrize("query", ["Lodz", "lodz", "Łódź", '"Łódź"'])
async def test_redirects_and_every_script_lead_to_the_page(wiki: Wiki, query: str) -> None:
    found = await find(wiki, query)
    assert isinstance(found, Page)
    assert (found.title, found.similar) == ("Łódź", ())
    assert "“boat”" in found.text


async def test_words_that_are_no_title_find_the_page_that_holds_them(wiki: Wiki) -> None:
    assert await find(wiki, "poet Tang dynasty") == Page("Li Bai", PAGES["Li Bai"], revision=1002)
    found = await find(wiki, "mercury chemical")
    assert isinstance(found, Page)
    assert (found.title, found.similar) == ("Mercury (element)", ("Chemical element",))


async def test_a_disambiguation_page_is_no_page_but_titles(wiki: Wiki) -> None:
    assert await find(wiki, "Mercury") == Miss(("Mercury (planet)", "Mercury (element)", "Chemical element"))


async def test_a_page_that_is_missing_is_a_miss_and_what_was_meant_is_similar(wiki: Wiki) -> None:
    assert await find(wiki, "Nobody Such") == Miss()
    assert await find(wiki, "chemicla") == Miss(("Mercury (element)", "Chemical element"))


@pytest.mark.parametrize("query", ["Special:Random", "de:Berlin", "a|b", "C#", "[x]", "{{x}}", "é" * 200])
async def test_what_is_no_title_is_only_searched_for(wiki: Wiki, query: str) -> None:
    assert await find(wiki, query) == Miss()
    assert [asked for asked in wiki.asked if "srsearch" in asked]
    assert all("|" not in asked.get("titles", "") for asked in wiki.asked)


@pytest.mark.parametrize(
    "trouble",
    [
        lambda: web.Response(status=429, headers={"Retry-After": "0"}),
        lambda: web.Response(status=503),
        lambda: web.json_response(MAXLAG, headers={"Retry-After": "0", "X-Database-Lag": "8"}),
        lambda: web.json_response({"error": {"code": "ratelimited", "info": "slow down"}}),
        lambda: web.Response(text="<html>Our servers are busy</html>"),
        lambda: web.Response(
            status=429, headers={"Retry-After": format_datetime(datetime.now(UTC) - timedelta(1), usegmt=True)}
        ),
    ],
    ids=["429", "503", "maxlag", "ratelimited", "html", "a date"],
)
async def test_what_passes_is_waited_for(wiki: Wiki, trouble: type) -> None:
    wiki.troubles = [trouble(), trouble()]
    assert isinstance(await find(wiki, "Li Bai"), Page)
    assert len(wiki.asked) == 3


async def test_trouble_that_stays_is_a_fault_and_never_a_missing_page(wiki: Wiki) -> None:
    cache = MemoryCache()
    wiki.troubles = [web.json_response(MAXLAG) for _ in range(3)]
    with pytest.raises(ToolFault, match=r"maxlag: Waiting for db1: .* 3 times"):
        await find(wiki, "Li Bai", cache=cache)
    assert isinstance(await find(wiki, "Li Bai", cache=cache), Page)


async def test_a_server_that_asks_for_too_long_a_wait_is_not_waited_for(wiki: Wiki) -> None:
    wiki.troubles = [web.Response(status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(ToolFault, match="It asks to wait 3600 s, and the longest wait is 60 s"):
        await find(wiki, "Li Bai")
    assert len(wiki.asked) == 1


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (lambda: web.Response(status=403), "status 403. Is ERRATA_CONTACT"),
        (
            lambda: web.json_response({"error": {"code": "badvalue", "info": "no such thing"}}),
            "badvalue: no such thing",
        ),
        (lambda: web.json_response(["?"]), "does not answer as MediaWiki"),
        (lambda: web.Response(text="x" * 5_000_000), "more than 4,000,000 bytes"),
    ],
    ids=["forbidden", "refused", "no object", "too much"],
)
async def test_what_does_not_pass_is_a_fault_at_once(wiki: Wiki, trouble: type, said: str) -> None:
    wiki.troubles = [trouble()]
    with pytest.raises(ToolFault, match=said):
        await find(wiki, "Li Bai")
    assert len(wiki.asked) == 1


async def test_a_server_that_is_not_there_is_a_fault(wiki: Wiki) -> None:
    gone = Wiki(url="http://127.0.0.1:9/w/api.php")
    with pytest.raises(ToolFault, match="cannot be reached"):
        await find(gone, "Li Bai")


async def test_requests_go_out_one_at_a_time_and_the_same_one_once(wiki: Wiki) -> None:
    client = Wikipedia(CONTACT, url=wiki.url)
    found = await asyncio.gather(*(client.search(title) for title in ("Li Bai", "Łódź", "Rihaku", "Li Bai", "Li Bai")))
    await client.aclose()
    assert all(isinstance(one, Page) for one in found)
    assert (len(wiki.asked), wiki.most_running) == (3, 1)


async def test_what_was_asked_once_is_answered_the_same_without_the_server(wiki: Wiki, tmp_path: Path) -> None:
    queries = ("Li Bai", "Mercury", "poet Tang", "Nobody")
    async with open_store(str(tmp_path / "e.db"), create=True) as store:
        before = [await find(wiki, query, cache=StoredReplies(store)) for query in queries]
    gone = Wiki(url=wiki.url)
    asked = len(wiki.asked)
    async with open_store(str(tmp_path / "e.db")) as store:
        assert [await find(gone, query, cache=StoredReplies(store)) for query in queries] == before
    assert len(wiki.asked) == asked


async def test_a_cached_reply_tells_its_revision_and_when_it_was_fetched(wiki: Wiki) -> None:
    cache = MemoryCache()
    await find(wiki, "Li Bai", cache=cache)
    (held,) = cache._held.values()
    assert isinstance(held, dict)
    assert held["revision"] == 1002
    assert datetime.fromisoformat(str(held["fetched"])).tzinfo is not None


@pytest.mark.parametrize("contact", [None, "", "me", "a@b.c (x)", "a@b.c\r\nX: y"])
def test_without_a_contact_wikipedia_is_not_asked(contact: str | None) -> None:
    with pytest.raises(UsageError, match="ERRATA_CONTACT"):
        Wikipedia(contact)
