"""Rows of a data set on the Hugging Face Hub, streamed: the first tasks come before the last shard is there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from environments.environment import Row
from environments.faults import ErrataError, UsageError

_FORM = re.compile(r"(?P<path>[^@#]+)(?:@(?P<revision>[^@#]+))?(?:#(?P<split>[^@#]+))?")


@dataclass(frozen=True, slots=True)
class Address:
    path: str
    config: str | None
    revision: str | None
    split: str | None


def address(text: str) -> Address:
    """`owner/name[/config][@revision][#split]`; a path that starts with `/` or `.` is local and has no config."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"hf:{text}: not of the form hf:owner/name[/config][@revision][#split].")
    path, config = match["path"], None
    if not path.startswith(("/", ".")) and path.count("/") >= 2:
        owner, name, config = path.split("/", 2)
        path = f"{owner}/{name}"
    return Address(path, config, match["revision"], match["split"])


def read_hub(text: str, *, split: str | None = None) -> Iterator[Row]:
    wanted = address(text)
    name = wanted.split or split
    where = f"hf:{text}" if wanted.split or name is None else f"hf:{text}#{name}"
    for number, record in enumerate(_stream(wanted, name, f"hf:{text}"), start=1):
        yield Row(record, f"{where}:{number}")


def _stream(wanted: Address, split: str | None, where: str) -> Iterator[Mapping[str, Any]]:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = datasets.load_dataset(wanted.path, wanted.config, revision=wanted.revision, streaming=True)
        yield from found[_chosen(list(found), split, where)]
    except (datasets.exceptions.DatasetsError, FileNotFoundError, ValueError) as error:
        raise UsageError(f"{where}: cannot be loaded: {error}") from error
    except (HfHubHTTPError, OSError) as error:
        raise ErrataError(f"{where}: the Hub did not answer: {error}") from error


def _chosen(splits: list[str], split: str | None, where: str) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        told = "say which" if split is None else f"there is no '{split}'"
        raise UsageError(f"{where}: {told}: the splits are {', '.join(splits)} (hf:…#{splits[0]}).")
    return split
