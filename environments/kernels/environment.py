"""What stands in a kernel's environment, and in that of the server which forks it: nothing that may be a secret."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

PASSED = ("LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""The variables a kernel inherits, with `LC_*`. Any other may be a secret."""

FIXED = {
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONUTF8": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    # Nobody sits at a terminal.
    "TERM": "dumb",
    "NO_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # One thread each: many kernels share the cores, and sums must not depend on how many there are.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Its own would set aside a gigabyte of addresses, which a limit on memory counts, and start a thread.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
}

PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def common_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """What all kernels have alike."""
    own = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), *PROGRAMS])}
    return own | {name: value for name, value in inherited.items() if name in PASSED or name.startswith("LC_")} | FIXED
