"""`errata doctor` on this machine, and on one that forbids what containers forbid."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from environments.kernels.isolation import LEVELS, examine

ERRATA = str(Path(sys.executable).with_name("errata"))

CONTAINER = """
import errno, os, sys
from seccompy import Action, CmpOp, Filter
rules = Filter(default=Action.ALLOW)
for name in "unshare setns mount umount2 pivot_root mount_setattr move_mount open_tree fsopen fsmount bpf".split():
    rules.errno(name, errno.EPERM)
for flag in (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30):
    rules.errno("clone", errno.EPERM, args=[(0, CmpOp.MASKED_EQ, flag, flag)])
rules.load()
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Refuses what Docker's default profile refuses to a container without CAP_SYS_ADMIN."""

KEPT = (
    "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write,"
    "setfcap"
)
"""Docker's default capabilities."""


def doctor(*before: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run([*before, ERRATA, "doctor", "--json"], capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_strongest_level_that_works_is_chosen() -> None:
    status, found = doctor()
    works = [level for level in LEVELS if examine(level).trouble is None]
    assert found["chosen"] == works[0]
    assert status == (1 if works == ["none"] else 0)
    assert [one["level"] for one in found["levels"]] == list(LEVELS)  # type: ignore[attr-defined]
    assert found["kernel_seconds"] > 0  # type: ignore[operator]


def test_people_are_shown_a_line_for_each_level() -> None:
    shown = subprocess.run([ERRATA, "doctor"], capture_output=True, text=True, timeout=120).stdout
    lines = [line.split()[0] for line in shown.splitlines() if line.split()]
    assert [line for line in lines if line in LEVELS] == list(LEVELS)
    assert shown.count("chosen") == (0 if "none" in shown and examine("landlock").trouble else 1)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to play a container")
@pytest.mark.skipif(examine("landlock").trouble is not None, reason="needs Landlock")
def test_in_a_container_landlock_is_left_and_it_is_said_how_to_have_more() -> None:
    bounded = ["setpriv", f"--bounding-set=-all,+{KEPT.replace(',', ',+')}", sys.executable, "-c", CONTAINER]
    status, found = doctor(*bounded)
    assert (status, found["chosen"]) == (0, "landlock")
    troubles = [one["trouble"] for one in found["levels"]]  # type: ignore[attr-defined]
    assert troubles[:2] == ["failed its test: unshare: Operation not permitted"] * 2
    assert found["advice"]
