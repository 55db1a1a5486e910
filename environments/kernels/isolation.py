"""How far a teacher's code is kept from the machine it runs on.

A level is a claim that stands in every trajectory, so it is tried out before it is chosen, and none is
chosen silently: where nothing stands the test, running without has to be asked for by name.
"""

from __future__ import annotations

import errno
import functools
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from environments.faults import UsageError
from environments.kernels.cgroups import Cgroups
from environments.kernels.environment import common_environment
from environments.kernels.limits import Limits
from environments.kernels.warden import Warden

LEVELS = ("namespaces", "user-namespaces", "landlock", "none")
"""Strongest first."""

_ALWAYS = frozenset({"time", "output", "orphans"})
_CONFINED = _ALWAYS | {"files", "others", "network", "syscalls", "memory", "file size", "open files", "cpu time"}
_WALLED = _CONFINED | {"processes", "disk"}

CLAIMS: Mapping[str, frozenset[str]] = {
    "namespaces": _WALLED | {"total memory"},
    "user-namespaces": _WALLED,
    "landlock": _CONFINED,
    "none": _ALWAYS,
}
"""What each level claims; `docs/isolation.md` says it in sentences."""

FEWEST_USERS = 10_000
PATIENCE = 30.0
"""Seconds a self-test may take."""
PROJECT = Path(__file__).resolve().parents[2]
SELFTEST = "environments.kernels.forkserver_process.selftest"
SOUND = "sound"
NEEDED = "Linux 6.12 or later"


@dataclass(frozen=True, slots=True)
class Places:
    """As a kernel sees them: where its sockets are, where it works, where it leaves what nobody asks for."""

    folder: Path
    work: Path
    temporary: Path
    settings: Path

    def environment(self) -> dict[str, str]:
        """No profile, history or settings of the user's is found."""
        jupyter = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
        return {
            "HOME": str(self.work),
            "TMPDIR": str(self.temporary),
            "USER": "user",
            "LOGNAME": "user",
        } | dict.fromkeys(jupyter, str(self.settings))


@dataclass(frozen=True, slots=True)
class Isolation:
    """The level in force, and how far a kernel may go within it."""

    level: str
    limits: Limits = field(default_factory=Limits)

    @property
    def has_rooms(self) -> bool:
        """Whether a kernel sees a file system of its own."""
        return self.level.endswith("namespaces")

    @property
    def has_cgroups(self) -> bool:
        return "total memory" in CLAIMS[self.level]

    def places(self, folder: Path) -> Places:
        """Of the kernel whose folder this is."""
        if self.has_rooms:
            return Places(Path("/room"), Path("/home/user"), Path("/tmp"), Path("/tmp/.ipython"))  # noqa: S108
        return Places(folder, folder / "scratch", folder / "tmp", folder / "ipython")

    def user(self) -> int:
        """Whom a kernel is to be: as root somebody nobody else is, of the numbers that we have been given."""
        if os.geteuid() != 0 or not self.has_rooms:
            return os.geteuid()
        lines = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        start, count = max(((int(first), int(size)) for first, _, size in lines), key=lambda span: span[1])
        if count < FEWEST_USERS:
            raise OSError(errno.EPERM, f"root of {count} users only: none is free for a kernel")
        upper = min(start + count, 1 << 31)
        lower = max(start, upper // 2)
        return lower + secrets.randbelow(upper - lower)


@dataclass(frozen=True, slots=True)
class Examined:
    """A level, and why it cannot be had here."""

    level: str
    trouble: str | None


@functools.cache
def examine(level: str) -> Examined:
    """Try a level out: raise its walls around a process that then attacks them."""
    if level == "none":
        return Examined(level, None)
    if sys.platform != "linux":
        return Examined(level, f"needs {NEEDED}")
    if level == "namespaces" and os.geteuid() != 0:
        return Examined(level, "needs root")
    warden = Warden(Path(tempfile.mkdtemp(prefix="errata-")))
    try:
        return Examined(level, _attacked(level, warden))
    finally:
        warden.end()


def working_levels() -> tuple[str, ...]:
    """Strongest first; `none` is always there."""
    return tuple(level for level in LEVELS if examine(level).trouble is None)


def choose_isolation(asked: str | None) -> str:
    """The level in force: the one named, or for None or `auto` the strongest that stands its test.

    Raises `UsageError` where the one named cannot be had, and where there is none.
    """
    if asked not in (None, "auto", *LEVELS):
        raise UsageError(f"unknown isolation level '{asked}'. There are: auto, {', '.join(LEVELS)}.")
    troubles = []
    for level in LEVELS[:-1] if asked in (None, "auto") else [asked]:
        found = examine(level)
        if found.trouble is None:
            return level
        troubles.append(f"{level} {found.trouble}")
    raise UsageError(
        f"the isolation asked for cannot be had here: {'; '.join(troubles)}. `errata doctor` says more. "
        "With --isolation none a teacher's code could read your files and use your network."
    )


def _attacked(level: str, warden: Warden) -> str | None:
    """What went wrong, if anything."""
    try:
        said = _selftest(Isolation(level, Limits(memory=512 << 20)), warden)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be had: {error.strerror if isinstance(error, OSError) else error}"
    last = (said.strip().splitlines() or ["it ended without a word"])[-1]
    return None if last == SOUND else f"failed its test: {last}"


def _selftest(isolation: Isolation, warden: Warden) -> str:
    """All that it makes is the warden's, who outlives us if we are killed meanwhile."""
    folder, user = warden.folder, isolation.user()
    (folder / "world").mkdir()
    (folder / "secret").write_text("planted")
    (folder / "kernel").mkdir()
    for own in ("kernel", *(f"kernel/{name}" for name in ("scratch", "tmp", "ipython"))):
        (folder / own).mkdir(exist_ok=True)
        if user != os.geteuid():
            os.chown(folder / own, user, user)
    cgroups = Cgroups(folder.name, isolation.limits) if isolation.has_cgroups else None
    for group in cgroups.folders if cgroups else ():
        warden.sweep(group)
    process = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-m", SELFTEST, isolation.level, str(folder), str(user)],
        cwd=PROJECT, env=common_environment(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        warden.watch(process.pid)
        if cgroups:
            cgroups.confine(process.pid)
        return process.communicate("go\n", PATIENCE)[0]
    finally:
        process.kill()
        process.wait()
        warden.forget(process.pid)
        if cgroups:
            cgroups.release(process.pid)
            cgroups.close()
