"""`errata show ID`: one trajectory, its errors and their fixes marked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import STORE, AsJson, Store, console, print_json, run

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from environments.types import ErrorEvent, Recovery, Trajectory, Turn

_LINES = 16
"""Lines of an observation shown without --full."""


def register(app: typer.Typer) -> None:
    app.command(name="show")(show)


def show(
    trajectory_id: Annotated[int, typer.Argument(metavar="ID", help="A trajectory's number.", min=1, max=2**63 - 1)],
    full: Annotated[bool, typer.Option("--full", help="Show long observations whole, and the prompt.")] = False,
    store: Store = STORE,
    as_json: AsJson = False,
) -> None:
    """Show one trajectory, its errors and fixes marked."""
    trajectory = run(_load(store, trajectory_id))
    if as_json:
        print_json(asdict(trajectory))
    else:
        print_trajectory(console(), trajectory, full=full)


async def _load(address: str, trajectory_id: int) -> Trajectory:
    from store.load import load_trajectory
    from store.store import open_store

    async with open_store(address) as store:
        return await load_trajectory(store, trajectory_id)


def print_trajectory(out: Console, trajectory: Trajectory, *, full: bool = False) -> None:
    from environments.errors import error_events
    from filters.recovery import recovery

    events = error_events(trajectory)
    found = recovery(trajectory, events)
    out.print(_heading(trajectory, found), highlight=False)
    if full:
        out.print(trajectory.prompt.system, style="dim", highlight=False, markup=False)
    out.print(f"\n[bold]Task[/bold]\n{_escape(trajectory.task.prompt)}", highlight=False)
    for turn in trajectory.turns:
        mine = [event for event in events if event.turn == turn.index]
        fixed = [start for start, end in found.spans if end == turn.index]
        for part in _turn(turn, mine, fixed, full):
            out.print(part, highlight=False)


def _heading(trajectory: Trajectory, found: Recovery) -> str:
    outcome = trajectory.outcome
    end = "under way" if outcome is None else outcome.stop.replace("_", " ")
    colour = "green" if trajectory.solved else "red"
    note = f" ({_escape(outcome.note)})" if outcome and outcome.note else ""
    return (
        f"[bold]{_escape(trajectory.task.id)}[/bold] · {_escape(trajectory.teacher)} · attempt {trajectory.attempt} · "
        f"run {_escape(trajectory.run)} · isolation {trajectory.isolation}\n"
        f"[{colour}]{end}[/{colour}]{note} · {_LEVELS[found.level]}"
    )


_LEVELS = {
    "U": "U: not solved",
    "R0": "R0: no error was made",
    "R1": "R1: solved, its errors bypassed",
    "R2": "R2: an error was fixed",
    "R3": "R3: an error was fixed, and the fix was used",
    "R4": "R4: errors of several kinds were fixed, and the fixes used",
}


def _turn(turn: Turn, events: list[ErrorEvent], fixed: list[int], full: bool) -> Iterator[RenderableType]:
    from rich.syntax import Syntax
    from rich.text import Text

    marks = [f"[bold red]✗ {event.kind} {_escape(event.signature[:100])}[/bold red]" for event in events]
    marks += [f"[bold green]✓ fixes the error of turn {start + 1}[/bold green]" for start in fixed]
    yield f"\n[bold cyan]Turn {turn.index + 1}[/bold cyan]  {'   '.join(marks)}"
    before, code, after = _split(turn)
    if before:
        yield Text(before)
    if code:
        yield Syntax(code, "python", theme="ansi_dark", word_wrap=True, background_color="default")
    if after:
        yield Text(after, style="bold")
    if turn.grade and turn.grade.correct:
        yield "[green]accepted[/green]"  # The observation of a last turn is stored, and was never sent.
    else:
        yield Text(_shortened(turn.observation.text, full), style="red" if events else "dim")


def _split(turn: Turn) -> tuple[str, str, str]:
    """The reply's words, its code, and what is not code."""
    text = re.sub(r"</?thought>", "", turn.spoken).strip()
    if turn.action.kind != "code":
        return "", "", text
    return text.partition("<execute>")[0].strip(), turn.action.content, ""


def _shortened(text: str, full: bool) -> str:
    lines = text.splitlines()
    if full or len(lines) <= _LINES:
        return text
    half = _LINES // 2
    return "\n".join([*lines[:half], f"… {len(lines) - _LINES} lines, shown by --full …", *lines[-half:]])


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
