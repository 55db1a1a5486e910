"""What a filter is, and where filters are found.

A filter is a named, versioned function `(Trajectory, Reading, **parameters) -> Verdict`. Ours and a
third party's come through the same door, the `errata.filters` entry points; its keyword parameters
and their annotations are what a recipe may set.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, get_type_hints

from environments.errors import ERRORS_VERSION, error_events
from environments.faults import UsageError
from environments.types import Assessment, ErrorEvent, Json, Recovery, Trajectory, Verdict
from filters.recovery import RECOVERY_VERSION, recovery

ENTRY_POINTS = "errata.filters"
_LIBRARY = "filters.library"
_BUILT_IN = ("solved", "errors_recovered", "verified", "published_rule")


class Reading:
    """A trajectory's errors and recovery, read when a filter first asks and shared by all of them."""

    def __init__(self, trajectory: Trajectory) -> None:
        self.trajectory = trajectory

    @cached_property
    def events(self) -> tuple[ErrorEvent, ...]:
        return error_events(self.trajectory)

    @cached_property
    def recovery(self) -> Recovery:
        return recovery(self.trajectory, self.events)

    @property
    def assessment(self) -> Assessment:
        return Assessment(self.events, ERRORS_VERSION, self.recovery, reads_errors(0))


def assess(trajectory: Trajectory) -> Assessment:
    """What is read from a trajectory when it has ended."""
    return Reading(trajectory).assessment


@dataclass(frozen=True, slots=True)
class Filter:
    """Raise `version` with every change of what it keeps: stored verdicts of another version do not count."""

    name: str
    version: int
    judge: Callable[..., Verdict]

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """What a recipe may set; annotations are resolved."""
        hints = get_type_hints(self.judge)
        given = list(inspect.signature(self.judge).parameters.values())[2:]
        return MappingProxyType({one.name: one.replace(annotation=hints.get(one.name, Any)) for one in given})

    def settings(self, given: Mapping[str, Json]) -> dict[str, Json]:
        """All parameters, checked, defaults filled in. Raises `UsageError`."""
        known = self.parameters
        for name, value in given.items():
            if name not in known:
                raise UsageError(f"filter '{self.name}' has no parameter '{name}'. {_listed('It has', known)}")
            _check(value, known[name], self.name)
        empty = [name for name, one in known.items() if one.default is one.empty and name not in given]
        if empty:
            raise UsageError(f"filter '{self.name}' needs a value for '{empty[0]}'.")
        return {name: given.get(name, one.default) for name, one in known.items()}


def named(name: str, version: int) -> Callable[[Callable[..., Verdict]], Filter]:
    """Makes a filter of a function."""
    return lambda judge: Filter(name, version, judge)


def reads_errors(version: int) -> int:
    """The version of a filter that rests on errors and recovery: it rises with theirs."""
    return version * 10_000 + ERRORS_VERSION * 100 + RECOVERY_VERSION


def filter_names() -> list[str]:
    return sorted(_points())


def find_filter(name: str) -> Filter:
    points = _points()
    if name not in points:
        raise UsageError(f"there is no filter '{name}'. {_listed('There are', points)}")
    found = points[name].load()
    if not isinstance(found, Filter):
        raise UsageError(
            f"filter '{name}' ({points[name].value}) is a {type(found).__name__}, not a filters.filter.Filter."
        )
    return found


def _points() -> dict[str, EntryPoint]:
    ours = [EntryPoint(name, f"{_LIBRARY}:{name}", ENTRY_POINTS) for name in _BUILT_IN]
    return {point.name: point for point in (*entry_points(group=ENTRY_POINTS), *ours)}


def _check(value: Json, parameter: inspect.Parameter, owner: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(parameter.annotation).validate_python(value, strict=True)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise UsageError(f"filter '{owner}', parameter '{parameter.name}' = {value!r}: {reason}.") from error


def _listed(word: str, things: Mapping[str, object]) -> str:
    return f"{word}: {', '.join(sorted(things))}." if things else f"{word} none."
