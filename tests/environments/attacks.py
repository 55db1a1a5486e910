"""What the attacks on isolated kernels share: how one is carried out, and what counts as blocked.

An attack is a cell that comes to its end when it has got what it is after. At a level that claims to
block it, it has to raise what a teacher could read as a refusal, and the session has to go on. At level
`none` it has to succeed: an attack that fails there proves nothing elsewhere. Only decoys are attacked,
and every bomb has an end of its own, so that a hole in the walls is a failed test and no more.
"""

import errno
import re
from functools import cache
from pathlib import Path

import psutil
import pytest

from environments.kernels import KernelSession
from environments.kernels.isolation import CLAIMS, working_levels
from environments.types import CellResult

REFUSALS = {
    errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS, errno.ENOENT, errno.ENOTDIR, errno.ESRCH, errno.EXDEV,
    errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL,
    errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH,
}  # fmt: skip
"""It is forbidden, or it is not there. Any other error would be the attack's own mistake."""

REFUSALS_BY_NAME = {"ModuleNotFoundError", "OperationalError", "CalledProcessError"}
"""Of an import, of SQLite, and of a program that a cell starts."""


@cache
def working() -> tuple[str, ...]:
    return tuple(working_levels())


def claims(level: str, claim: str) -> bool:
    return claim in CLAIMS[level]


def refused(result: CellResult) -> bool:
    error = result.error
    if error is None:
        return False
    number = re.match(r"\[Errno (\d+)\]", error.value)
    return int(number[1]) in REFUSALS if number else error.name in REFUSALS_BY_NAME


async def assert_goes_on(session: KernelSession) -> None:
    result = await session.run("40 + 2")
    assert (result.value, result.failed) == ("42", False)


async def carry_out(code: str, session: KernelSession, level: str, claim: str) -> None:
    """An attack that is refused by an exception or succeeds."""
    result = await session.run(code)
    assert not result.died, result
    assert not result.timed_out, result
    if claims(level, claim):
        assert refused(result), result
    judge_unclaimed(result, level, claim)
    await assert_goes_on(session)


def judge_unclaimed(result: CellResult, level: str, claim: str) -> None:
    """Skips, visibly, where nothing was to be proved."""
    if claims(level, claim):
        return
    if level != "none":
        pytest.skip(f"level {level} does not claim {claim!r}")
    if refused(result):
        pytest.skip(f"this machine refuses it by itself: {result.error.value}")  # type: ignore[union-attr]
    assert not result.failed, result


class Peak:
    """The most memory that this process has held since."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = psutil.Process().memory_info().rss

    def grown(self) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        (peak,) = (int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
        return int(peak - self._before)
