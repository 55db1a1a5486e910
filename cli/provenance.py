"""What decides besides a configuration what is made: the versions of what makes it, and the code's revision."""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from environments.types import Json

_MAKERS = ("errata", "ipykernel", "ipython", "numpy", "pandas", "sympy", "math-verify", "openai", "anthropic")


def provenance() -> dict[str, Json]:
    versions: dict[str, Json] = {name: version(name) for name in _MAKERS}
    return {"python": sys.version.split()[0], "platform": sys.platform, "revision": revision(), **versions}


@functools.cache
def revision() -> str | None:
    """None for an installed package; it ends in `dirty` where the code is being changed."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603 - our words only
    except (OSError, subprocess.SubprocessError):
        return None
