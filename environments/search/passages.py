"""Passages out of the files an index is built from, one at a time, however large the files are.

Read are HotpotQA's questions with their contexts (its own form and the Hub's), files of passages, and the dump of
Wikipedia's abstracts that HotpotQA was made from: a folder or a tar archive of bz2 files of JSON lines.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeGuard, cast

from environments.environment import BadRow
from environments.faults import UsageError
from environments.files import read_file
from environments.search.pages import tidy
from environments.sources import HUB, read_rows
from environments.types import Json

KINDS = (".jsonl", ".json", ".parquet", ".tar", ".tgz", ".gz", ".bz2")
_CHUNK = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")
_LINK = re.compile(r'<a href="[^"]*">|</a>')
_BROKEN = (EOFError, OSError, zlib.error, tarfile.TarError)


@dataclass(frozen=True, slots=True)
class Passage:
    title: str
    text: str
    redirects: tuple[str, ...] = ()
    """Other titles that lead to it."""


@dataclass(frozen=True, slots=True)
class Record:
    data: Mapping[str, Json]
    where: str


def read_records(source: str | Path) -> Iterator[Record]:
    """Of a file, a folder or `hf:owner/name…`. Raises `UsageError` for what cannot be read, with its place."""
    if str(source).startswith(HUB):
        yield from (Record(row.data, row.where) for row in read_rows(source))
    else:
        yield from _local(Path(source).expanduser())


def _local(source: Path) -> Iterator[Record]:
    if source.is_dir():
        yield from _folder(source)
    elif not source.is_file():
        raise UsageError(f"{source}: there is no such file.")
    elif not source.name.endswith(KINDS):
        raise UsageError(f"{source}: no reader for this kind of file. There are: {', '.join(KINDS)}.")
    elif source.suffix == ".parquet":
        yield from (Record(row.data, row.where) for row in read_file(source))
    elif source.name.endswith((".tar", ".tar.bz2", ".tar.gz", ".tgz")):
        yield from _tar(source)
    else:
        yield from _one(source)


def passages_of(record: Record) -> list[Passage]:
    """Raises `BadRow`. A page without a text (a mere list, in the dump) is no passage."""
    data = record.data
    if "context" in data:
        return [_passage(title, text) for title, text in _context(data["context"]) if _joined(text)]
    if "title" not in data:
        raise BadRow("neither a 'title' nor a 'context'")
    text = data.get("text", data.get("sentences"))
    redirects = data.get("redirects") or ()
    if not _is_list(redirects) or not all(isinstance(one, str) for one in redirects):
        raise BadRow("'redirects' is no list of titles")
    found = _passage(data["title"], text, tuple(tidy(str(one)) for one in redirects))
    return [found] if found.text else []


def _passage(title: Json, text: Json, redirects: tuple[str, ...] = ()) -> Passage:
    if not isinstance(title, str) or not tidy(title):
        raise BadRow("a passage without a title")
    return Passage(tidy(title), _joined(text), redirects)


def _context(context: Json) -> list[tuple[Json, Json]]:
    """`[[title, [sentence, …]], …]`, or on the Hub `{"title": […], "sentences": [[…], …]}`."""
    if isinstance(context, Mapping):
        titles, texts = context.get("title"), context.get("sentences")
        if not (_is_list(titles) and _is_list(texts) and len(titles) == len(texts)):
            raise BadRow("'context' has no 'title' and 'sentences' of the same length")
        return list(zip(titles, texts, strict=True))
    if not _is_list(context):
        raise BadRow("'context' is no list of paragraphs")
    pairs: list[tuple[Json, Json]] = []
    for pair in context:
        if not _is_list(pair) or len(pair) != 2:
            raise BadRow("a paragraph of 'context' is not [title, sentences]")
        pairs.append((pair[0], pair[1]))
    return pairs


def _joined(text: Json) -> str:
    """Sentences carry the space before them; paragraphs of sentences do not, and may hold links as HTML."""
    if isinstance(text, str):
        return tidy(text)
    if not _is_list(text):
        raise BadRow("a passage whose text is neither a text nor a list of sentences")
    if all(isinstance(part, str) for part in text):
        return tidy("".join(str(part) for part in text))
    return tidy(" ".join(_LINK.sub("", _joined(part)) for part in text))


def _is_list(value: Json) -> TypeGuard[Sequence[Json]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


# -- files -----------------------------------------------------------------------------------------


def _folder(folder: Path) -> Iterator[Record]:
    """In the order of names, so that the same folder makes the same index anywhere."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".bz2", ".jsonl", ".gz", ".parquet"))
    if not paths:
        raise UsageError(f"{folder}: holds no .bz2, .jsonl, .gz or .parquet file.")
    for path in paths:
        yield from _local(path)


def _tar(path: Path) -> Iterator[Record]:
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield from _lines(_opened(file, member.name), f"{path}:{member.name}")
    except _BROKEN as error:
        raise UsageError(f"{path}: cannot be read, or is cut off: {error}") from error


def _one(path: Path) -> Iterator[Record]:
    name = path.name.removesuffix(".gz").removesuffix(".bz2")
    try:
        with path.open("rb") as raw:
            file = _opened(raw, path.name)
            yield from _array(file, str(path)) if name.endswith(".json") else _lines(file, str(path))
    except _BROKEN as error:
        raise UsageError(f"{path}: cannot be read, or is cut off: {error}") from error


def _opened(file: IO[bytes], name: str) -> IO[bytes]:
    if name.endswith(".bz2"):
        return cast(IO[bytes], bz2.open(file))
    return cast(IO[bytes], gzip.open(file)) if name.endswith(".gz") else file


def _lines(file: IO[bytes], where: str) -> Iterator[Record]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            yield _record(_parsed(line, f"{where}:{number}"), f"{where}:{number}")


def _parsed(line: bytes, where: str) -> Json:
    try:
        parsed: Json = json.loads(line.decode("utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON, or cut off ({error}).") from error
    return parsed


def _array(file: IO[bytes], where: str) -> Iterator[Record]:
    """The records of one long JSON list, which HotpotQA's own files are, without holding it whole."""
    decoder, rest, number, opened = json.JSONDecoder(), "", 0, False
    for chunk in _decoded(iter(lambda: file.read(_CHUNK), b""), where):
        text, at = rest + chunk, 0
        if not opened and (blank := _BETWEEN.match(text)) and blank.end() < len(text):
            if text[blank.end()] != "[":
                raise UsageError(f"{where}: not a list of records.")
            opened, at = True, blank.end() + 1
        while opened and (at := _next(text, at)) < len(text) and text[at] != "]":
            try:
                data, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError:
                break
            number += 1
            yield _record(data, f"{where}[{number}]")
        rest = text[at:]
    if rest.strip() != "]":
        raise UsageError(f"{where}[{number + 1}]: not JSON, or cut off.")


def _next(text: str, at: int) -> int:
    """Where the next record begins."""
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _decoded(chunks: Iterator[bytes], where: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    try:
        for chunk in chunks:
            yield decoder.decode(chunk)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not UTF-8 ({error.reason}).") from error


def _record(data: Json, where: str) -> Record:
    if not isinstance(data, Mapping):
        raise UsageError(f"{where}: a {type(data).__name__} where a record (an object) is expected.")
    return Record(data, where)
