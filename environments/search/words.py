"""The words of a query that are worth searching for."""

from __future__ import annotations

import re

from environments.search.pages import tidy

MOST_WORDS = 24
_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """
        a about after all also an and any are as at be been before but by can did do does during each for from had has
        have he her his how i if in into is it its more most name named no not of on one or other out s same she so some
        such than that the their them then there these they this those to under was were what when where which while
        who whom whose why will with would
        """,
    )
)


def words_of(query: str) -> list[str]:
    """Each once, in order; words that stand on every page are left out where others remain."""
    words = list(dict.fromkeys(_WORD.findall(tidy(query).lower())))
    return ([word for word in words if word not in _COMMON] or words)[:MOST_WORDS]
