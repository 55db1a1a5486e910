"""Writing a task file and its manifest: sources, their licence and revision, what each step left, what was refused.

Nothing stands in the manifest that another run of the same command would say otherwise, such as the time: the same
sources and choice give the same bytes. Files are read back before they take their place.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from environments.environment import Environment, Row
from environments.faults import ErrataError, UsageError
from environments.hub import address, published
from environments.preparing import Preparation, Selection, Step
from environments.sources import HUB, Problem, read_rows, read_tasks
from environments.taskfile import encoded

if TYPE_CHECKING:
    from environments.types import Json, Task


@dataclass(frozen=True, slots=True)
class Output:
    path: Path
    force: bool = False
    """Write over files that are there."""
    preset: str | None = None
    licence: str | None = None

    def file(self, split: str) -> Path:
        return self.path.with_suffix(f".{split}.jsonl") if split else self.path

    @property
    def manifest(self) -> Path:
        return self.path.with_suffix(".manifest.json")


@dataclass(frozen=True, slots=True)
class Written:
    files: tuple[Path, ...]
    manifest: dict[str, Json]
    steps: tuple[Step, ...]
    told: tuple[str, ...]
    """What people should know: a line for each reason for which rows were passed over."""


def write(environment: Environment, sources: Sequence[str], wanted: Selection, output: Output) -> Written:
    names = [name for name, _ in wanted.splits] or [""]
    _may_write(output, names)
    facts = [_facts(source, output.licence) for source in sources]
    preparation = Preparation()
    tasks = preparation.read(environment, _rows(facts))
    if not tasks:
        told = "; ".join(map(str, preparation.problems[:3])) or "no rows"
        raise UsageError(f"{', '.join(sources)}: not one task of '{environment.name}' in it: {told}.")
    by_split = preparation.select(tasks, wanted)
    if not any(by_split.values()):
        left = "; ".join(f"{step.name}: {step.tasks:,}" for step in preparation.steps)
        raise UsageError(f"{', '.join(sources)}: no task is left ({left}).")
    by_split = {split: preparation.complete(environment, members) for split, members in by_split.items()}
    with _partial(output) as partial:
        hashes = {
            split: _written(environment, members, partial(output.file(split))) for split, members in by_split.items()
        }
        files = {output.file(split).name: _file(split, by_split[split], hashes[split]) for split in by_split}
        manifest = {**_manifest(environment, facts, preparation, wanted, output), "files": files}
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        partial(output.manifest).write_text(text, encoding="utf-8")
    return Written(
        (*map(output.file, by_split), output.manifest), manifest, tuple(preparation.steps), tuple(_told(preparation))
    )


def _may_write(output: Output, names: Sequence[str]) -> None:
    if output.path.suffix != ".jsonl":
        raise UsageError(
            f"--out {output.path}: a task file is JSON lines; call it {output.path.with_suffix('.jsonl')}."
        )
    if not output.path.parent.is_dir():
        raise UsageError(f"--out {output.path}: there is no folder {output.path.parent}.")
    there = [path for path in (*map(output.file, names), output.manifest) if path.exists()]
    if there and not output.force:
        raise UsageError(f"{there[0]} is there already; --force writes over it.")


def _facts(source: str, licence: str | None) -> dict[str, Json]:
    """Of the Hub the very commit, so that what is read is what the manifest names; of a file its hash."""
    if not source.startswith(HUB):
        return {"source": source, "sha256": _sha256(Path(source).expanduser()), "licence": licence}
    wanted = address(source.removeprefix(HUB))
    found = published(wanted)
    facts: dict[str, Json] = {"source": source, "licence": licence or (found.licence if found else None)}
    return facts | ({"revision": found.revision} if found else {})


def _rows(facts: Sequence[dict[str, Json]]) -> Iterator[Row]:
    for one in facts:
        source = str(one["source"])
        if "revision" in one:
            wanted = address(source.removeprefix(HUB))
            path = "/".join(filter(None, (wanted.path, wanted.config)))
            source = f"{HUB}{path}@{one['revision']}" + (f"#{wanted.split}" if wanted.split else "")
        yield from read_rows(source)


def _manifest(
    environment: Environment,
    facts: Sequence[dict[str, Json]],
    preparation: Preparation,
    wanted: Selection,
    output: Output,
) -> dict[str, Json]:
    return {
        "environment": environment.name,
        "sources": list(facts),
        "preset": output.preset,
        "where": [str(condition) for condition in wanted.where],
        "largest": {"by": list(wanted.largest), "tasks": wanted.most} if wanted.most is not None else None,
        "part": "/".join(map(str, wanted.part)),
        "count": wanted.count,
        "splits": dict(wanted.splits),
        "split_by": wanted.together,
        "seed": wanted.seed,
        "steps": [{"step": step.name, "left": step.tasks} for step in preparation.steps],
        "refused": [
            {"reason": one.reason, "rows": one.rows, "first": list(one.first)} for one in preparation.refused()
        ],
        "derived": dict(preparation.completed),
        "versions": {"errata": version("errata"), "datasets": version("datasets"), "python": sys.version.split()[0]},
    }


@contextmanager
def _partial(output: Output) -> Iterator[Callable[[Path], Path]]:
    """Gives for each file one to write in its stead. All take their places in the end, or none does."""
    ready: dict[Path, Path] = {}

    def partial(path: Path) -> Path:
        ready[path] = path.with_name(f".partial.{path.name}")
        return ready[path]

    try:
        yield partial
        for path, written in ready.items():
            written.replace(path)
    except OSError as error:
        raise ErrataError(f"cannot write {output.path}: {error.strerror or error}.") from error
    finally:
        for written in ready.values():
            written.unlink(missing_ok=True)


def _written(environment: Environment, tasks: Sequence[Task], path: Path) -> str:
    """Writes the tasks, reads them back, and gives the file's hash."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for task in tasks:
            line = encoded(task)
            digest.update(line)
            file.write(line)
    problems: list[Problem] = []
    found = read_tasks(environment, read_rows(path), problems)
    for task, other in zip_longest(tasks, found):
        if task is None or other is None or encoded(task) != encoded(other):
            unlike = task or other
            told = f"{unlike.id if unlike else ''}{''.join(f'; {problem.reason}' for problem in problems[:1])}"
            raise ErrataError(
                f"{environment.name}: what is read back is not what was written ({told}); nothing is kept."
            )
    return digest.hexdigest()


def _file(split: str, tasks: Sequence[Task], digest: str) -> dict[str, Json]:
    return {"split": split or None, "tasks": len(tasks), "sha256": digest}


def _told(preparation: Preparation) -> Iterator[str]:
    for one in preparation.refused():
        more = "" if one.rows == len(one.first) else f", and {one.rows - len(one.first):,} more"
        yield f"passed over {one.rows:,}: {one.reason} ({', '.join(one.first)}{more})"
    for what, tasks in preparation.completed.items():
        yield f"{tasks:,} tasks: {what}"


def _sha256(path: Path) -> str:
    """Of a folder, of all its files with their names."""
    if not path.is_dir():
        return _file_sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{_file_sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}.") from error
