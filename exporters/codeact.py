"""The schema of the published CodeActInstruct: an export concatenates with `xingyaoww/code-act` as it is.

A row is `{"id", "conversations": [{"role", "content"}, …]}`. It is written twice, as JSON lines for
people and as Parquet for the Hub.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypedDict

from environments.faults import ErrataError
from environments.types import Trajectory
from exporters.folder import Manifest, new_export, write_manifest
from exporters.view import messages, published

JSONL, PARQUET = "codeact.jsonl", "codeact.parquet"

_BATCH = 500
# The families under which the original files its tasks.
_TASK_TYPES = MappingProxyType(
    {
        "math": "reasoning",
        "gsm8k": "reasoning",
        "hotpotqa": "reasoning",
        "apps": "code_generation",
        "tables": "tabular",
        "alfworld": "decision_making",
    }
)


class Said(TypedDict):
    role: str
    content: str


class CodeActRow(TypedDict):
    id: str
    conversations: list[Said]


def codeact_row(trajectory: Trajectory) -> CodeActRow:
    said = published(messages(trajectory))
    return {"id": row_id(trajectory), "conversations": [{"role": one.role, "content": one.content} for one in said]}


def row_id(trajectory: Trajectory) -> str:
    """`errata/task_type/task_name/task_id/model/setting`; the setting names the run, the attempt and the stored row."""
    task, rules = trajectory.task, trajectory.rules
    family = task.environment.partition(":")[0]
    kind = _TASK_TYPES.get(family) or str(task.metadata.get("task_type") or "other")
    model = next((turn.reply.model for turn in trajectory.turns if turn.reply.model), trajectory.teacher)
    limits = f"max{rules.max_turns}_p{rules.max_solutions}"
    setting = f"{limits}+{trajectory.run}+a{trajectory.attempt}+t{trajectory.id}"
    parts = ("errata", kind, task.environment, task.id.removeprefix(f"{task.environment}/"), model, setting)
    return "/".join(part.replace("/", "-") for part in parts)


async def write_codeact(trajectories: AsyncIterable[Trajectory] | Iterable[Trajectory], out: Path) -> Manifest:
    """Write the rows into the folder `out`, one batch in memory at a time. Raises `ErrataError` when there are none."""
    with new_export(out) as folder:
        with _Files(folder) as files:
            async for trajectory in _each(trajectories):
                if trajectory.turns:
                    files.add(codeact_row(trajectory))
        if not files.rows:
            raise ErrataError(f"nothing to export to {out}: no trajectory was kept. `errata filter` shows the reasons.")
        manifest = Manifest("codeact", files.rows, (JSONL, PARQUET))
        write_manifest(folder, manifest)
    return manifest


async def _each(trajectories: AsyncIterable[Trajectory] | Iterable[Trajectory]) -> AsyncIterator[Trajectory]:
    if isinstance(trajectories, AsyncIterable):
        async for trajectory in trajectories:
            yield trajectory
    else:
        for trajectory in trajectories:
            yield trajectory


def _schema() -> Any:
    import pyarrow as pa

    said = pa.struct([("role", pa.string()), ("content", pa.string())])
    return pa.schema([("id", pa.string()), ("conversations", pa.list_(said))])


class _Files:
    """Both files, open; rows reach them in batches."""

    def __init__(self, folder: Path) -> None:
        import pyarrow.parquet as pq

        self.rows = 0
        self._batch: list[CodeActRow] = []
        self._schema = _schema()
        self._lines = (folder / JSONL).open("w", encoding="utf-8")
        self._parquet = pq.ParquetWriter(folder / PARQUET, self._schema, compression="zstd")

    def add(self, row: CodeActRow) -> None:
        self.rows += 1
        self._batch.append(row)
        if len(self._batch) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in self._batch)
        self._parquet.write_table(pa.Table.from_pylist(self._batch, schema=self._schema))
        self._batch.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._batch:
                self._flush()
        finally:
            self._lines.close()
            self._parquet.close()
