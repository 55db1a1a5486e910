"""Rows of a data set on the Hugging Face Hub, streamed: the first tasks come before the last shard is there.

`datasets` runs no scripts any more. The data sets that were made by one are read from their files, which `SCRIPTED`
names; every other one is found by its card or its layout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from environments.environment import Row
from environments.faults import ErrataError, UsageError

_FORM = re.compile(r"(?P<path>[^@#]+)(?:@(?P<revision>[^@#]+))?(?:#(?P<split>[^@#]+))?")


@dataclass(frozen=True, slots=True)
class Files:
    """Where the rows of a data set stand in its repository."""

    form: str
    revision: str
    splits: Mapping[str, str]
    """Split → pattern of its files."""


_CONVERTED = "refs/convert/parquet"
"""The branch on which the Hub itself keeps what a script had made, as `config/split/0000.parquet`."""


def _converted(config: str, *splits: str) -> Files:
    return Files("parquet", _CONVERTED, {split: f"{config}/{split}/*.parquet" for split in splits})


_HOTPOT = {
    "distractor": _converted("distractor", "train", "validation"),
    "fullwiki": _converted("fullwiki", "train", "validation", "test"),
}
_TABLES = {
    f"random-split-{number}": _converted(f"random-split-{number}", "train", "validation", "test")
    for number in range(1, 6)
}
# The files that `codeparrot/apps`' script read; its difficulties were its configs, and are a field of every row.
_APPS = {"all": Files("json", "main", {"train": "train.jsonl", "test": "test.jsonl"})}

SCRIPTED: Mapping[str, Mapping[str, Files]] = {
    "codeparrot/apps": _APPS,
    "hotpotqa/hotpot_qa": _HOTPOT,
    "stanfordnlp/wikitablequestions": _TABLES,
}
"""Data set → config → its files."""


@dataclass(frozen=True, slots=True)
class Address:
    path: str
    config: str | None
    revision: str | None
    split: str | None

    @property
    def local(self) -> bool:
        return self.path.startswith(("/", "."))


@dataclass(frozen=True, slots=True)
class Published:
    """What the Hub says of a data set."""

    revision: str
    """The commit that a branch or tag stands for."""
    licence: str | None


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


def published(wanted: Address) -> Published | None:
    """The commit and the licence of a data set, asked of the Hub; None for a local one."""
    if wanted.local:
        return None
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    files = _scripted(wanted, f"hf:{wanted.path}")
    revision = wanted.revision or (files.revision if files else None)
    try:
        info = HfApi().dataset_info(wanted.path, revision=revision)
        card = info.card_data or HfApi().dataset_info(wanted.path).card_data
    except RepositoryNotFoundError as error:
        raise UsageError(
            f"hf:{wanted.path}: there is no such data set on the Hub, or it is not open to you."
        ) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise ErrataError(f"hf:{wanted.path}: the Hub did not answer: {_line(error)}") from error
    licence = card.get("license") if card else None
    return Published(str(info.sha), ", ".join(licence) if isinstance(licence, list) else licence)


def _stream(wanted: Address, split: str | None, where: str) -> Iterator[Mapping[str, Any]]:
    import datasets
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = datasets.load_dataset(**_asked(wanted, where), streaming=True)
        yield from found[_chosen(list(found), split, where)]
    except (datasets.exceptions.DatasetsError, FileNotFoundError, ValueError) as error:
        raise UsageError(f"{where}: cannot be loaded: {_line(error)}") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise ErrataError(f"{where}: the Hub did not answer: {_line(error)}") from error
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error):
            raise
        made = f"{where}: is made by a script, which 'datasets' no longer runs."
        raise UsageError(f"{made} Its rows may stand ready at hf:{wanted.path}@{_CONVERTED}.") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def _asked(wanted: Address, where: str) -> dict[str, Any]:
    """What `datasets` is asked for: the data set by its name, or the files of one that was made by a script."""
    files = _scripted(wanted, where)
    if files is None:
        return {"path": wanted.path, "name": wanted.config, "revision": wanted.revision}
    root = f"hf://datasets/{wanted.path}@{quote(wanted.revision or files.revision, safe='')}"
    return {"path": files.form, "data_files": {split: f"{root}/{pattern}" for split, pattern in files.splits.items()}}


def _scripted(wanted: Address, where: str) -> Files | None:
    configs = SCRIPTED.get(wanted.path)
    if configs is None:
        return None
    if wanted.config is None and len(configs) == 1:
        return next(iter(configs.values()))
    if wanted.config is None or wanted.config not in configs:
        told = "say which" if wanted.config is None else f"there is no '{wanted.config}'"
        raise UsageError(
            f"{where}: {told}: the configs are {', '.join(configs)} (hf:{wanted.path}/{next(iter(configs))})."
        )
    return configs[wanted.config]


def _chosen(splits: list[str], split: str | None, where: str) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        told = "say which" if split is None else f"there is no '{split}'"
        raise UsageError(f"{where}: {told}: the splits are {', '.join(splits)} (hf:…#{splits[0]}).")
    return split
