"""`errata envs`: the environments that are installed, ours and others', and what each needs and brings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from cli.options import AsJson, console, print_json

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def register(app: typer.Typer) -> None:
    app.command(name="envs")(envs)


@dataclass(frozen=True, slots=True)
class Listed:
    """What an environment says of itself. One that cannot be imported is listed too, and says why."""

    name: str
    summary: str
    variants: tuple[str, ...]
    functions: tuple[str, ...]
    grading: str
    data: str
    demo_tasks: int
    extra: str | None
    missing: tuple[str, ...]
    """Packages of the extra that are not installed."""
    install: str | None
    """What puts them in place."""
    trouble: str | None = None


def listed(name: str) -> Listed | None:
    """Of an environment by its registered name, a variant's aside; None for one that is not registered."""
    from importlib.metadata import entry_points

    from environments.environment import ENTRY_POINTS

    points = entry_points(group=ENTRY_POINTS, name=name.partition(":")[0])
    return next(map(_listed, points), None)


def envs(as_json: AsJson = False) -> None:
    """List the environments: tasks, functions, grader, data, what is missing."""
    from importlib.metadata import entry_points

    from environments.environment import ENTRY_POINTS

    points = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    found = [_listed(point) for point in points]
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        _print_table(found)


def _listed(point: EntryPoint) -> Listed:
    distribution = point.dist.name if point.dist else "errata"
    try:
        kind = point.load()
    except ImportError as error:
        return Listed(point.name, "", (), (), "", "", 0, None, (), None, f"cannot be imported: {error}")
    extra = getattr(kind, "extra", None)
    missing = _missing(distribution, extra) if extra else ()
    return Listed(
        name=point.name,
        summary=getattr(kind, "summary", ""),
        variants=tuple(getattr(kind, "variants", ())),
        functions=tuple(function.__name__ for function in getattr(kind, "functions", ())),
        grading=getattr(kind, "grading", ""),
        data=getattr(kind, "data", ""),
        demo_tasks=_demo_tasks(getattr(kind, "demo", None)),
        extra=extra,
        missing=missing,
        install=f"pip install '{distribution}[{extra}]'" if missing else None,
    )


def _demo_tasks(path: str | None) -> int:
    from environments.sources import read_rows

    return sum(1 for _ in read_rows(path)) if path else 0


def _missing(distribution: str, extra: str) -> tuple[str, ...]:
    import re
    from importlib.metadata import PackageNotFoundError, requires, version

    missing = []
    for requirement in requires(distribution) or ():
        name = re.match(r"[\w.-]+", requirement)
        if name is None or not re.search(rf"extra\s*==\s*['\"]{re.escape(extra)}['\"]", requirement):
            continue
        try:
            version(name[0])
        except PackageNotFoundError:
            missing.append(name[0])
    return tuple(missing)


def _print_table(found: list[Listed]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("--env", no_wrap=True)
    table.add_column("a task is, and where there are more", overflow="fold")
    table.add_column("functions", max_width=30)
    table.add_column("graded as")
    table.add_column("bundled", justify="right")
    table.add_column("needs", no_wrap=True)
    for one in found:
        names = [f"{one.name}:{variant}" for variant in one.variants] or [one.name]
        cells = (
            "\n".join(names), one.trouble or "\n".join(filter(None, (one.summary, one.data))) or "–",
            ", ".join(one.functions) or "–", one.grading or "–", f"{one.demo_tasks:,}" if one.demo_tasks else "–",
            _needed(one),
        )  # fmt: skip
        table.add_row(*map(Text, cells), style="red" if one.trouble else "")
    console().print(table)


def _needed(one: Listed) -> str:
    if one.missing:
        return f"{', '.join(one.missing)}:\n{one.install}"
    return f"{one.extra}, installed" if one.extra else "nothing more"
