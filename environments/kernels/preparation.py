"""What makes a session of a kernel: told to one that is forked, which has it in it, and sent to another as a cell."""

from __future__ import annotations

import functools
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = ("streams", "stubs", "inside")
"""The modules that run inside, in the order in which they are needed."""

CELL = """
def _prepare():
    import sys, types
    for name, source in {sources!r}.items():
        sys.modules[name] = types.ModuleType(name)
        exec(compile(source, "<kernel>", "exec"), vars(sys.modules[name]))
    try:
        sys.modules[name].prepare(**{told!r})
    finally:
        for name in {sources!r}:
            del sys.modules[name]
_prepare()
del _prepare
"""


@dataclass(frozen=True, slots=True)
class Preparation:
    limit: int
    """Characters kept of each text."""
    seed: int
    preload: tuple[str, ...]
    functions: Mapping[str, str] = field(default_factory=dict)
    """Sources of those that the host carries out, by name."""

    def told(self) -> Mapping[str, Any]:
        return asdict(self)

    def cell(self) -> str:
        """Leaves no name, and none of our modules, behind."""
        return CELL.format(sources=sources(), told={**self.told(), "hidden": hidden()})


@functools.cache
def sources() -> Mapping[str, str]:
    folder, package = Path(__file__).parent, __name__.rpartition(".")[0]
    return {f"{package}.{name}": (folder / f"{name}.py").read_text("utf-8") for name in SOURCES}


@functools.cache
def hidden() -> str | None:
    """An editable install puts the whole checkout on every interpreter's path; a plain one stands beside numpy."""
    return None if Path(sysconfig.get_path("purelib")).resolve() == PROJECT else str(PROJECT)
