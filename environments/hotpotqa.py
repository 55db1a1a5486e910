"""Questions that take two pages of Wikipedia (HotpotQA, Yang et al. 2018), with a search for the pages.

`ERRATA_INDEX` names the index that is searched: a path in the environment's name would stand in every task's id.
`hotpotqa:live` asks Wikipedia itself. Bundled tasks search the bundled passages, whatever is named.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from types import TracebackType

from environments.environment import BadRow, Environment, Episode, Row
from environments.faults import UsageError
from environments.graders import qa
from environments.kernels import KernelHost
from environments.math import recorded_task
from environments.search.cache import Cache, MemoryCache
from environments.search.local import LocalSearch
from environments.search.pages import LONGEST_QUERY, Miss, Search, tidy, told
from environments.search.passages import passages_of, read_records
from environments.search.wikipedia import URL, Wikipedia
from environments.sources import text_of
from environments.texts import prompt_text
from environments.tools import BadCall, Missed
from environments.types import Grade, Json, Task, clean

INDEX = "ERRATA_INDEX"
CONTACT = "ERRATA_CONTACT"
ADDRESS = "ERRATA_WIKIPEDIA"
BUNDLED = "bundled"
LEVELS = ("easy", "medium", "hard")
_DEMO = Path(__file__).parent / "demo"
_PASSAGES = _DEMO / "hotpotqa_passages.jsonl"


class HotpotQaEpisode(Episode):
    def __init__(self, environment: Environment, task: Task, kernels: KernelHost, search: Search) -> None:
        super().__init__(environment, task, kernels)
        self._search = search

    async def wikipedia_search(self, query: str) -> str:
        """Look up a page of Wikipedia by its title, or search for one by words that stand on it.

        Returns text: the page's title and summary, and the titles of other pages that were found.
        If no page fits, the text says so and lists similar titles.
        """
        return await answer(self._search, query)


async def answer(search: Search, query: object) -> str:
    """What `wikipedia_search` returns. Raises `BadCall`, or `ToolFault` when the search has failed."""
    if not isinstance(query, str):
        raise BadCall(f"wikipedia_search takes one text, not a {type(query).__name__}.")
    words = tidy(query)
    if not words:
        raise BadCall("the query is empty.")
    if len(words) > LONGEST_QUERY:
        raise BadCall(f"the query is longer than {LONGEST_QUERY} characters; look up one page at a time.")
    found = await search.search(words)
    return Missed(told(words, found)) if isinstance(found, Miss) else told(words, found)


class HotpotQa(Environment):
    name = "hotpotqa"
    summary = "a question that takes two pages of Wikipedia (HotpotQA); hotpotqa:live searches Wikipedia itself"
    grading = "a short answer in words"
    data = "hf:hotpotqa/hotpot_qa/distractor#train"
    functions = (HotpotQaEpisode.wikipedia_search,)
    demo = str(_DEMO / "hotpotqa.jsonl")

    def __init__(self, variant: str | None = None) -> None:
        if variant not in (None, "live"):
            raise UsageError(f"'hotpotqa' searches the index named by {INDEX}, 'hotpotqa:live' Wikipedia itself.")
        self.live = variant == "live"
        self.name = "hotpotqa:live" if self.live else "hotpotqa"
        self.cache: Cache = MemoryCache()
        """Of live Wikipedia's replies; replaced before the environment is entered."""
        self._searches: dict[str, Search] = {}

    @property
    def tools(self) -> str:
        return prompt_text("hotpotqa", "tools")

    @property
    def example(self) -> str:
        return prompt_text("hotpotqa", "example")

    def task(self, row: Row) -> Task:
        recorded = recorded_task(row, self.name)
        if recorded is not None:
            return recorded
        question = clean(unescape(text_of(row, "question"))).strip()
        references = [clean(unescape(text_of(row, "answer"))).strip(), *_aliases(row)]
        reference: Json = references[0] if len(references) == 1 else references
        return Task(_id(row, self.name, question), self.name, question, reference, metadata=_metadata(row))

    def ready(self, tasks: Sequence[Task]) -> Mapping[str, Json]:
        if all(_is_bundled(task) for task in tasks):
            return {}
        if self.live:
            Wikipedia(os.environ.get(CONTACT))
            return {"wikipedia": os.environ.get(ADDRESS) or URL}
        search = LocalSearch.open(_index())
        search.close()
        return {"index": search.manifest.digest}

    async def grade(self, task: Task, solution: str) -> Grade:
        return qa.strict(references_of(task), solution)

    @asynccontextmanager
    async def episode(self, task: Task, kernels: KernelHost) -> AsyncIterator[Episode]:
        yield HotpotQaEpisode(self, task, kernels, self.search_for(task))

    def search_for(self, task: Task) -> Search:
        """Opened when first needed, and shared by all episodes. Raises `UsageError`."""
        name, opened = (BUNDLED, bundled_search) if _is_bundled(task) else ("given", self._given)
        if name not in self._searches:
            self._searches[name] = opened()
        return self._searches[name]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._searches:
            await self._searches.popitem()[1].aclose()

    def _given(self) -> Search:
        if self.live:
            return Wikipedia(os.environ.get(CONTACT), cache=self.cache, url=os.environ.get(ADDRESS) or URL)
        return LocalSearch.open(_index())


def references_of(task: Task) -> list[str]:
    """The answer, and its aliases after it."""
    given = task.reference
    return [str(one) for one in given] if isinstance(given, Sequence) and not isinstance(given, str) else [str(given)]


def _is_bundled(task: Task) -> bool:
    return task.metadata.get("search") == BUNDLED


def bundled_search() -> LocalSearch:
    return LocalSearch.of([passage for record in read_records(_PASSAGES) for passage in passages_of(record)])


def _index() -> Path:
    named = os.environ.get(INDEX)
    if not named:
        raise UsageError(
            f"hotpotqa: nothing to search for these tasks. Build an index with `errata index SOURCE --out wiki` and "
            f"name it with {INDEX}=wiki, or take --env hotpotqa:live. Only the bundled tasks bring their passages."
        )
    return Path(named).expanduser()


# -- rows ------------------------------------------------------------------------------------------


def _id(row: Row, name: str, question: str) -> str:
    for field, mark in (("_id", ""), ("id", ""), ("index", "index-")):
        value = row.data.get(field)
        if isinstance(value, (int, str)) and not isinstance(value, bool) and str(value).strip():
            return clean(f"{name}/{mark}{value}")
    return f"{name}/{hashlib.sha256(question.encode()).hexdigest()[:12]}"


def _aliases(row: Row) -> list[str]:
    value = row.data.get("aliases")
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(one, str) for one in value):
        raise BadRow("'aliases' is no list of texts")
    return [clean(unescape(str(one))).strip() for one in value if str(one).strip()]


def _metadata(row: Row) -> Mapping[str, Json]:
    level = row.data.get("level")
    if level is not None and level not in LEVELS:
        raise BadRow(f"'level' is none of {', '.join(LEVELS)}")
    given = {"level": level, "type": row.data.get("type"), "search": row.data.get("search")}
    return {name: clean(value) for name, value in given.items() if isinstance(value, str) and value}
