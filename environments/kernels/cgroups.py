"""A control group for each kernel, which bounds what all its processes take together. For root only.

Both of Linux's designs: one tree for everything, or (version 1) a tree for each resource. Ours hang under
the group that we are in, so that what bounds us bounds the kernels too; in one tree, where a group that
has processes may have no limited children, under the nearest one above it that may.
"""

from __future__ import annotations

import contextlib
import errno
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from environments.kernels.limits import MB, Limits

ROOT = Path("/sys/fs/cgroup")
SLACK = 128 * MB
"""Above a process's own limit, so that it is told of it by a MemoryError before it is killed for it."""


class Cgroups:
    """Raises `OSError` where no group can be made or given limits."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.folders: list[Path] = []
        self._ended = deque[int]()
        self._limits: dict[Path, Mapping[str, int]] = {}
        try:
            for parent, files in _homes(limits):
                folder = parent / name
                folder.mkdir()
                self.folders.append(folder)
                self._limits[folder] = files
                if (folder / "cgroup.subtree_control").exists():
                    (folder / "cgroup.subtree_control").write_text("+memory +pids")
        except OSError:
            self.close()
            raise

    def confine(self, pid: int) -> None:
        """Before it has done anything: what it starts later is in its group too. May be called from any thread."""
        self._bury()
        for folder, limits in self._limits.items():
            group = folder / str(pid)
            group.mkdir()
            for name, value in limits.items():
                # Those on swap are there only where swap is counted.
                if "sw" not in name or (group / name).exists():
                    write(group / name, value)
            with contextlib.suppress(ProcessLookupError):  # it has ended; whoever waits for it hears so
                write(group / "cgroup.procs", pid)

    def release(self, pid: int) -> None:
        """It has ended, or is about to."""
        self._ended.append(pid)

    def close(self) -> None:
        """A group whose last process is still being reaped is left; the warden tries again."""
        for folder in self.folders:
            for group in [path for path in folder.glob("*") if path.is_dir()]:
                remove(group)
            remove(folder)

    def _bury(self) -> None:
        for _ in range(len(self._ended)):
            with contextlib.suppress(IndexError):  # another thread is at it, too
                pid = self._ended.popleft()
                gone = [remove(folder / str(pid)) for folder in self.folders]
                if not all(gone):
                    self._ended.append(pid)


def write(file: Path, value: int) -> None:
    """Raises `OSError` where there is no such file: a folder like any other is no group."""
    with file.open("r+") as opened:
        opened.write(str(value))


def remove(group: Path) -> bool:
    """Whether it is gone."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _homes(limits: Limits) -> Iterator[tuple[Path, Mapping[str, int]]]:
    """Where groups are made, and what is written into each: bytes and numbers of processes."""
    memory = limits.memory + 3 * limits.disk + SLACK
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    if (ROOT / "cgroup.controllers").exists():
        files = {"memory.max": memory, "memory.swap.max": 0, "pids.max": limits.processes}
        yield _inhabitable(ROOT / own[""].lstrip("/")), files
        return
    both = {"memory.limit_in_bytes": memory, "memory.memsw.limit_in_bytes": memory}
    for name, files in (("memory", both), ("pids", {"pids.max": limits.processes})):
        if name not in own:
            raise OSError(errno.ENODEV, f"no control groups for {name}")
        mounted = ROOT / name
        # In a container the path may be the machine's, while the tree begins at ours.
        found = mounted / own[name].lstrip("/")
        yield found if found.is_dir() else mounted, files


def _inhabitable(group: Path) -> Path:
    """The nearest above `group`, itself included, whose children can have limits."""
    for place in (group, *group.parents):
        if place == ROOT.parent:
            break
        try:
            (place / "cgroup.subtree_control").write_text("+memory +pids")
        except OSError:
            continue
        return place
    raise OSError(errno.EBUSY, "no control group here may have limited children")
