"""What `errata stats` shows of a store: yield, dollars for each, tokens, errors, and tasks from teacher to teacher."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from environments.types import Assessment
from filters.filter import reads_errors
from store.store import open_store
from tests.sums import STRONG, WEAK, add_trajectory, reading, reply

CURRENT = reads_errors(0)


def fill(folder: Path, *rows: tuple[int, str | None, Assessment | None, str]) -> None:
    """Trajectories of one run in the store that a command in the folder finds by itself."""

    async def put() -> None:
        async with open_store(f"sqlite:///{folder / 'errata.db'}", create=True) as store:
            for task, stop, assessment, teacher in rows:
                await add_trajectory(store, task, stop, assessment, teacher=teacher)

    asyncio.run(put())


def read(level: str, *kinds: str) -> Assessment:
    return reading(level, *kinds, version=CURRENT)


def escalated(folder: Path) -> None:
    """Two of four tasks go on to the second teacher, which solves one of them."""
    fill(
        folder,
        (1, "solved", read("R2", "E1"), WEAK),
        (2, "solved", read("R0"), WEAK),
        (3, "max_turns", read("U", "E1", "E4"), WEAK),
        (4, "max_turns", read("U"), WEAK),
        (3, "solved", read("R3", "E1"), STRONG),
        (4, "max_turns", read("U"), STRONG),
    )


def test_a_program_reads_yield_and_the_way_of_the_tasks(errata: Any, tmp_path: Path) -> None:
    escalated(tmp_path)
    weak, strong = json.loads(errata("stats", "--json").stdout)
    assert (weak["teacher"], strong["teacher"]) == (WEAK, STRONG)
    assert (weak["finished"], weak["solved"], weak["recovered"], weak["unread"]) == (4, 2, 1, 0)
    assert weak["levels"] == {"R0": 1, "R2": 1, "U": 2}
    assert weak["errors"] == {"E1": 2, "E4": 1}
    assert (float(weak["cost_usd"]), weak["usd_per_solved"], weak["usd_per_recovered"]) == (0.8, 0.4, 0.8)
    assert (weak["tokens_in"], weak["tokens_cache_read"], weak["tokens_cache_write"]) == (80, 32, 8)
    everyone = {"of_all_teachers": 4, "solved_by_any": 3}
    assert weak["tasks"] == {"given": 4, "solved": 2, "solved_first": 2, **everyone}
    assert strong["tasks"] == {"given": 2, "solved": 1, "solved_first": 1, **everyone}
    assert "usd_saved_by_cache" not in weak


def test_people_read_the_same_in_100_columns(errata: Any, tmp_path: Path) -> None:
    escalated(tmp_path)
    shown = errata("stats")
    assert shown.returncode == 0, shown.stderr
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert f"{WEAK} 4 2 (50%) 1 (25%) $0.8000 $0.4000 $0.8000" in lines
    assert f"{STRONG} 2 1 (50%) 1 (50%) $0.4000 $0.4000 $0.4000" in lines
    assert f"{WEAK} 2.0 80 40% 40 E1 2 · E4 1" in lines
    assert f"{WEAK} 4 (100%) 2 (50%) 2 2 (50%)" in lines
    assert f"{STRONG} 2 (50%) 1 (50%) 1 3 (75%)" in lines
    assert max(len(line.rstrip()) for line in shown.stdout.splitlines()) <= 100
    assert shown.stderr == ""


def test_what_was_not_read_is_not_counted_as_not_recovered(errata: Any, tmp_path: Path) -> None:
    fill(
        tmp_path,
        (1, "solved", read("R2", "E1"), WEAK),
        (2, "solved", None, WEAK),
        (3, "solved", reading("R2", "E1", version=CURRENT - 1), WEAK),
        (4, "solved", None, STRONG),
    )
    shown = errata("stats")
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert f"{WEAK} 3 3 (100%) 1 (100%) $0.6000 $0.2000 –" in lines
    assert f"{STRONG} 1 1 (100%) not read $0.2000 $0.2000 –" in lines
    assert "3 of 4 finished trajectories have not been read" in shown.stderr
    assert "errata filter" in shown.stderr
    weak, strong = json.loads(errata("stats", "--json").stdout)
    assert (weak["recovered"], weak["unread"], weak["usd_per_recovered"]) == (1, 2, None)
    assert (strong["recovered"], strong["unread"]) == (None, 1)


def test_one_teacher_alone_needs_no_table_of_who_came_after_whom(errata: Any, tmp_path: Path) -> None:
    fill(tmp_path, (1, "solved", read("R0"), WEAK))
    assert "before it" not in errata("stats").stdout


def test_a_price_that_is_not_known_leaves_the_price_of_a_solved_one_unknown(errata: Any, tmp_path: Path) -> None:
    async def put() -> None:
        async with open_store(f"sqlite:///{tmp_path / 'errata.db'}", create=True) as store:
            await add_trajectory(store, 1, "solved", read("R2"), replies=(reply(), reply(None)))

    asyncio.run(put())
    (group,) = json.loads(errata("stats", "--json").stdout)
    assert (group["usd_per_solved"], group["usd_per_recovered"], group["unpriced_replies"]) == (None, None, 1)


def test_an_empty_store_says_so(errata: Any, tmp_path: Path) -> None:
    fill(tmp_path)
    assert "No trajectory has begun" in errata("stats").stdout
    assert json.loads(errata("stats", "--json").stdout) == []


@pytest.mark.parametrize(
    ("teacher", "known"),
    [("openai:gpt-4.1", True), ("openai:gpt-4.1@http://127.0.0.1/v1", False), ("openai:a>openai:b", False)],
)
def test_what_a_cache_has_saved_is_told_where_a_price_list_knows_it(
    errata: Any, tmp_path: Path, teacher: str, known: bool
) -> None:
    fill(tmp_path, (1, "solved", read("R0"), teacher))
    (group,) = json.loads(errata("stats", "--cache", "--json").stdout)
    assert (group["usd_saved_by_cache"] is not None) is known
    assert "saved by" in errata("stats", "--cache").stdout
