"""The formats by name. Ours and a third party's come through the same door, the `errata.formats` entry points."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TypeAlias, cast

from environments.faults import UsageError
from environments.types import Trajectory
from exporters.folder import Manifest

ENTRY_POINTS = "errata.formats"
_BUILT_IN = (EntryPoint("codeact", "exporters.codeact:write_codeact", ENTRY_POINTS),)

Writer: TypeAlias = Callable[[AsyncIterable[Trajectory] | Iterable[Trajectory], Path], Awaitable[Manifest]]
"""Writes trajectories into a folder."""


def format_names() -> list[str]:
    return sorted(_points())


def find_writer(name: str) -> Writer:
    points = _points()
    if name not in points:
        raise UsageError(f"there is no format '{name}'. There are: {', '.join(sorted(points))}.")
    return cast(Writer, points[name].load())


def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in (*entry_points(group=ENTRY_POINTS), *_BUILT_IN)}
