"""What a run is to do, from flags and a file: checked as far as it can be before anything is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any, Self, cast, get_args

from collectors.config import RunConfig, make_config
from collectors.resume import OnDivergence
from collectors.teachers.retry import RetryPolicy
from collectors.teachers.teacher import without_password
from environments.faults import UsageError
from environments.kernels import Limits, choose_isolation
from environments.kernels.limits import make_limits
from store.budget import Caps
from store.opening import store_file

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration, and how fast, how far and where it is carried out."""

    run: str
    config: RunConfig
    store: str
    isolation: str
    limits: Limits
    preload: tuple[str, ...] = ()
    """Modules that kernels find imported, besides the environment's."""
    concurrency: int = 8
    limit: int | None = None
    only: frozenset[str] | None = None
    """The ids of the tasks to take; None for all."""
    caps: Caps | None = None
    """None leaves the run's budget as it is, if it has one."""
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    on_divergence: OnDivergence = "branch"
    until_recovered: int | None = None
    estimate: bool = False
    """Play nothing but the pilot's tasks, and say what the rest would come to."""
    pilot: int = 0
    log: Path | None = None
    """Of what happens; None for the default place."""

    @classmethod
    def make(cls, values: Mapping[str, Any], store: str, *, only: frozenset[str] | None = None) -> Self:
        """Checks everything that can be checked before anything is opened. Raises `UsageError`."""
        values = dict(values)
        limit, concurrency = _count(values, "limit"), _count(values, "concurrency") or 8
        run, asked = _word(values, "run"), _word(values, "isolation")
        limits, preload = make_limits(_table(values, "limits")), _modules(values)
        caps = Caps(_dollars(values, "budget_usd"), _count(values, "budget_tokens"))
        wait, log = _seconds(values, "longest_wait"), _word(values, "log")
        until, pilot = _count(values, "until_recovered"), _count(values, "pilot")
        estimate, diverging = bool(values.pop("estimate", False)), _divergence(values)
        if pilot and not estimate:
            raise UsageError("--pilot goes with --estimate: the tasks to play before anything is estimated.")
        if "env" not in values:
            raise UsageError("no environment: give --env, such as --env math.")
        if not values.get("teachers"):
            raise UsageError("no teacher: give --teacher, such as --teacher openai:gpt-5.5.")
        config = make_config(values)
        return cls(
            run or _name(config), config, store, choose_isolation(asked), limits, preload, concurrency, limit, only,
            None if caps == Caps() else caps, RetryPolicy(longest_wait=wait) if wait else RetryPolicy(), diverging,
            until, estimate, pilot or 0, Path(log) if log else None,
        )  # fmt: skip

    @property
    def log_file(self) -> Path:
        """The one given, or one beside the store; a server has no folder."""
        beside = (store_file(self.store) or Path("errata.db")).with_suffix(".logs")
        return self.log or beside / f"{_plain(self.run)}.jsonl"


def _dollars(values: dict[str, Any], name: str) -> Decimal | None:
    value = values.pop(name, None)
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount <= 0:
        raise UsageError(f"{name} must be an amount of dollars above 0, not {value!r}.")
    return amount


def _seconds(values: dict[str, Any], name: str) -> float | None:
    value = values.pop(name, None)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < inf):
        raise UsageError(f"{name} must be a number of seconds above 0, not {value!r}.")
    return value


def _divergence(values: dict[str, Any]) -> OnDivergence:
    value = values.pop("on_divergence", None) or "branch"
    if value not in get_args(OnDivergence):
        raise UsageError(f"on_divergence must be one of {', '.join(get_args(OnDivergence))}, not {value!r}.")
    return cast(OnDivergence, value)


def _count(values: dict[str, Any], name: str) -> int | None:
    value = values.pop(name, None)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return value


def _word(values: dict[str, Any], name: str) -> str | None:
    value = values.pop(name, None)
    if value is not None and (not isinstance(value, str) or not value or len(value) > _LONGEST_NAME):
        raise UsageError(f"{name} must be a text of 1 to {_LONGEST_NAME} characters, not {value!r}.")
    return value


def _modules(values: dict[str, Any]) -> tuple[str, ...]:
    names = values.pop("preload", ())
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise UsageError(f"preload must be a list of modules, not {names!r}.")
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise UsageError(f"preload: {name!r} is not a module's name.")
        if find_spec(name.partition(".")[0]) is None:
            raise UsageError(f"preload: there is no module '{name}' beside Errata; install it there.")
    return tuple(names)


def _table(values: dict[str, Any], name: str) -> Mapping[str, Any]:
    value = values.pop(name, {})
    if not isinstance(value, Mapping):
        raise UsageError(f"{name} must be a table, not {value!r}.")
    return value


def _name(config: RunConfig) -> str:
    """A run that was given no name is named by its environment and teachers, so the same command goes on with it."""
    return _plain("-".join([config.env, *map(without_password, config.teachers)]))


def _plain(name: str) -> str:
    """As a file may be called everywhere."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-")[:100]
