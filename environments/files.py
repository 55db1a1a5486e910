"""Rows of local files: JSON lines, JSON, CSV, TSV and Parquet, the text forms also gzipped.

`.tsv` (and WikiTableQuestions' `.tagged`) has no quoting, and its cells are given as written: undoing that data
set's escapes here (`unescape`) would turn the `\\neq` of somebody's LaTeX into a newline and `eq`.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from environments.environment import Row
from environments.faults import UsageError
from environments.folders import read_folders

if TYPE_CHECKING:
    from environments.types import Json

_ESCAPES = {"\\n": "\n", "\\p": "|", "\\\\": "\\"}
_LARGEST_CELL = 1 << 30
_BUFFER = 1 << 18


def read_file(path: Path) -> Iterator[Row]:
    if path.is_dir():
        yield from read_folders(path)
        return
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    reader = _READERS.get(kind.lower())
    if reader is None or (kind == ".parquet" and path.suffix == ".gz"):
        raise UsageError(
            f"{path}: no reader for this kind of file. There are: {', '.join(_READERS)}; the text ones also .gz."
        )
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file.")
    try:
        yield from reader(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}.") from error


def unescape(cell: str) -> str:
    r"""A cell of WikiTableQuestions' TSV files as it stood in the table: `\n` a newline, `\p` a bar."""
    return re.sub(r"\\[np\\]", lambda match: _ESCAPES[match[0]], cell)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, their ends included; what cannot be decoded names its line."""
    number = 0
    try:
        with _opened(path) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}:{number}: not UTF-8 ({error.reason} at byte {error.start} of the line).") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{path}:{number + 1}: the gzip stream is broken off or damaged: {error}.") from error


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb", buffering=_BUFFER)


def _json_lines(path: Path) -> Iterator[Row]:
    name, folder = str(path), path.parent
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            yield _row(json.loads(line), where, folder)
        except (json.JSONDecodeError, RecursionError) as error:
            if not line.endswith("\n"):  # Nobody knows how many lines are missing after it.
                raise UsageError(f"{where}: not JSON, or cut off ({_why(error)}).") from error
            yield Row({}, where, path.parent, broken=f"not JSON ({_why(error)})")


def _json(path: Path) -> Iterator[Row]:
    try:
        data = json.loads("".join(line for _, line in _lines(path)))
    except (json.JSONDecodeError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) and error.lineno > 1 else ""
        raise UsageError(f"{path}{line}: not JSON, or cut off ({_why(error)}).") from error
    rows = data.get("data") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise UsageError(f"{path}: neither a list of records nor an object with such a list under 'data'.")
    for number, record in enumerate(rows, start=1):
        yield _row(record, f"{path}[{number}]", path.parent)


def _row(record: Json, where: str, folder: Path) -> Row:
    if not isinstance(record, dict):
        kind = "list" if isinstance(record, list) else "single value"
        return Row({}, where, folder, broken=f"a {kind} where a record (an object) is expected")
    return Row(record, where, folder)


def _why(error: json.JSONDecodeError | RecursionError) -> str:
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "nested too deep"


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LARGEST_CELL)
    ended = True

    def lines() -> Iterator[str]:
        nonlocal ended
        for _, line in _lines(path):
            ended = line.endswith("\n")
            yield line

    reader = csv.reader(lines(), strict=True)
    try:
        header = next(reader, None)
        while True:
            start = reader.line_num + 1
            cells = next(reader, None)
            if cells is None or header is None:
                return
            if cells:
                yield _cells(header, cells, path, start, ended=ended)
    except csv.Error as error:
        raise UsageError(f"{path}:{reader.line_num}: not CSV, or cut off ({error}).") from error


def _tsv(path: Path) -> Iterator[Row]:
    header: list[str] | None = None
    for number, line in _lines(path):
        cells = line.rstrip("\r\n").split("\t")
        if header is None:
            header = cells
        elif line.strip():
            yield _cells(header, cells, path, number, ended=line.endswith("\n"))


def _cells(header: Sequence[str], cells: Sequence[str], path: Path, line: int, *, ended: bool) -> Row:
    where = f"{path}:{line}"
    if len(header) != len(cells):
        unlike = f"{len(cells)} cells where the header has {len(header)}"
        if not ended:
            raise UsageError(f"{where}: {unlike}; is the file cut off?")
        return Row({}, where, path.parent, broken=unlike)
    return Row(dict(zip(header, cells, strict=True)), where, path.parent)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1_000):
                for record in batch.to_pylist():
                    number += 1
                    yield Row(record, f"{path}:{number}", path.parent)
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}:{number + 1}: not Parquet, or damaged: {error}") from error


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _tsv,
    ".tagged": _tsv,
    ".parquet": _parquet,
}
