"""How long `errata --help` takes, beside a bare interpreter: `python -m benchmarks.startup [--json] [--quick]`."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ERRATA = [sys.executable, "-m", "cli", "--help"]
BARE = [sys.executable, "-c", "pass"]


def seconds(command: list[str], times: int) -> float:
    """The median wall time of a command."""
    return statistics.median(_once(command) for _ in range(times))


def _once(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).resolve().parent.parent)
    return time.perf_counter() - began


def main() -> None:
    times = 5 if "--quick" in sys.argv else 20
    ours, other = seconds(ERRATA, times), seconds(BARE, times)
    if "--json" in sys.argv:
        print(json.dumps({"errata --help": {"ours": ours, "other": other, "ratio": ours / other, "unit": "s"}}))
    else:
        print(f"errata --help {ours:.3f} s, python -c pass {other:.3f} s ({ours / other:.1f}×); median of {times}")


if __name__ == "__main__":
    main()
