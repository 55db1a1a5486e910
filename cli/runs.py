"""`errata runs`: the runs of a store, a line each, or those that other processes work on, live."""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import STORE, AsJson, Run, Store, console, print_json, run
from environments.faults import UsageError

if TYPE_CHECKING:
    from store.queries import Group, Sums

_EVERY = 2.0
"""Seconds."""


def register(app: typer.Typer) -> None:
    app.command(name="runs")(runs)


def runs(
    store: Store = STORE,
    only_run: Run = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show runs of other processes, live.")] = False,
    every: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How often --watch looks [2].", min=0.1)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a store, how far they are, their cost."""
    if watch:
        _watch(store, only_run, every or _EVERY, as_json=as_json)
        return
    if every is not None:
        raise UsageError("--every goes with --watch: the seconds from one look to the next.")
    groups = run(_groups(store, only_run))
    by_run = {name: list(members) for name, members in groupby(groups, key=lambda group: group.run)}
    if as_json:
        print_json([_summary(name, members) for name, members in by_run.items()])
    else:
        _print_table(by_run)


def _watch(store: str, only_run: str | None, every: float, *, as_json: bool) -> None:
    from cli.watch import watch

    # To end it is what Ctrl-C is for here.
    with suppress(KeyboardInterrupt):
        run(watch(store, only_run, every, as_json=as_json))


async def _groups(address: str, only_run: str | None) -> list[Group]:
    from store.queries import group_sums
    from store.store import open_store

    async with open_store(address) as store:
        return await group_sums(store, only_run)


def _summary(name: str, groups: list[Group]) -> dict[str, object]:
    from store.queries import total

    sums = total(groups)
    return {
        "run": name,
        "started": groups[0].started.isoformat(),
        "environments": sorted({group.environment for group in groups}),
        "teachers": sorted({group.teacher for group in groups}),
        "trajectories": sums.trajectories,
        "finished": sums.finished,
        "solved": sums.solved,
        "failed": sums.failed,
        "unfinished": sums.unfinished,
        "tokens_in": sums.tokens_in,
        "tokens_out": sums.tokens_out,
        "cost_usd": str(sums.cost),
        "unpriced_replies": sums.unpriced,
    }


def _print_table(by_run: dict[str, list[Group]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from cli.words import dollars, share
    from store.queries import total

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("run", "environment", "teacher"):
        table.add_column(heading, overflow="fold")
    for heading in ("finished", "solved", "tokens", "cost"):
        table.add_column(heading, justify="right")
    table.add_column("started", no_wrap=True)
    for name, groups in by_run.items():
        sums = total(groups)
        table.add_row(
            Text(name),
            Text("\n".join(sorted({group.environment for group in groups}))),
            Text("\n".join(sorted({group.teacher for group in groups}))),
            _how_far(sums),
            share(sums.solved, sums.finished),
            f"{sums.tokens_in + sums.tokens_out:,}",
            dollars(sums.cost, sums.unpriced),
            groups[0].started.astimezone().strftime("%Y-%m-%d %H:%M"),
        )
    console().print(table if by_run else "No run has begun in this store.")


def _how_far(sums: Sums) -> str:
    rest = {"failed": sums.failed, "unfinished": sums.unfinished}
    return ", ".join([f"{sums.finished:,}", *(f"{count:,} {word}" for word, count in rest.items() if count)])
