"""`errata stats`: what was solved, by environment and teacher, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cli.options import STORE, AsJson, Run, Store, console, print_json, run

if TYPE_CHECKING:
    from store.queries import Group


def register(app: typer.Typer) -> None:
    app.command(name="stats")(stats)


def stats(store: Store = STORE, only_run: Run = None, as_json: AsJson = False) -> None:
    """Show yield and cost by environment and teacher.

    Solved, turns, tokens, dollars, and errors by class.
    """
    groups = run(_groups(store, only_run))
    if as_json:
        print_json([_record(group) for group in groups])
    else:
        _print_table(groups)


async def _groups(address: str, only_run: str | None) -> list[Group]:
    from store.queries import group_sums
    from store.store import open_store

    async with open_store(address) as store:
        return await group_sums(store, only_run)


def _record(group: Group) -> dict[str, object]:
    sums = group.sums
    return {
        "run": group.run,
        "environment": group.environment,
        "teacher": group.teacher,
        "finished": sums.finished,
        "solved": sums.solved,
        "turns": sums.turns,
        "tokens_in": sums.tokens_in,
        "tokens_out": sums.tokens_out,
        "cost_usd": str(sums.cost),
        "unpriced_replies": sums.unpriced,
        "errors": dict(sums.errors),
    }


def _print_table(groups: list[Group]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cli.words import classes, dollars, share

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("run", "environment", "teacher"):
        table.add_column(heading, overflow="fold")
    for heading in ("finished", "solved", "turns each", "tokens", "cost", "a solved one"):
        table.add_column(heading, justify="right")
    table.add_column("errors")
    for group in groups:
        sums = group.sums
        table.add_row(
            Text(group.run),
            Text(group.environment),
            Text(group.teacher),
            f"{sums.finished:,}",
            share(sums.solved, sums.finished),
            f"{sums.turns / sums.trajectories:.1f}",
            f"{sums.tokens_in + sums.tokens_out:,}",
            dollars(sums.cost, sums.unpriced),
            dollars(sums.cost / sums.solved) if sums.solved and not sums.unpriced else "–",
            classes(sums.errors),
        )
    console().print(table if groups else "No trajectory has begun in this store.")
    if groups and not any(group.sums.errors for group in groups):
        Console(stderr=True).print("Errors are counted by `errata filter`.", style="dim")
