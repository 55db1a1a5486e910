"""What a teacher's code may use up. `docs/isolation.md` says which level bounds what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from environments.faults import UsageError

MB = 1 << 20
UNITS = {"": 1, "K": 1 << 10, "M": MB, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one kernel with all that it starts, or of each of its processes where that is said."""

    memory: int = 1024 * MB
    """Bytes of each process, besides what a kernel shares with the others from the start (about 200 MB of addresses);
    where there is a control group, about that for all of its processes together, too."""
    processes: int = 128
    """Threads count as well; the kernel itself has about ten."""
    file_size: int = 256 * MB
    """Bytes of one file."""
    disk: int = 256 * MB
    """Bytes of all files in the home folder, and as much again in /tmp and in /dev/shm."""
    files: int = 16_384
    """Files and folders in each of these."""
    open_files: int = 256
    """Descriptors of each process; the kernel itself has about sixty."""
    cpu: int = 3_600
    """Seconds of CPU of each process."""


LEAST = Limits(memory=64 * MB, processes=16, file_size=1, disk=MB, files=16, open_files=128, cpu=1)
"""With less a kernel could not start."""


def make_limits(values: Mapping[str, object]) -> Limits:
    """From numbers and sizes such as `4G`; what is not named stays as it is. Raises `UsageError`."""
    known = [field.name for field in fields(Limits)]
    if unknown := sorted(values.keys() - known):
        raise UsageError(f"unknown limit '{unknown[0]}'. There are: {', '.join(known)}.")
    return Limits(**{name: _amount(name, value) for name, value in values.items()})


def _amount(name: str, value: object) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
    if match is None or isinstance(value, bool):
        raise UsageError(f"limits.{name}: '{value}' is no size; write a whole number, or one with K, M, G or T.")
    amount = int(float(match[1]) * UNITS[match[2].upper()])
    least: int = getattr(LEAST, name)
    if amount < least:
        raise UsageError(f"limits.{name}: a kernel needs at least {least:,}, not {amount:,}.")
    return amount
