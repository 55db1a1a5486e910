"""Search over a local index: `python -m benchmarks.search [--json] [--quick]`.

Recall@5: of the paragraphs that HotpotQA names as the facts a question takes, the share found among the five best for
the whole question, a search harder than any a teacher makes. It needs the recorded data (ERRATA_DATA) and is left out
where that is absent. Build time and time a query are measured there, and over made-up passages whose words are as
unevenly common as those of a language. Each query goes to both back ends in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from environments.search.index import BACKENDS, Backend, build_index
from environments.search.local import LocalSearch
from environments.search.pages import Page
from environments.search.tantivy_ranking import installed

DATA = Path(os.environ.get("ERRATA_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "hotpotqa"
BEST = 5
MADE_UP = 100_000
QUERIES = 300
_VOCABULARY = 60_000
_WORDS = 75
"""Of a passage, as in Wikipedia's abstracts."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    gold: frozenset[str]


@dataclass(frozen=True, slots=True)
class Measured:
    backend: Backend
    pages: int
    build: float
    size: int
    search: tuple[float, ...]
    """Milliseconds of each query, as `wikipedia_search` asks it."""
    rank: tuple[float, ...]
    """Milliseconds of each, as a ranking of pages that hold some of its words."""
    recall: float | None
    both: float | None
    """The share of the questions of which all paragraphs were found."""


# -- what is searched ------------------------------------------------------------------------------


def questions() -> list[Question]:
    rows = [json.loads(line) for line in (DATA / "distractor_questions.jsonl").open(encoding="utf-8")]
    return [Question(row["question"], frozenset(title for title, _ in row["supporting_facts"])) for row in rows]


class Language:
    """Words of Zipf's frequencies."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ar", "en", "il")]
        made = ("".join(parts) for parts in itertools.product(syllables, repeat=3))
        self._words = list(itertools.islice(made, 0, 20 * _VOCABULARY, 20))
        self._random.shuffle(self._words)
        self._weights = list(itertools.accumulate(1 / rank for rank in range(1, len(self._words) + 1)))

    def words(self, count: int) -> list[str]:
        return self._random.choices(self._words, cum_weights=self._weights, k=count)

    def passages(self, count: int) -> Iterator[dict[str, str]]:
        for number in range(count):
            title = " ".join(self.words(2)).title()
            yield {"title": f"{title} {number}", "text": " ".join(self.words(_WORDS)) + "."}

    def queries(self, passages: Sequence[dict[str, str]]) -> list[str]:
        """A third each: a title, words of one passage, words as they come."""
        asked = []
        for number in range(QUERIES):
            page = self._random.choice(passages)
            words = page["text"].rstrip(".").split()
            asked.append((page["title"], " ".join(self._random.sample(words, 3)), " ".join(self.words(8)))[number % 3])
        return asked


# -- measuring -------------------------------------------------------------------------------------


def measure(sources: Sequence[Path], queries: Sequence[str], asked: Sequence[Question], folder: Path) -> list[Measured]:
    backends: list[Backend] = [one for one in BACKENDS if one != "tantivy" or installed()]
    built: dict[Backend, tuple[float, int, int]] = {}
    for backend in backends:
        began = time.perf_counter()
        made = build_index(sources, folder / backend, backend=backend)
        built[backend] = (time.perf_counter() - began, made.manifest.pages, made.size)
    searches = {backend: LocalSearch.open(folder / backend) for backend in backends}
    times = asyncio.run(_timed(searches, queries))
    ranked = {backend: [_milliseconds(search, query) for query in queries] for backend, search in searches.items()}
    found = []
    for backend, search in searches.items():
        seconds, pages, size = built[backend]
        recall, both = _recall(search, asked) if asked else (None, None)
        found.append(
            Measured(backend, pages, seconds, size, tuple(times[backend]), tuple(ranked[backend]), recall, both)
        )
        search.close()
    return found


async def _timed(searches: dict[Backend, LocalSearch], queries: Sequence[str]) -> dict[Backend, list[float]]:
    times: dict[Backend, list[float]] = {backend: [] for backend in searches}
    for query in [*queries[:10], *queries]:
        for backend, search in searches.items():
            began = time.perf_counter()
            await search.search(query)
            times[backend].append(1_000 * (time.perf_counter() - began))
    return {backend: taken[10:] for backend, taken in times.items()}


def _milliseconds(search: LocalSearch, query: str) -> float:
    began = time.perf_counter()
    search.titles(query, BEST)
    return 1_000 * (time.perf_counter() - began)


def _recall(search: LocalSearch, asked: Sequence[Question]) -> tuple[float, float]:
    hits = [(len(one.gold.intersection(search.titles(one.text, BEST))), len(one.gold)) for one in asked]
    found, wanted = (sum(counts) for counts in zip(*hits, strict=True))
    return found / wanted, sum(got == want for got, want in hits) / len(hits)


def by_title(folder: Path, asked: Sequence[Question]) -> float:
    """The share of the gold paragraphs that their own title finds: what a teacher asks for that reads the pages."""
    search = LocalSearch.open(folder / "fts5")
    titles = [title for one in asked for title in sorted(one.gold)]
    found = [search.find(title) for title in titles]
    search.close()
    return sum(isinstance(one, Page) and not one.similar for one in found) / len(found)


# -- showing ---------------------------------------------------------------------------------------


def percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    metrics: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if DATA.is_dir():
            asked = questions()
            sources = [DATA / "passages.jsonl", DATA / "wiki_passages_2wiki.jsonl"]
            real = measure(sources, [one.text for one in asked], asked, folder / "real")
            _show(
                given.json,
                metrics,
                f"{real[0].pages:,} of Wikipedia's paragraphs, {len(asked)} questions",
                "wiki",
                real,
            )
            share = by_title(folder / "real", asked)
            _add(metrics, "gold paragraphs by title", share, None, "share")
            if not given.json:
                print(f"gold paragraphs found by their own title: {share:.1%}\n")
        count = MADE_UP // 10 if given.quick else MADE_UP
        language = Language(0)
        passages = list(language.passages(count))
        path = folder / "made-up.jsonl"
        path.write_text("".join(f"{json.dumps(one)}\n" for one in passages), encoding="utf-8")
        made = measure([path], language.queries(passages), [], folder / "made-up")
        _show(given.json, metrics, f"{count:,} made-up passages, {QUERIES} queries", "made-up", made)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    if given.json:
        print(json.dumps(metrics))
    else:
        print(f"peak memory of all this, {peak:.0f} MB")


def _show(quiet: bool, metrics: dict[str, dict[str, object]], title: str, key: str, found: Sequence[Measured]) -> None:
    fts5 = found[0]
    other = found[1] if len(found) > 1 else None
    for name, unit in (("build", "s"), ("size", "bytes"), ("recall", "share"), ("both", "share")):
        value = getattr(fts5, name)
        if value is not None:
            _add(metrics, f"{key} {name}", value, getattr(other, name) if other else None, unit)
    for name, share in itertools.product(("search", "rank"), (0.5, 0.95)):
        beside = percentile(getattr(other, name), share) if other else None
        _add(metrics, f"{key} {name} p{100 * share:.0f}", percentile(getattr(fts5, name), share), beside, "ms")
    if quiet:
        return
    print(title)
    print(f"{'':8} {'build':>8} {'size':>9} {'search p50/p95':>18} {'rank p50/p95':>18} {'recall@5':>9} {'all':>6}")
    for one in found:
        search, rank = (
            f"{statistics.median(times):.2f}/{percentile(times, 0.95):.1f} ms" for times in (one.search, one.rank)
        )
        recall = f"{one.recall:>9.1%} {one.both:>6.1%}" if one.recall is not None else f"{'–':>9} {'–':>6}"
        print(f"{one.backend:8} {one.build:>6.2f} s {one.size / 1e6:>6.1f} MB {search:>18} {rank:>18} {recall}")
    print()


def _add(metrics: dict[str, dict[str, object]], name: str, ours: float, other: float | None, unit: str) -> None:
    """`ours` is SQLite's full text search, which is always there; `other` is tantivy."""
    ratio = ours / other if other else None
    metrics[name] = {"ours": ours, "other": other, "ratio": ratio, "unit": unit}


if __name__ == "__main__":
    main()
