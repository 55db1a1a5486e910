"""A run's log for programs: one JSON object a line, appended as things happen.

A line is one `write` to a file opened for appending, so several processes may share it, and a process
that is killed leaves whole lines. It only tells what happened: nothing is ever read back from it, and
where it cannot be written the run goes on.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from collectors.teachers.teacher import without_password
from environments.types import Assessment, Call, Json, Reply, Trajectory, Work

if TYPE_CHECKING:
    from collectors.attempt import Observer

_LONGEST = 500
"""Characters of a message."""
_SHORTEST_SECRET = 8
_SECRET_VARIABLE = re.compile(r"(_API_KEY|_TOKEN|_SECRET|PASSWORD)$")
_SECRET_SETTING = re.compile(r"(?i)key$|authorization|password|secret|cookie|(^|[_-])token$")
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


class RunLog:
    """An observer that writes. `warn` is told once when the file cannot be written."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self.path = path
        self._warn = warn
        self._warned = False
        self._lost = 0
        self._torn = False
        self._pid = os.getpid()
        self._secrets = tuple(_secrets(os.environ))
        self._answered: dict[int, int] = {}
        """Turn by trajectory, of a reply that will be told of next."""
        self._file = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def started(self, run: str, config: Mapping[str, Json], versions: Mapping[str, Json], **facts: Json) -> None:
        """The first event of a process."""
        self.event("started", run=run, config=config, versions=versions, **facts)

    def event(self, name: str, /, **facts: Json) -> None:
        """Any event that is not an observer's: limits that changed, a budget used up, a lease lost."""
        self._write(name, {key: self._shown(key, value) for key, value in facts.items()})

    # -- collectors.attempt.Observer -------------------------------------------------------------

    def planned(self, total: int, finished: int) -> None:
        self._write("planned", {"total": total, "finished": finished})

    def begun(self, trajectory_id: int, work: Work) -> None:
        self._write("begun", {"trajectory": trajectory_id, **self._of(work.task_id, work.teacher, work.attempt)})

    def called(self, trajectory_id: int, teacher: str, call: Call) -> None:
        if call.fault is None:
            self._answered[trajectory_id] = call.turn
        facts: dict[str, Json] = {
            "trajectory": trajectory_id,
            "teacher": self._clear(teacher),
            "turn": call.turn,
            "seconds": round(call.seconds, 3),
        }
        if call.fault is not None:
            facts |= {"fault": call.fault, "lost": call.lost}
        told: dict[str, Json] = {
            "status": call.status,
            "retry_after": call.retry_after,
            "request_id": call.request_id,
            "message": self._clear(call.message or "") or None,
        }
        self._write("called", facts | {key: value for key, value in told.items() if value is not None})

    def replied(self, trajectory_id: int, reply: Reply) -> None:
        usage = reply.usage
        self._write(
            "replied",
            {
                "trajectory": trajectory_id,
                "teacher": self._clear(reply.teacher),
                "turn": self._answered.pop(trajectory_id, None),
                "model": reply.model,
                "tokens_in": usage.input,
                "tokens_out": usage.output,
                "tokens_cache_read": usage.cache_read,
                "tokens_cache_write": usage.cache_write,
                "cost_usd": None if reply.cost is None else str(reply.cost),
                "latency": round(reply.latency, 3),
                "stop_reason": reply.stop_reason,
            },
        )

    def ended(self, trajectory: Trajectory, assessment: Assessment) -> None:
        outcome = trajectory.outcome
        self._write(
            "ended",
            {
                "trajectory": trajectory.id,
                **self._of(trajectory.task.id, trajectory.teacher, trajectory.attempt),
                "stop": outcome.stop if outcome else None,
                "note": self._clear(outcome.note) if outcome else "",
                "turns": len(trajectory.turns),
                "errors": dict(Counter(event.kind for event in assessment.events)),
                "level": assessment.recovery.level,
            },
        )

    def ended_elsewhere(self, work: Work) -> None:
        self._write("ended_elsewhere", self._of(work.task_id, work.teacher, work.attempt))

    def waiting(self, count: int) -> None:
        self._write("waiting", {"count": count})

    def warned(self, message: str) -> None:
        self._write("warned", {"message": self._clear(message)})

    # --------------------------------------------------------------------------------------------

    def _of(self, task_id: str, teacher: str, attempt: int) -> dict[str, Json]:
        return {"task": task_id, "teacher": self._clear(teacher), "attempt": attempt}

    def _open(self) -> int | None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            self._complain(error)
            return None
        size = os.fstat(file).st_size
        self._torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        return file

    def _write(self, name: str, facts: Mapping[str, Json]) -> None:
        if self._file is None:
            return
        line = self._line(name, facts)
        if self._lost:
            line = self._line("lines_lost", {"count": self._lost}) + line
        if self._torn:
            line = b"\n" + line
        try:
            written = os.write(self._file, line)
        except OSError as error:
            self._lost += 1
            self._complain(error)
            return
        if written == len(line):
            self._lost, self._torn = 0, False
        else:  # The disk has just filled up.
            self._lost, self._torn = self._lost + 1, True

    def _line(self, name: str, facts: Mapping[str, Json]) -> bytes:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"at": at, "pid": self._pid, "event": name, **facts}
        # A lone surrogate, which UTF-8 has no form for, becomes what JSON writes for it.
        return _ENCODER.encode(record).encode("utf-8", "backslashreplace") + b"\n"

    def _complain(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"cannot write the run's log {self.path}: {error.strerror}. The run goes on without it.")

    def _shown(self, name: str, value: Json) -> Json:
        """`value` without secrets, whatever it is made of."""
        if isinstance(value, str):
            return "***" if _SECRET_SETTING.search(name) else self._clear(value)
        if isinstance(value, Mapping):
            return {key: self._shown(key, inner) for key, inner in value.items()}
        if isinstance(value, Sequence):
            return [self._shown(name, inner) for inner in value]
        return value

    def _clear(self, text: str) -> str:
        """`text`, not too long, without passwords and keys."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = without_password(text)
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def planned(self, total: int, finished: int) -> None:
        for observer in self._observers:
            observer.planned(total, finished)

    def begun(self, trajectory_id: int, work: Work) -> None:
        for observer in self._observers:
            observer.begun(trajectory_id, work)

    def called(self, trajectory_id: int, teacher: str, call: Call) -> None:
        for observer in self._observers:
            observer.called(trajectory_id, teacher, call)

    def replied(self, trajectory_id: int, reply: Reply) -> None:
        for observer in self._observers:
            observer.replied(trajectory_id, reply)

    def ended(self, trajectory: Trajectory, assessment: Assessment) -> None:
        for observer in self._observers:
            observer.ended(trajectory, assessment)

    def ended_elsewhere(self, work: Work) -> None:
        for observer in self._observers:
            observer.ended_elsewhere(work)

    def waiting(self, count: int) -> None:
        for observer in self._observers:
            observer.waiting(count)

    def warned(self, message: str) -> None:
        for observer in self._observers:
            observer.warned(message)


def _secrets(environ: Mapping[str, str]) -> list[str]:
    """The keys and passwords that this process was given: a provider's message may quote them."""
    found = {value for name, value in environ.items() if _SECRET_VARIABLE.search(name)}
    return [value for value in found if len(value) >= _SHORTEST_SECRET]
