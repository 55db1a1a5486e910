"""Stores as large runs leave them: generated, in bulk, and kept in the temporary folder for the next time.

Every row is one that `store/log.py` could have written, as wide as real ones are: a task of 2 kB, a raw answer of 2 kB,
five turns of which one or two fail, a provenance of 800 bytes. What one trajectory says is drawn from a few hundred
texts, so that making half a million turns takes a minute and not an hour. Of the tasks, `OPEN` are left to do; one of
these has been begun, and its turns are true: a resume that runs them again finds what is recorded.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Connection, insert

from benchmarks.chaos_teacher import PROBLEM, sum_of_squares
from collectors.config import make_config
from environments.environment import make_environment
from environments.errors import ERRORS_VERSION
from environments.protocol import render
from environments.protocol.parse import POLICIES
from environments.sources import load_tasks
from environments.types import CellError, CellResult, Grade, Json, Observation, Prompt, Reply, Rules, Run, Turn, Usage
from filters.filter import reads_errors
from store import records
from store.log import add_prompt, add_tasks, ensure_run
from store.opening import HEAD, Engines
from store.schema import Base, CallRow, ErrorEventRow, GradeRow, TrajectoryRow, TurnRow
from store.store import open_store

FOLDER = Path(tempfile.gettempdir()) / "errata-stores"
FORM = 1
"""Raise it with every change of what is generated: stores made before are then made anew."""
RUN, TEACHER = "grown", "openai:chaos"
OPEN, BEGUN_TURNS, TURNS = 8, 3, 5
AT_ONCE = 500
VARIANTS = 200
TASK, THOUGHT = 2_000, 1_400
"""Characters."""

SENTENCE = (
    "let the sum of all squares be taken over every integer that divides a given number without remainder and "
    "compare what comes out with the closed form which was derived above by induction on n so we may conclude"
)
WORDS = SENTENCE.split()
CODE = (
    "import numpy as np\nn = {n}\nsquares = np.arange(1, n + 1) ** 2\nprint(squares[:5], squares.sum())",
    "terms = [f'{{i}}^2' for i in range(1, {n})]\nprint(' + '.join(terms)[:40], len(terms))",
    "print(squares.total())",
    "print(closed({n}) == squares.sum())",
)
TRACEBACK = "".join(f"  File <cell {n}>, line {n}, in function_{n}\n    {' '.join(WORDS[:8])}\n" for n in range(5))
ERROR = CellError("AttributeError", "'numpy.ndarray' object has no attribute 'total'", TRACEBACK)
ERRORS = {True: ((2, "E1"),), False: ((2, "E1"), (4, "E4"))}
"""Turn and class, of those that were solved and of those that were not."""
USAGE = Usage(input=2_100, output=420, cache_read=1_024)
COST = Decimal("0.006825")


@dataclass(frozen=True, slots=True)
class Stored:
    """A generated store, with so many trajectories that have ended."""

    folder: Path
    ended: int

    @property
    def address(self) -> str:
        return f"sqlite:///{self.folder / 'errata.db'}"

    @property
    def source(self) -> Path:
        return self.folder / "tasks.jsonl"

    @property
    def command(self) -> tuple[str, ...]:
        """What goes on with it. The teacher's address comes from the environment, or the run would be another."""
        return (
            "collect", "--env", "math", "--run", RUN, "--store", self.address, "--teacher", TEACHER,
            "--data", str(self.source), "--concurrency", str(OPEN),
        )  # fmt: skip


def stored(ended: int) -> Stored:
    """Made if there is none of this size and schema yet."""
    found = Stored(FOLDER / f"{ended}-{schema()}-{FORM}", ended)
    whole = found.folder / "whole"
    if not whole.exists():
        shutil.rmtree(found.folder, ignore_errors=True)
        found.folder.mkdir(parents=True)
        found.source.write_text("".join(source_lines(ended + OPEN)), encoding="utf-8")
        asyncio.run(fill(found))
        whole.touch()
    return found


def schema() -> str:
    """Another one for every other schema, and for every other reading of errors."""
    tables = Base.metadata.tables.values()
    columns = [str(column) for table in tables for column in table.columns]
    indexed = [f"{index.name}: {column}" for table in tables for index in table.indexes for column in index.columns]
    said = " ".join([*sorted(columns), *sorted(indexed), str(reads_errors(0))])
    return f"{HEAD}-{zlib.crc32(said.encode()):08x}"


def source_lines(tasks: int) -> Iterator[str]:
    chance = Random("tasks")
    told = [" ".join(chance.choices(WORDS, k=TASK // 5)) for _ in range(VARIANTS)]
    for n in range(tasks):
        row = {"id": n, "problem": f"{PROBLEM.format(n=n)} {told[n % VARIANTS]}", "answer": str(sum_of_squares(n))}
        yield json.dumps(row) + "\n"


async def fill(store: Stored) -> None:
    environment = make_environment("math")
    rules = Rules()
    tasks = load_tasks(environment, str(store.source)).tasks
    prompt = render.make_prompt(environment, rules, tasks[0])
    async with open_store(store.address, create=True) as opened:
        run_id = await ensure_run(opened, Run(RUN, config(store)), rules)
        await add_prompt(opened, prompt)
        rows = await add_tasks(opened, tasks)
    engines = Engines(store.address)
    try:
        generator = Generator(run_id, prompt, rules)
        ids = [rows[task.id] for task in tasks[: store.ended]]
        for start in range(0, store.ended, AT_ONCE):
            with engines.writer.begin() as connection:
                generator.write(connection, range(start, min(start + AT_ONCE, store.ended)), ids)
        with engines.writer.begin() as connection:
            generator.write_begun(connection, store.ended, rows[tasks[store.ended].id])
    finally:
        engines.dispose()


def config(store: Stored) -> Mapping[str, Json]:
    return make_config({"env": "math", "teachers": [TEACHER], "data": str(store.source)}).saved()


class Generator:
    def __init__(self, run_id: int, prompt: Prompt, rules: Rules) -> None:
        self.run_id, self.prompt, self.rules = run_id, prompt, rules
        self.began = datetime.now(UTC) - timedelta(days=3)
        self.variants = [self._turns(number) for number in range(VARIANTS)]
        self.provenance = {"python": "3.12", "platform": "linux", "revision": "0" * 40, **dict.fromkeys(WORDS, "1.2.3")}

    def write(self, connection: Connection, numbers: range, task_rows: Sequence[int]) -> None:
        """Trajectories that have ended, each with all that belongs to it."""
        tables: tuple[type[Base], ...] = (TrajectoryRow, TurnRow, CallRow, GradeRow, ErrorEventRow)
        rows: dict[type[Base], list[dict[str, Any]]] = {table: [] for table in tables}
        for number in numbers:
            self._add(rows, number, task_rows[number])
        for table, values in rows.items():
            connection.execute(insert(table), values)

    def write_begun(self, connection: Connection, number: int, task_row: int) -> None:
        values = self._trajectory(number, task_row)
        connection.execute(insert(TrajectoryRow), [values])
        turns = [
            self._turn(position, f"<execute>\nprint({position})\n</execute>", CellResult(f"{position}\n"))
            for position in range(BEGUN_TURNS)
        ]
        connection.execute(insert(TurnRow), [self._turn_values(number, turn, turn_row(turn)) for turn in turns])

    def _add(self, rows: dict[type[Base], list[dict[str, Any]]], number: int, task_row: int) -> None:
        solved, identity = number % 5 < 3, number + 1
        rows[TrajectoryRow].append(self._trajectory(number, task_row) | self._end(number, solved=solved))
        for turn, values in self.variants[number % VARIANTS]:
            own = self._turn_values(number, turn, values)
            rows[TurnRow].append(own)
            rows[CallRow].append(self._call(number, turn))
        grade = Grade(correct=solved, score=float(solved))
        rows[GradeRow].append({"turn_id": number * TURNS + TURNS, **asdict(grade)})
        for position, kind in ERRORS[solved]:
            event = {"trajectory_id": identity, "position": position, "kind": kind, "version": ERRORS_VERSION}
            signature = f"{ERROR.name}: {ERROR.value}"
            rows[ErrorEventRow].append(event | {"signature": signature, "detail": {"line": CODE[2]}})

    def _trajectory(self, number: int, task_row: int) -> dict[str, Any]:
        return {
            "id": number + 1, "run_id": self.run_id, "task_row": task_row, "teacher": TEACHER, "attempt": 0,
            "environment": "math", "prompt_digest": self.prompt.digest, "isolation": "namespaces", "seed": number,
            "provenance": self.provenance, "started": self.began, "epoch": 1,
        }  # fmt: skip

    def _end(self, number: int, *, solved: bool) -> dict[str, Any]:
        return {
            "stop": "solved" if solved else "max_turns", "note": "", "ended": self.began + timedelta(seconds=number),
            "turns": TURNS, "tokens_in": TURNS * USAGE.input, "tokens_out": TURNS * USAGE.output,
            "tokens_cache_read": TURNS * USAGE.cache_read, "tokens_cache_write": 0, "cost": TURNS * COST, "unpriced": 0,
            "assessed": reads_errors(0), "level": "R2" if solved else "U",
            "errors": " ".join(f"{kind}:1" for _, kind in ERRORS[solved]),
        }  # fmt: skip

    def _turn_values(self, number: int, turn: Turn, values: dict[str, Any]) -> dict[str, Any]:
        own = {"id": number * TURNS + turn.index + 1, "trajectory_id": number + 1, "position": turn.index}
        raw = {"id": f"chatcmpl-{number}-{turn.index}", **values["raw"]}
        moments = {"received": self.began, "observed": self.began}
        return values | own | moments | {"text": f"{number}: {values['text']}", "raw": raw}

    def _call(self, number: int, turn: Turn) -> dict[str, Any]:
        return {
            "trajectory_id": number + 1, "position": turn.index, "started": self.began, "seconds": 2.5, "lost": False
        }  # fmt: skip

    # -- what is said --------------------------------------------------------------------------------

    def _turns(self, number: int) -> list[tuple[Turn, dict[str, Any]]]:
        chance = Random(f"turns {number}")
        results = (
            CellResult("[1 4 9 16 25] 385\n"),
            CellResult("1^2 + 2^2 40\n"),
            CellResult(error=ERROR),
            CellResult("True\n"),
        )
        turns = []
        for position in range(TURNS):
            thought = " ".join(chance.choices(WORDS, k=THOUGHT // 5))
            cell = position < len(CODE)
            action = f"<execute>\n{CODE[position].format(n=number)}\n</execute>" if cell else "<solution>385</solution>"
            turns.append(self._turn(position, f"{thought}\n{action}", results[position] if cell else None))
        return [(turn, turn_row(turn)) for turn in turns]

    def _turn(self, position: int, text: str, result: CellResult | None) -> Turn:
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        details: Json = {"cached_tokens": USAGE.cache_read}
        raw: Json = {
            "object": "chat.completion", "created": 1_790_000_000, "model": "chaos", "system_fingerprint": "fp_012345",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": USAGE.input, "completion_tokens": USAGE.output, "prompt_tokens_details": details
            },
        }  # fmt: skip
        reply = Reply(text, TEACHER, "chaos", "stop", USAGE, 2.5, COST, raw)
        body = render.correct_text() if result is None else render.cell_text(result, self.rules.observation_limit)
        shown = render.observe(body, self.rules, position + 1, int(result is None))
        return Turn(position, reply, POLICIES[self.rules.policy](text), Observation(shown, result))


def turn_row(turn: Turn) -> dict[str, Any]:
    return {"abandoned": False, **records.reply_values(turn.reply), **records.turn_values(turn)}
