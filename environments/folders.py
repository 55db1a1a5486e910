"""Rows of a folder of folders, as APPS is laid out on disk: a record a folder, its files the fields.

`question.txt` is the field `question`, `input_output.json` the text of `input_output`; what `metadata.json` holds are
fields of their own. The folder's name is the id, without the zeros before a number,
as the data set numbers them elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from environments.environment import Row
from environments.faults import UsageError
from environments.types import Json

FIELDS = (".txt", ".json", ".py")
METADATA = "metadata"


def read_folders(path: Path) -> Iterator[Row]:
    """In the order of their names. Raises `UsageError` for a folder without any, and for a file that cannot be read."""
    found = False
    for folder in sorted(one for one in path.iterdir() if one.is_dir()):
        fields = {file.stem: _text(file) for file in sorted(folder.iterdir()) if file.suffix in FIELDS}
        if fields:
            found = True
            yield Row(_record(folder, fields), str(folder), folder)
    if not found:
        raise UsageError(f"{path}: a folder, but none that holds a folder of files for each record.")


def _record(folder: Path, fields: dict[str, str]) -> dict[str, Json]:
    record: dict[str, Json] = {"problem_id": int(folder.name) if folder.name.isdecimal() else folder.name}
    told = fields.pop(METADATA, None)
    if told is not None:
        try:
            metadata = json.loads(told)
        except ValueError as error:
            raise UsageError(f"{folder / METADATA}.json: not JSON, or cut off ({error}).") from error
        if isinstance(metadata, dict):
            record |= metadata
    return record | fields


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}.") from error
