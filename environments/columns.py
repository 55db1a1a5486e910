"""A table as the teacher gets it: what its columns are called, what they hold, and how it is shown.

A column is read as integers or floats only when every one of its cells is written exactly as Python
would write that number back; otherwise it stays text, as read. So nothing of a table is lost: `007`, `1,234`,
`24.10` and an empty cell keep their column text, and the teacher has to convert what it wants to count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["integer", "float", "text"]
Cell = int | float | str

SHOWN_ROWS = 5
SHOWN_CHARACTERS = 60
_INTEGERS = range(-(2**63), 2**63)
"""What SQLite and numpy hold."""

# https://www.sqlite.org/lang_keywords.html
_KEYWORDS = frozenset(
    """ABORT ACTION ADD AFTER ALL ALTER ALWAYS ANALYZE AND AS ASC ATTACH AUTOINCREMENT BEFORE BEGIN BETWEEN BY CASCADE
    CASE CAST CHECK COLLATE COLUMN COMMIT CONFLICT CONSTRAINT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME
    CURRENT_TIMESTAMP DATABASE DEFAULT DEFERRABLE DEFERRED DELETE DESC DETACH DISTINCT DO DROP EACH ELSE END ESCAPE
    EXCEPT EXCLUDE EXCLUSIVE EXISTS EXPLAIN FAIL FILTER FIRST FOLLOWING FOR FOREIGN FROM FULL GENERATED GLOB GROUP
    GROUPS HAVING IF IGNORE IMMEDIATE IN INDEX INDEXED INITIALLY INNER INSERT INSTEAD INTERSECT INTO IS ISNULL JOIN KEY
    LAST LEFT LIKE LIMIT MATCH MATERIALIZED NATURAL NO NOT NOTHING NOTNULL NULL NULLS OF OFFSET ON OR ORDER OTHERS
    OUTER OVER PARTITION PLAN PRAGMA PRECEDING PRIMARY QUERY RAISE RANGE RECURSIVE REFERENCES REGEXP REINDEX RELEASE
    RENAME REPLACE RESTRICT RETURNING RIGHT ROLLBACK ROW ROWS SAVEPOINT SELECT SET TABLE TEMP TEMPORARY THEN TIES TO
    TRANSACTION TRIGGER UNBOUNDED UNION UNIQUE UPDATE USING VACUUM VALUES VIEW VIRTUAL WHEN WHERE WINDOW WITH WITHOUT
    ROWID OID _ROWID_ TRUE FALSE""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    header: str
    """As read."""
    type: ColumnType
    cells: tuple[Cell, ...]


def columns_of(headers: Sequence[str], rows: Sequence[Sequence[str]], *, identifiers: bool) -> list[Column]:
    """The table by columns; `identifiers` makes names that SQL takes without quotes."""
    names = _unique([_identifier(header) if identifiers else _one_line(header) for header in headers])
    return [
        Column(name, header, *_typed([row[at] for row in rows]))
        for at, (name, header) in enumerate(zip(names, headers, strict=True))
    ]


def _one_line(header: str) -> str:
    return re.sub(r"\s+", " ", header).strip()


def _identifier(header: str) -> str:
    folded = unicodedata.normalize("NFKD", header).encode("ascii", "ignore").decode()
    word = re.sub(r"[^A-Za-z0-9]+", "_", folded).strip("_")
    if word[:1].isdigit():
        word = f"n_{word}"
    return f"{word}_" if word.upper() in _KEYWORDS else word


def _unique(names: Sequence[str]) -> list[str]:
    """Unnamed columns are called by their place, repeated ones numbered. SQL tells no two apart by case."""
    found: list[str] = []
    taken = {name.lower() for name in names}
    for at, name in enumerate(names, start=1):
        used = {other.lower() for other in found}
        wanted, number = name or f"column_{at}", 2
        while wanted.lower() in used or (wanted != name and wanted.lower() in taken):
            wanted, number = f"{name or f'column_{at}'}_{number}", number + 1
        found.append(wanted)
    return found


def _typed(cells: Sequence[str]) -> tuple[ColumnType, tuple[Cell, ...]]:
    if cells and all(_is_integer(cell) for cell in cells):
        return "integer", tuple(int(cell) for cell in cells)
    if cells and all(_is_float(cell) for cell in cells):
        return "float", tuple(float(cell) for cell in cells)
    return "text", tuple(cells)


def _is_integer(cell: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]{1,19}", cell)) and str(int(cell)) == cell and int(cell) in _INTEGERS


def _is_float(cell: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]+\.[0-9]+", cell)) and repr(float(cell)) == cell


# -- what the prompt shows -----------------------------------------------------------------------


def described(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Names, types and the first rows, in a layout of our own: the same on every terminal and pandas."""
    shown = rows[:SHOWN_ROWS]
    lines = ["Columns:", *(f"- {_named(column)}" for column in columns)]
    lines.append(f"First {len(shown)} of {len(rows)} rows, cells separated by ' | ':" if shown else "It has no rows.")
    return "\n".join([*lines, *(" | ".join(map(_shown, row)) for row in shown)])


def _named(column: Column) -> str:
    heading = "" if column.name == column.header else f", headed {_quoted(column.header)}"
    return f"{column.name} ({column.type}{heading})"


def _quoted(header: str) -> str:
    return f'"{_visible(header)}"' if header.strip() else "with nothing"


def _shown(cell: str) -> str:
    if len(cell) <= SHOWN_CHARACTERS:
        return _visible(cell)
    return f"{_visible(cell[:SHOWN_CHARACTERS])}… ({len(cell) - SHOWN_CHARACTERS} more characters)"


def _visible(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
