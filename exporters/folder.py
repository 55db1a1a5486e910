"""An export is a folder that is whole or not there.

Files are written beside their place and moved when all are done, so a crash leaves the old export or
none. A folder that holds anything else is never written to.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from environments.faults import ErrataError, UsageError

MANIFEST = ".errata-export.json"
"""Marks a folder as an export of ours. Hidden, so that `datasets.load_dataset(folder)` passes it over."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export holds."""

    format: str
    rows: int
    files: tuple[str, ...]


@contextmanager
def new_export(out: Path) -> Iterator[Path]:
    """A folder to write in; when the block ends without an error its files stand in `out`.

    Raises `UsageError` when `out` is a file or holds what is not an export.
    """
    _refuse_foreign(out)
    work = out.parent / f".{out.name}.errata-partial"
    shutil.rmtree(work, ignore_errors=True)  # what a killed export left
    try:
        work.mkdir(parents=True)
        yield work
        _publish(work, out)
    except OSError as error:
        raise ErrataError(f"cannot write the export {out}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; an export is a folder. Name another place.")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise UsageError(f"{out} is not empty and not an export of Errata. Name another folder, or empty this one.")


def _publish(work: Path, out: Path) -> None:
    for file in work.iterdir():
        _make_durable(file)
    if not out.is_dir() or not any(out.iterdir()):
        work.rename(out)
        return
    # The manifest goes last: until then the folder still says what it held before.
    for file in sorted(work.iterdir(), key=lambda file: file.name == MANIFEST):
        file.replace(out / file.name)


def _make_durable(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
