"""A run's configuration: one object, saved whole with the run, from flags or a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from collectors.pairing import names_of
from collectors.teachers.teacher import Sampling, without_password
from environments.faults import UsageError
from environments.types import Json, Rules


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What decides which data a run makes. How fast and how far it goes is not in here, and may change."""

    env: str
    teachers: tuple[str, ...]
    data: str | None = None
    """A file or `hf:owner/name#split`; None for the environment's bundled tasks."""
    shuffle: bool = False
    """Take the tasks in an order drawn by `seed`, so that a limited run is a fair sample."""
    seed: int = 0
    """Draws that order and, with task and attempt, seeds every Python session."""
    attempts: int = 1
    escalate: bool = False
    """Give each teacher only those tasks that all before it have tried and failed."""
    rules: Rules = field(default_factory=Rules)
    sampling: Sampling = field(default_factory=Sampling)

    def saved(self) -> dict[str, Json]:
        """As JSON, without the passwords of addresses."""
        shown = replace(self, teachers=tuple(map(without_password, self.teachers)))
        saved = cast(dict[str, Json], TypeAdapter(RunConfig).dump_python(shown, mode="json"))
        # A run that was started before there was this setting goes on.
        return saved if self.escalate else {name: value for name, value in saved.items() if name != "escalate"}


def read_config(path: Path) -> dict[str, Any]:
    """The tables of a run's TOML file, to be completed by flags."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}.") from error


def make_config(values: Mapping[str, Any]) -> RunConfig:
    """A checked configuration. Raises `UsageError` that names the value at fault."""
    _refuse_unknown(values, RunConfig)
    try:
        config = TypeAdapter(RunConfig).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: {first['msg'].lower()}, not {first['input']!r}.") from error
    _refuse_senseless(config)
    return config


def _refuse_unknown(values: Mapping[str, Any], kind: type, prefix: str = "") -> None:
    known = {item.name: item for item in fields(kind)}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"unknown setting '{prefix}{name}'. There are: {', '.join(sorted(known))}.")
        default = known[name].default_factory
        if isinstance(default, type) and is_dataclass(default) and isinstance(value, Mapping):
            _refuse_unknown(value, default, f"{prefix}{name}.")


def _refuse_senseless(config: RunConfig) -> None:
    numbers = {"attempts": config.attempts, **{f"rules.{k}": v for k, v in asdict(config.rules).items()}}
    for name, value in numbers.items():
        if isinstance(value, int | float) and not 0 < value < inf:
            raise UsageError(f"{name} must be more than 0, not {value}.")
    if not config.teachers:
        raise UsageError("no teacher: give --teacher provider:model.")
    if len(set(config.teachers)) < len(config.teachers):
        raise UsageError("a teacher is named twice; use --attempts to have it try again.")
    for name in config.teachers:
        names_of(name)
    if config.escalate and len(config.teachers) < 2:
        raise UsageError("there is no teacher to escalate to: give several --teacher, the cheapest first.")
