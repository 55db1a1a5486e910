"""What of the machine a walled kernel can see: the system's programs and libraries, and this Python.

Of each tree only the folders that packages are installed into: a project may stand in /usr/src, or beside
its Python. For the same reason no other folder of `sys.path` is seen: what is installed in place there is
somebody's project, with their keys and data. Of ourselves nothing is: a grader that can be read can be satisfied.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

INSTALLED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "include", "share", "ssl", "pyvenv.cfg")
"""What is looked at beneath /, /usr, /usr/local and the prefixes of this Python."""

SETTINGS = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "timezone", "mime.types", "nsswitch.conf",
    "ssl/certs", "alternatives", "fonts", "magic", "protocols", "services",
)  # fmt: skip
"""Files of /etc that hold nothing of the machine's own."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

PROJECT = Path(__file__).resolve().parents[3]
"""The folder that holds our packages."""
OURS = ("cli", "collectors", "environments", "exporters", "filters", "store")


def readable() -> list[Path]:
    """Folders and files, links among them, none of them beneath another."""
    trees = ("/", "/usr", "/usr/local", sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    installed = [str(Path(tree, name)) for tree in trees for name in INSTALLED]
    wanted = [*installed, *(f"/etc/{name}" for name in SETTINGS), *python_folders()]
    found = {path for wish in wanted for path in _with_target(Path(wish)) if os.path.lexists(path)}
    return sorted(path for path in found if not any(other in found for other in path.parents if not other.is_symlink()))


def python_folders() -> Iterator[str]:
    yield from (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    yield sys.executable  # and not its folder, which may be somebody's home with a link in it


def hidden() -> list[Path]:
    """What is our own beneath a readable path, spelt as that: all of a checkout, our packages among other ones."""
    ours = [PROJECT / name for name in OURS] if PROJECT.name.endswith("-packages") else [PROJECT]
    spelt = {path / own.relative_to(path.resolve()) for path in readable() for own in ours if _beneath(own, path)}
    return sorted(path for path in spelt if path.is_dir())


def without_ours(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """The same for rules that can only allow: what may be read, or (False) only listed on the way to the rest."""
    ours = [path.resolve() for path in hidden()]
    for path in paths:
        yield from _split(path, ours)


def _split(path: Path, ours: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    real = path.resolve()
    if real in ours:
        return
    if not any(real in folder.parents for folder in ours):
        yield real, True
        return
    yield real, False
    for entry in real.iterdir():
        yield from _split(entry, ours)


def _beneath(own: Path, path: Path) -> bool:
    return not path.is_symlink() and own.is_relative_to(path.resolve())


def _with_target(path: Path) -> tuple[Path, Path]:
    return path, path.resolve()
