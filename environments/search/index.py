"""A local index of Wikipedia's passages: a folder with one SQLite file, and tantivy's files where they were asked for.

The SQLite file alone says what the index is. It is moved into place last, so that a build that is killed leaves the old
index, and whoever reads that one keeps it. The same sources make the same file, byte for byte.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from environments.environment import BadRow
from environments.faults import UsageError
from environments.search import ranking
from environments.search.pages import title_key
from environments.search.passages import Passage, passages_of, read_records
from environments.search.tantivy_ranking import Writer, check_installed
from environments.sources import HUB

Backend: TypeAlias = Literal["fts5", "tantivy"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
FORMAT = 1
FILE = "index.sqlite"
_APPLICATION = 0x45727278
_BUILDING = ".building"
_REPORT_EVERY = 1_000
_MOST_PROBLEMS = 20

_TABLES = """
CREATE TABLE manifest (json TEXT NOT NULL);
CREATE TABLE pages (id INTEGER PRIMARY KEY, title TEXT NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE titles (key TEXT, redirect INTEGER, page INTEGER, PRIMARY KEY (key, redirect, page)) WITHOUT ROWID;
"""


@dataclass(slots=True)
class Manifest:
    """What an index says of itself."""

    backend: Backend = "fts5"
    pages: int = 0
    redirects: int = 0
    repeated: int = 0
    """Passages of a title that was there already, with the same text."""
    other_text: int = 0
    """Passages of a title that was there already, with another text: the first is kept."""
    bad: int = 0
    """Records that are neither a passage nor a question with its context."""
    digest: str = ""
    """SHA-256 of all titles and texts in their order."""
    folder: str | None = None
    """Where tantivy's files stand."""
    sources: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Built:
    manifest: Manifest
    problems: tuple[str, ...]
    """The first of the bad records, a line each."""
    size: int
    """Bytes."""


def build_index(
    sources: Sequence[str | Path],
    out: Path,
    *,
    backend: Backend = "fts5",
    progress: Callable[[str, int], None] | None = None,
) -> Built:
    """`progress` is told the source and the pages so far. Raises `UsageError` for sources and folders that are none."""
    if backend == "tantivy":
        check_installed()
    _check_target(out)
    with _building(out) as folder:
        words = Writer(folder / "tantivy") if backend == "tantivy" else None
        manifest = Manifest(backend, sources=[_name(source) for source in sources])
        if words:
            manifest.folder = _free_name(out)
        filling = _Filling(manifest, words)
        with closing(_created(folder / FILE)) as connection:
            filling.fill(connection, _passages(sources, filling, progress))
        if not manifest.pages:
            told = "; ".join(filling.problems[:3]) or "it holds no records"
            raise UsageError(f"{', '.join(map(str, sources))}: not one passage in it: {told}.")
        if words:
            words.finish()
        _publish(folder, out, manifest)
    return Built(manifest, tuple(filling.problems), _size(out))


def fill_memory(passages: Sequence[Passage]) -> sqlite3.Connection:
    """A small index that is never written."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    _create_tables(connection)
    _Filling(Manifest(), None).fill(connection, passages)
    return connection


def open_index(path: Path) -> tuple[sqlite3.Connection, Manifest]:
    """Read-only. Raises `UsageError` for what is no index, or not one of this version's."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"{path}: there is no index. Build one with: errata index SOURCE --out {path}")
    connection = sqlite3.connect(
        f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
    )
    try:
        return connection, _manifest(connection, path)
    except BaseException:
        connection.close()
        raise


def _manifest(connection: sqlite3.Connection, path: Path) -> Manifest:
    version = _version(connection, path)
    if version != FORMAT:
        age = "a newer" if version > FORMAT else "an older"
        raise UsageError(f"{path}: an index of {age} Errata (format {version}, here {FORMAT}). Build it again.")
    try:
        return Manifest(**json.loads(connection.execute("SELECT json FROM manifest").fetchone()[0]))
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise UsageError(f"{path}: not an index of Errata's, or damaged: {error}") from error


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Of the format. Raises `UsageError` for another program's file."""
    try:
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
    except sqlite3.Error as error:
        raise UsageError(f"{path}: not an index of Errata's, or damaged: {error}") from error
    if application != _APPLICATION:
        raise UsageError(f"{path}: not an index of Errata's.")
    return int(version)


# -- building --------------------------------------------------------------------------------------


class _Filling:
    def __init__(self, manifest: Manifest, words: Writer | None) -> None:
        self.manifest, self._words = manifest, words
        self.problems: list[str] = []
        self._digest = hashlib.sha256()

    def fill(self, connection: sqlite3.Connection, passages: Iterator[Passage] | Sequence[Passage]) -> None:
        connection.execute("BEGIN")
        for passage in passages:
            self._add(connection, passage)
        ranking.finish(connection, self.manifest.pages)
        self.manifest.digest = self._digest.hexdigest()
        connection.execute("INSERT INTO manifest VALUES (?)", (json.dumps(asdict(self.manifest), ensure_ascii=False),))
        connection.execute("COMMIT")

    def bad(self, where: str, error: BadRow) -> None:
        self.manifest.bad += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"{where}: {error}")

    def _add(self, connection: sqlite3.Connection, passage: Passage) -> None:
        number = self.manifest.pages + 1
        row = (number, passage.title, passage.text)
        if connection.execute("INSERT OR IGNORE INTO pages VALUES (?, ?, ?)", row).rowcount:
            self.manifest.pages = number
            connection.execute("INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)", row)
            connection.execute("INSERT INTO titles VALUES (?, 0, ?)", (title_key(passage.title), number))
            if self._words:
                self._words.add(*row)
            self._redirects(connection, passage, number)
            self._digest.update("\0".join((passage.title, passage.text, *passage.redirects, "")).encode())
        else:
            (there,) = connection.execute("SELECT text FROM pages WHERE title = ?", (passage.title,)).fetchone()
            self.manifest.repeated += there == passage.text
            self.manifest.other_text += there != passage.text

    def _redirects(self, connection: sqlite3.Connection, passage: Passage, number: int) -> None:
        for title in passage.redirects:
            row = (title_key(title), number)
            self.manifest.redirects += connection.execute("INSERT OR IGNORE INTO titles VALUES (?, 1, ?)", row).rowcount


def _passages(
    sources: Sequence[str | Path], filling: _Filling, progress: Callable[[str, int], None] | None
) -> Iterator[Passage]:
    for source in sources:
        for count, record in enumerate(read_records(source), start=1):
            try:
                yield from passages_of(record)
            except BadRow as error:
                filling.bad(record.where, error)
            if progress and count % _REPORT_EVERY == 0:
                progress(_name(source), filling.manifest.pages)
        if progress:
            progress(_name(source), filling.manifest.pages)


def _name(source: str | Path) -> str:
    """Without the folder, which is another on another machine."""
    return str(source) if str(source).startswith(HUB) else Path(source).name


def _created(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, isolation_level=None)
    # A build that dies leaves a file that is never read: nothing has to be written twice for it.
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    _create_tables(connection)
    return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    connection.executescript(_TABLES)
    ranking.create(connection)


# -- the folder ------------------------------------------------------------------------------------


def _check_target(out: Path) -> None:
    """Only nothing, or an index that is not a newer Errata's, is written over."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: a file stands there, and an index is a folder; name another with --out.")
    if out.is_dir() and not (out / FILE).exists() and any(not one.name.startswith(_BUILDING) for one in out.iterdir()):
        raise UsageError(f"{out}: the folder holds something, and no index; name another with --out.")
    if (out / FILE).exists():
        with closing(sqlite3.connect(f"{(out / FILE).resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if _version(connection, out) > FORMAT:
                raise UsageError(f"{out}: an index of a newer Errata stands there; name another folder with --out.")


@contextmanager
def _building(out: Path) -> Iterator[Path]:
    """A folder to build in, within `out`; only one process builds there at a time."""
    out.mkdir(parents=True, exist_ok=True)
    folder = out / _BUILDING
    descriptor = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{out}: another process is building this index.") from error
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
            os.fsync(descriptor)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
        if not any(out.iterdir()):
            out.rmdir()


def _free_name(out: Path) -> str:
    """Beside the folder that readers of the index that stands there have open."""
    return next(name for number in range(1, 1_000) if not (out / (name := f"tantivy-{number}")).exists())


def _publish(folder: Path, out: Path, manifest: Manifest) -> None:
    if manifest.folder:
        (folder / "tantivy").rename(out / manifest.folder)
    with (folder / FILE).open("rb") as file:
        os.fsync(file.fileno())
    (folder / FILE).replace(out / FILE)
    for old in out.glob("tantivy-*"):
        if old.name != manifest.folder:
            shutil.rmtree(old, ignore_errors=True)


def _size(out: Path) -> int:
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
