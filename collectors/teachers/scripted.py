"""A teacher that reads its replies from a tape: for demonstrations, tests and benchmarks, without a key.

A tape is JSON lines: `{"task": "math/132", "attempt": 0, "replies": ["…", "…"]}`. Reply n answers turn n;
a line without `attempt` holds for every attempt that has no line of its own. `scripted:demo` is ours.
`--teacher-option delay=0.2` makes each reply take that many seconds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from collectors.teachers.teacher import RecordingEnded, Recordings, Sampling, TeacherSpec
from environments.faults import UsageError
from environments.types import Json, Most, Reply, Request, Usage, clean

DEMO_TAPE = Path(__file__).parent / "tapes" / "demo.jsonl"

Tape: TypeAlias = Mapping[tuple[str, int | None], Sequence[str]]
"""(task id, attempt; None for any) → replies."""


class ScriptedTeacher:
    def __init__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None = None) -> None:
        self.name = spec.name
        self._delay = _delay(spec, sampling)
        self._path = DEMO_TAPE if spec.target == "demo" else Path(spec.target)
        self._tape = read_tape(self._path)

    async def reply(self, request: Request) -> Reply:
        started = time.perf_counter()
        await asyncio.sleep(self._delay)
        return Reply(
            text=self._text(request),
            teacher=self.name,
            model="scripted",
            stop_reason="stop",
            usage=Usage(),
            latency=time.perf_counter() - started,
            cost=Decimal(0),
            raw={"replayed_from": str(self._path)},
        )

    def _text(self, request: Request) -> str:
        task = request.task_id
        replies = self._tape.get((task, request.attempt), self._tape.get((task, None), ()))
        if request.turn < len(replies):
            return replies[request.turn]
        raise RecordingEnded(f"{self._path}: no reply for turn {request.turn} of {task}")

    def most(self, request: Request) -> Most:
        return Most(0, Decimal(0))

    async def aclose(self) -> None:
        return None


def read_tape(path: Path) -> Tape:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # splitlines() would cut inside strings
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the tape {path} cannot be read: {error}.") from error
    tape: dict[tuple[str, int | None], Sequence[str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        key, replies = _line(line, f"{path}:{number}")
        if key in tape:
            raise UsageError(f"{path}:{number}: {key[0]} (attempt {key[1]}) stands on an earlier line too.")
        tape[key] = replies
    return tape


def _line(line: str, where: str) -> tuple[tuple[str, int | None], Sequence[str]]:
    try:
        record: Json = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}.") from error
    match record:
        case {"task": str(task), "replies": [*replies], **rest} if all(isinstance(reply, str) for reply in replies):
            attempt = rest.get("attempt")
            if attempt is None or isinstance(attempt, int):
                return (task, attempt), [clean(str(reply)) for reply in replies]
    raise UsageError(f'{where}: a line of a tape reads {{"task": "math/1", "attempt": 0, "replies": ["…"]}}.')


def _delay(spec: TeacherSpec, sampling: Sampling) -> float:
    for option in sampling.options.keys() - {"delay"}:
        raise UsageError(f"{spec.name}: unknown teacher option '{option}'; a tape takes delay=SECONDS.")
    delay = sampling.options.get("delay", 0.0)
    if isinstance(delay, (int, float)) and delay >= 0:
        return float(delay)
    raise UsageError(f"{spec.name}: the option delay is {delay!r}; give seconds.")
