"""What a search brings, and how it is told to the teacher. Every back end answers in these words.

A page whose title is asked for comes alone. A page that only holds the words asked for comes with the titles of
others. Where no page holds them all there are only titles: a guess shown as a page would be read as the answer.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from typing import Protocol

from environments.types import clean

LONGEST_QUERY = 300
"""Characters; MediaWiki's own limit."""
LONGEST_SUMMARY = 2_500
"""Characters, so that a page with its titles stays below what a cell may show."""
SIMILAR = 5

_QUOTES = str.maketrans(
    dict.fromkeys("‘’´`ʼ", "'") | dict.fromkeys("“”„«»", '"') | dict.fromkeys("‐‑‒–—−", "-") | {"_": " "}
)
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s)")


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    text: str
    """Its opening, without markup."""
    similar: tuple[str, ...] = ()
    """Titles of other pages, where this one is not the page of that name."""
    revision: int | None = None
    """Which version of a page of live Wikipedia."""


@dataclass(frozen=True, slots=True)
class Miss:
    """No page of that name, and none that holds all of its words."""

    similar: tuple[str, ...] = ()


class Search(Protocol):
    async def search(self, query: str) -> Page | Miss:
        """`query` as `tidy` leaves it. Raises `ToolFault` when it cannot be answered."""

    async def aclose(self) -> None: ...


def tidy(text: str) -> str:
    """On one line, composed, without entities."""
    return clean(" ".join(unicodedata.normalize("NFC", unescape(text)).split()))


def title_key(title: str) -> str:
    """What two spellings of one title share: no case, no accents, plain quotes and dashes, no quotes around it."""
    spread = unicodedata.normalize("NFKD", tidy(title).translate(_QUOTES))
    plain = "".join(letter for letter in spread if unicodedata.category(letter) != "Mn")
    return unquoted(" ".join(plain.casefold().split())) or tidy(title)


def unquoted(text: str) -> str:
    return re.sub(r"^([\"'])(.+)\1$", r"\2", text)


def told(query: str, found: Page | Miss) -> str:
    """The reply to the teacher."""
    if isinstance(found, Miss):
        return f"Could not find [{query}]. Similar: {_listed(found.similar)}"
    page = f"Page: {found.title}\nSummary: {shortened(found.text)}"
    return f"{page}\nSimilar: {_listed(found.similar)}" if found.similar else page


def shortened(text: str, limit: int = LONGEST_SUMMARY) -> str:
    """Whole sentences of at most `limit` characters, and a mark where there are more."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    ends = [match.end() for match in _SENTENCE_END.finditer(head)]
    cut = ends[-1] if ends and ends[-1] > limit // 2 else max(head.rfind(" "), limit // 2)
    return f"{head[:cut].rstrip()} […]"


def _listed(titles: Sequence[str]) -> str:
    return str(list(titles))
