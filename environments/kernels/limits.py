"""What a teacher's code may use up. `docs/isolation.md` says which level bounds what."""

from dataclasses import dataclass

MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one kernel with all that it starts, or of each of its processes where that is said."""

    memory: int = 1024 * MB
    """Bytes of each process; where there is a cgroup, about that for all of them together, too."""
    processes: int = 128
    """Threads count as well."""
    file_size: int = 256 * MB
    """Bytes of one file."""
    disk: int = 256 * MB
    """Bytes of all files in the home folder, and as much again in the temporary one."""
    files: int = 16_384
    """Files and folders in each of the two."""
    open_files: int = 256
    """Descriptors of each process."""
    cpu: int = 3_600
    """Seconds of CPU of each process."""
