"""Opening, migrating and losing a store: real files, real processes, a real full disk where one can be had."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, update

from environments.faults import ErrataError, UsageError
from environments.types import Prompt, Rules, Run, Task
from store.log import add_prompt, add_tasks, ensure_run
from store.opening import HEAD, VERSION_TABLE
from store.schema import Base, LeaseRow, PromptRow
from store.store import open_store

ROOT = Path(__file__).resolve().parents[2]


async def test_the_migrated_schema_is_the_declared_one(tmp_path: Path) -> None:
    def differences(connection: object) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})  # type: ignore[arg-type]
        return list(compare_metadata(context, Base.metadata))

    async with open_store(f"sqlite:///{tmp_path}/e.db", create=True) as store:
        with store._engines.writer.begin() as connection:
            assert differences(connection) == []


def test_the_known_head_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "store" / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


async def test_a_store_is_made_only_when_asked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no store"):
        async with open_store(str(tmp_path / "none.db")):
            pass
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mysql://host/db", "not supported"),
        ("sqlite://", "in memory"),
        ("nosuch://x", "not supported"),
        ("a:b://c", "not a store"),
    ],
)
async def test_an_address_that_names_no_store_is_refused(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        async with open_store(address, create=True):
            pass


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("shopping list\n" * 100)
    with pytest.raises(ErrataError, match="The file is something else"):
        async with open_store(str(file)):
            pass
    assert file.read_text().startswith("shopping list")


async def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "theirs.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    with pytest.raises(ErrataError, match="holds other tables \\(customers\\)"):
        async with open_store(str(file), create=True):
            pass
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("customers",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_store_of_a_newer_errata_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "e.db"
    async with open_store(str(file), create=True):
        pass
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    connection.close()
    with pytest.raises(ErrataError, match="newer Errata"):
        async with open_store(str(file)):
            pass


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*/no "):
        async with open_store(str(tmp_path / "no" / "e.db"), create=True):
            pass


async def test_a_folder_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        async with open_store(str(tmp_path), create=True):
            pass


async def test_a_read_only_file_system_is_named(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ErrataError, match="cannot write to"):
        async with open_store(str(small_disk / "e.db"), create=True):
            pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_stops_the_writing_and_keeps_what_was_committed(small_disk: Path) -> None:
    address = str(small_disk / "e.db")
    committed: list[str] = []
    with pytest.raises(ErrataError, match="disk"):
        async with open_store(address, create=True) as store:
            for index in range(100):
                prompt = Prompt(os.urandom(20_000).hex(), str(index))
                await add_prompt(store, prompt)
                committed.append(prompt.digest)
    assert committed
    async with open_store(address) as store:
        assert {row["digest"] for row in await store.read(select(PromptRow.digest))} == set(committed)


WRITER = """
import asyncio, sys
from environments.types import Prompt
from store.log import add_prompt
from store.store import Store, open_store

async def main():
    async with open_store(sys.argv[1], create=True) as store:
        for index in range(100_000):
            await add_prompt(store, Prompt("system", str(index)))
            print(index, flush=True)

asyncio.run(main())
"""


async def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    address = str(tmp_path / "e.db")
    process = subprocess.Popen([sys.executable, "-c", WRITER, address], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    last = ""
    while last != "50\n":
        last = process.stdout.readline()
    process.kill()
    said = [last, *process.stdout.readlines()]
    process.wait()
    process.stdout.close()
    whole = [line for line in said if line.endswith("\n")]
    async with open_store(address) as store:
        examples = {row["example"] for row in await store.read(select(PromptRow.example))}
    assert {str(index) for index in range(int(whole[-1]) + 1)} <= examples


async def test_two_processes_may_begin_one_run_at_once(address: str) -> None:
    tasks = [Task(f"math/{n}", "math", f"What is {n}?", str(n)) for n in range(200)]
    async with open_store(address, create=True) as one, open_store(address) as other:
        for round_ in range(5):
            run = Run(f"r{round_}", {})
            assert len(set(await asyncio.gather(ensure_run(one, run, Rules()), ensure_run(other, run, Rules())))) == 1
            some = tasks[: 40 * (round_ + 1)]
            rows = await asyncio.gather(add_tasks(one, some), add_tasks(other, some[::-1]))
            assert rows[0] == rows[1]


async def test_a_store_that_is_held_for_a_while_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.opening._BUSY_SECONDS", 0.1)
    monkeypatch.setattr("store.writer._PAUSE", 0.1)
    file = tmp_path / "e.db"
    async with open_store(str(file), create=True) as store:
        with closing(sqlite3.connect(file, isolation_level=None)) as greedy:
            greedy.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(add_prompt(store, Prompt("s", "e")))
            await asyncio.sleep(1.0)
            assert not writing.done()
            greedy.execute("COMMIT")
            await writing
        assert len(await store.read(select(PromptRow.digest))) == 1


async def test_a_write_that_cannot_be_bound_fails_alone(tmp_path: Path) -> None:
    async with open_store(str(tmp_path / "e.db"), create=True) as store:

        def deep(_connection: object) -> None:
            raise RecursionError("too deep")

        huge = update(LeaseRow).values(epoch=10**30)
        for job in (deep, lambda connection: connection.execute(huge)):
            with pytest.raises((RecursionError, OverflowError)):
                await asyncio.wait_for(store.write(job), 10)
        await asyncio.wait_for(add_prompt(store, Prompt("s", "e")), 10)
