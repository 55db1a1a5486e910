"""What `errata runs` lists, and how it watches runs of other processes."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cli.watch import picture
from environments.types import Call
from store.budget import Budget
from store.lease import Lease, leased
from store.log import TrajectoryLog
from store.queries import Sums
from store.store import Store, open_store
from store.watching import Fault, Reserved, View, Worker, run_named
from tests.sums import STRONG, WEAK, add_trajectory

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{folder / 'errata.db'}", create=True) as store:
        yield store


async def fill(folder: Path) -> None:
    async with opened(folder) as store:
        await add_trajectory(store, 1, "solved")
        await add_trajectory(store, 2, "max_turns", teacher=STRONG)
        await add_trajectory(store, 3, "failed")
        await add_trajectory(store, 1, None, run="other")


def test_runs_are_listed_with_how_far_they_are_and_what_they_cost(errata: Any, tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    first, second = json.loads(errata("runs", "--json").stdout)
    assert (first["run"], first["finished"], first["solved"], first["failed"], first["unfinished"]) == ("r", 2, 1, 1, 0)
    assert (first["teachers"], first["cost_usd"]) == ([STRONG, WEAK], "0.6")
    assert (second["run"], second["unfinished"]) == ("other", 1)
    (only,) = json.loads(errata("runs", "--run", "other", "--json").stdout)
    assert only == second
    assert "2, 1 failed" in errata("runs").stdout


def test_a_run_that_nobody_works_on_is_shown_once(errata: Any, tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    shown = errata("runs", "--watch", "--run", "r")
    assert shown.returncode == 0, shown.stderr
    (line,) = shown.stdout.splitlines()
    assert line.startswith("r: finished 2 · solved 1 (50%)")
    assert "nobody works on it" in line
    assert "Nobody works on a run" in errata("runs", "--watch").stdout
    assert errata("runs", "--every", "1").returncode == 2
    assert "there is no run 'x'" in errata("runs", "--watch", "--run", "x").stderr


@pytest.mark.parametrize("arguments", [("--json",), ("--run", "r", "--json")])
async def test_a_run_of_another_process_is_followed_until_ctrl_c(
    errata: Any, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    async with opened(tmp_path) as store:
        await add_trajectory(store, 1, "solved")
        run_id, _ = await run_named(store, "r")
        async with leased(store, run_id) as lease:
            watching = errata.start("runs", "--watch", "--every", "0.1", *arguments)
            begun = await _until(watching, lambda seen: seen["finished"] == 1)
            trajectory_id = await add_trajectory(store, 2, None, epoch=lease.epoch)
            await _until(watching, lambda seen: seen["under_way"] == 1)
            log = TrajectoryLog(store, Lease(run_id, lease.epoch), trajectory_id)
            await log.call(Call(0, NOW, 1.0, "rate_limited", 429, message="slow down"))
            await add_trajectory(store, 2, "max_turns", epoch=lease.epoch, replies=())
            ended = await _until(watching, lambda seen: seen["finished"] == 2 and seen["faults"])
            watching.send_signal(signal.SIGINT)
            _, err = await asyncio.to_thread(watching.communicate, timeout=30)
    assert (watching.returncode, err) == (0, "")
    assert [one["pid"] for one in begun["processes"]] == [os.getpid()]
    assert [one["message"] for one in ended["faults"]] == ["slow down"]
    assert (ended["solved"], ended["unread"], ended["cost_usd"]) == (1, 2, "0.4")


async def _until(watching: Any, found: Any) -> Any:
    while True:
        line = await asyncio.wait_for(asyncio.to_thread(watching.stdout.readline), 30)
        assert line, watching.stderr.read()
        if found(seen := json.loads(line)):
            return seen


def test_a_picture_has_at_most_ten_lines_of_data_and_says_what_is_lost() -> None:
    budget = Budget(Decimal(10), 5000, Decimal(3), 100, Decimal(2), 50)
    fault = Fault(NOW, "rate_limited", "slow\ndown " * 100)
    view = View(
        "r", NOW, Sums(trajectories=9, solved=3, failed=1, unfinished=2, unread=1), 1, 12.5,
        (Worker("host", 7, NOW, NOW, 1),) * 3, budget, Reserved(1, Decimal("0.5"), 10), (fault,) * 3,
    )  # fmt: skip
    heading, *data = picture(view).plain.split("\n")
    assert heading.startswith("r")
    assert len(data) <= 10
    words = {line.split("  ")[0]: line for line in data}
    assert "$3.00 of $10.00 spent, $2.00 reserved, $0.5000 of it lost" in words["budget"]
    assert "1 left by processes that ended · 1 failed" in words["under way"]
    assert "1 not read" in words["recovered"]
    assert "12.5 a minute" in words["pace"]
