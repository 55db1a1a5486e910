r"""Questions over one table of Wikipedia (WikiTableQuestions, Pasupat and Liang 2015), asked of SQL or of pandas.

The table goes into the kernel as the strings it was read as, typed by `environments/columns.py` alone.
Three forms of rows are read: the data set's own TSV files, its form on the Hub, and the bundled one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from environments.columns import columns_of, described
from environments.environment import BadRow, Environment, Row
from environments.faults import UsageError
from environments.files import unescape
from environments.graders.denotation import canonical, grade_denotation
from environments.sources import text_of
from environments.texts import prompt_text
from environments.types import Grade, Json, Task, clean

VARIANTS = ("sql", "pandas")
DERIVED = "canonical targets, which the source does not give, derived by our reading of the data set's evaluator"
_SQL_TYPES = {"integer": "INTEGER", "float": "REAL", "text": "TEXT"}


class Tables(Environment):
    name = "tables"
    summary = "a question about one table, for SQL or for pandas (WikiTableQuestions)"
    grading = "a denotation"
    data = "hf:stanfordnlp/wikitablequestions/random-split-1#train"
    variants = VARIANTS
    demo = str(Path(__file__).parent / "demo" / "tables.jsonl")

    def __init__(self, variant: str | None = None) -> None:
        if variant not in VARIANTS:
            raise UsageError(f"'tables' comes in two variants: {' and '.join(f'tables:{one}' for one in VARIANTS)}.")
        self.variant = variant
        self.name = f"tables:{variant}"
        self.preload = ("pandas",) if variant == "pandas" else ("sqlite3",)

    @property
    def tools(self) -> str:
        return prompt_text(f"tables-{self.variant}", "tools")

    @property
    def example(self) -> str:
        return prompt_text(f"tables-{self.variant}", "example")

    def task(self, row: Row) -> Task:
        question = clean(_question(row)).strip()
        reference = _reference(row)
        headers, rows = _table(row)
        columns = columns_of(headers, rows, identifiers=self.variant == "sql")
        where = "the table `data_table` of `conn`" if self.variant == "sql" else "`df`"
        size = f"The data stands in {where}: {len(rows)} rows, {len(columns)} columns."
        return Task(
            clean(f"{self.name}/{text_of(row, 'id')}"),
            self.name,
            f"{question}\n\n{size}\n{described(columns, rows)}",
            reference,
            inputs={"columns": headers, "rows": rows},
            metadata=_metadata(row, len(rows), len(columns)),
        )

    def completed(self, task: Task) -> tuple[Task, str | None]:
        """With canonical targets: the data set's training split comes without them."""
        assert isinstance(task.reference, Mapping)
        if "canon" in task.reference:
            return task, None
        canon: list[Json] = [canonical(target) for target in _strings(task.reference["targets"])]
        return replace(task, reference={**task.reference, "canon": canon}), DERIVED

    def setup(self, task: Task) -> str:
        headers, rows = _strings(task.inputs["columns"]), [_strings(row) for row in _list(task.inputs["rows"])]
        columns = columns_of(headers, rows, identifiers=self.variant == "sql")
        if self.variant == "pandas":
            return _PANDAS.format(data=_literal({column.name: column.cells for column in columns}))
        declared = ", ".join(f"{column.name} {_SQL_TYPES[column.type]}" for column in columns)
        return _SQL.format(
            create=f"CREATE TABLE data_table ({declared})",
            insert=f"INSERT INTO data_table VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
            data=_literal(list(zip(*(column.cells for column in columns), strict=True))),
        )

    async def grade(self, task: Task, solution: str) -> Grade:
        assert isinstance(task.reference, Mapping)
        canon = task.reference.get("canon")
        targets = _strings(task.reference["targets"])
        return grade_denotation(targets, None if canon is None else _strings(canon), solution)


# Underscored names are deleted at the end: the session holds `conn` or `df`, and nothing untold.
_SQL = """\
import json as _json, sqlite3 as _sqlite3
conn = _sqlite3.connect(":memory:")
conn.execute({create!r})
conn.executemany({insert!r}, _json.loads({data}))
conn.commit()
del _json, _sqlite3
"""

_PANDAS = """\
import json as _json, pandas as _pandas
df = _pandas.DataFrame(_json.loads({data}))
del _json, _pandas
"""


def _literal(data: object) -> str:
    """JSON in a Python string literal, plain ASCII: it survives any encoding on its way into the kernel."""
    return repr(json.dumps(data, ensure_ascii=True))


# -- rows ----------------------------------------------------------------------------------------


def _question(row: Row) -> str:
    """The data set's own files escape theirs."""
    return unescape(text_of(row, "utterance")) if "utterance" in row.data else text_of(row, "question")


def _reference(row: Row) -> dict[str, Json]:
    """`targets` as the data set gives them, and `canon`, its evaluator's reading, where the row has it."""
    answers = row.data.get("answers")
    if isinstance(answers, (list, tuple)) and answers:
        return {"targets": [clean(str(answer)) for answer in answers]}
    targets = _values(row, "targetValue")
    if "targetCanon" not in row.data:
        return {"targets": targets}
    canon = _values(row, "targetCanon")
    if len(canon) != len(targets):
        raise BadRow(f"{len(targets)} target values but {len(canon)} in 'targetCanon'")
    return {"targets": targets, "canon": canon}


def _values(row: Row, field: str) -> list[Json]:
    value = row.data.get(field)
    if not isinstance(value, str) or not value:
        raise BadRow(f"no 'answers' and no '{field}'")
    return [clean(unescape(part)) for part in value.split("|")]


def _metadata(row: Row, rows: int, columns: int) -> dict[str, Json]:
    """The table's size, and its name in the data set where the row gives one."""
    table = row.data.get("table")
    named = table.get("name") if isinstance(table, Mapping) else row.data.get("context")
    size: dict[str, Json] = {"rows": rows, "columns": columns}
    return size | ({"table": clean(named)} if isinstance(named, str) and named else {})


def _table(row: Row) -> tuple[list[str], list[list[str]]]:
    table = row.data.get("table")
    if isinstance(table, Mapping):
        headers, rows = _list(table.get("header")), [_list(cells) for cells in _list(table.get("rows"))]
        found = [_text(cell) for cell in headers], [[_text(cell) for cell in cells] for cells in rows]
    else:
        found = read_table(_table_file(row))
    if not found[0]:
        raise BadRow("its table has no columns")
    for number, cells in enumerate(found[1], start=1):
        if len(cells) != len(found[0]):
            raise BadRow(f"row {number} of its table has {len(cells)} cells for {len(found[0])} columns")
    return found


def _table_file(row: Row) -> Path:
    """`csv/204-csv/613.csv` below the nearest folder above the row's own that holds it."""
    named = Path(text_of(row, "context"))
    if row.folder is None or named.is_absolute() or ".." in named.parts:
        raise BadRow(f"no table for 'context' {named}")
    for folder in (row.folder.resolve(), *row.folder.resolve().parents):
        if (folder / named).is_file():
            return folder / named
    raise BadRow(f"its table {named} is in none of the folders above {row.folder}")


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    r"""A CSV table of WikiTableQuestions, which escapes quotes as `\"` and quotes newlines."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, escapechar="\\", doublequote=False, strict=True)
    except (csv.Error, UnicodeDecodeError, ValueError, OSError) as error:
        raise BadRow(f"its table {path.name} cannot be read: {error}") from error
    return [clean(cell) for cell in header], [[clean(cell) for cell in row] for row in rows]


def _list(value: object) -> Sequence[Json]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise BadRow("its table is not {'header': […], 'rows': [[…], …]}")
    return value


def _strings(value: Json) -> list[str]:
    return [str(item) for item in _list(value)]


def _text(cell: Json) -> str:
    return "" if cell is None else clean(str(cell))
