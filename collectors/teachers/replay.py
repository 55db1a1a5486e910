"""A teacher that repeats replies recorded earlier: MINT's results files, or a store of our own.

Nothing is bought, so a replayed reply costs 0. From a store it keeps its recorded answer and usage;
MINT's logger kept the text alone, between `Assistant:\\n` and a newline that it put there itself.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from collectors.teachers.teacher import RecordingEnded, Recordings, Sampling, TeacherSpec
from environments.faults import UsageError
from environments.types import Json, Most, Reply, Request, Usage, clean


class ReplayTeacher:
    def __init__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None = None) -> None:
        for option in sampling.options:
            raise UsageError(f"{spec.name}: unknown teacher option '{option}'; a recording takes none.")
        self.name = spec.name
        self._recording = _open(spec, recordings)

    async def reply(self, request: Request) -> Reply:
        replies = self._recording.replies(request)
        if request.turn >= len(replies):
            raise RecordingEnded(f"{self.name}: no reply for turn {request.turn} of {request.task_id}")
        return replace(replies[request.turn], teacher=self.name, cost=Decimal(0))

    def most(self, request: Request) -> Most:
        return Most(0, Decimal(0))

    async def aclose(self) -> None:
        return None


class Recording(Protocol):
    def replies(self, request: Request) -> Sequence[Reply]:
        """In order of turns; none for work that was not recorded."""


def _open(spec: TeacherSpec, recordings: Recordings | None) -> Recording:
    if "://" not in spec.target:
        return MintRecording(Path(spec.target))
    if recordings is None:
        raise UsageError(f"{spec.name}: no store can be read here; name a MINT results file.")
    return StoreRecording(recordings(spec.target))


@dataclass(frozen=True)
class StoreRecording:
    trajectories: Mapping[tuple[str, int], Sequence[Reply]]

    def replies(self, request: Request) -> Sequence[Reply]:
        return self.trajectories.get((request.task_id, request.attempt), ())


class MintRecording:
    """One results file, or a folder of them: `…/<task set>/results.jsonl[.gz]`.

    The work `math/mint-12` is MINT's task 12. MINT counts each task set from 0, so within a folder of
    several the set's folder has to be what stands before `/mint-`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[tuple[str, str], tuple[str, ...]] = {}
        for file in _results_files(path):
            self._read(file)
        self._sets = {task_set for task_set, _ in self._texts}

    def replies(self, request: Request) -> Sequence[Reply]:
        task_set, _, task = request.task_id.partition("/mint-")
        if len(self._sets) == 1:
            (task_set,) = self._sets
        return [self._reply(text) for text in self._texts.get((task_set, task), ())]

    def _reply(self, text: str) -> Reply:
        return Reply(
            text=text,
            teacher="",
            model="recorded",
            stop_reason="recorded",
            usage=Usage(),
            latency=0.0,
            cost=None,
            raw={"replayed_from": str(self._path)},
        )

    def _read(self, file: Path) -> None:
        for number, line in enumerate(_lines(file), 1):
            task, texts = _result(line, f"{file}:{number}")
            key = (file.parent.name, task)
            if key in self._texts:
                raise UsageError(f"{file}:{number}: {key[0]} {task} was recorded twice; name one model's folder.")
            self._texts[key] = texts


def _results_files(path: Path) -> Sequence[Path]:
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*.jsonl*") if file.suffix in (".jsonl", ".gz"))
    if not files:
        raise UsageError(f"{path} holds no recording: neither a MINT results file nor a folder of them.")
    return files


def _lines(file: Path) -> Iterator[str]:
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            yield from lines
    except (OSError, EOFError, UnicodeDecodeError) as error:
        hint = "A store is named by its URL: replay:sqlite:///errata.db."
        raise UsageError(f"the recording {file} cannot be read: {error}. {hint}") from error


def _result(line: str, where: str) -> tuple[str, tuple[str, ...]]:
    try:
        record: Json = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: not JSON: {error}.") from error
    match record:
        case {"task": {"task_id": int() | str() as task}, "state": {"history": [*history]}}:
            return str(task), tuple(_said(history))
    raise UsageError(f"{where}: not one of MINT's results: it has no task.task_id or state.history.")


def _said(history: Sequence[Json]) -> Iterator[str]:
    for message in history:
        match message:
            case {"role": "assistant", "content": str(content)}:
                yield clean(content.removesuffix("\n").removeprefix("Assistant:\n"))
