"""A task as a line of JSON: the form in which `errata prepare` writes tasks, and any environment takes them back.

A line holds the whole task, prompt included, and not the row that it was read from: what is loaded from a task file is
what was prepared, whatever has become of the source, of the files beside it and of the environment's prompts since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from environments.environment import BadRow, Row
from environments.types import Task

if TYPE_CHECKING:
    from environments.types import Json

_FIELDS = frozenset(field.name for field in fields(Task))
_TOLD = frozenset({"id", "environment", "prompt", "reference"})
"""Fields that no other kind of row has all of."""


def encoded(task: Task) -> bytes:
    """The task's line. Raises `ValueError` for what JSON cannot hold."""
    row = {field.name: getattr(task, field.name) for field in fields(task)}
    # A lone surrogate becomes the escape that JSON has for it.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def prepared_task(row: Row, environment: str) -> Task | None:
    """The task of a line of a task file; None for other rows. Raises `BadRow` for one of another environment."""
    if not (_TOLD <= row.data.keys() <= _FIELDS):
        return None
    identity, prompt = _text(row, "id"), _text(row, "prompt")
    if row.data["environment"] != environment:
        raise BadRow(f"a task of '{row.data['environment']}', not of '{environment}'")
    return Task(
        identity, environment, prompt, row.data["reference"], _mapping(row, "inputs"), _mapping(row, "metadata")
    )


def _text(row: Row, name: str) -> str:
    value = row.data[name]
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"no text in '{name}'")
    return value


def _mapping(row: Row, name: str) -> Mapping[str, Json]:
    value = row.data.get(name, {})
    if not isinstance(value, Mapping):
        raise BadRow(f"'{name}' is not an object")
    return value
