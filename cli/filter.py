"""`errata filter`: judge trajectories by a recipe, keep the verdicts, print the funnel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from cli.options import STORE, AsJson, Recipe, Run, Store, console, print_json, run

if TYPE_CHECKING:
    from rich.console import Console

    from filters.run import Funnel


def register(app: typer.Typer) -> None:
    app.command(name="filter")(filter_)


def filter_(recipe: Recipe = "recovered", only_run: Run = None, store: Store = STORE, as_json: AsJson = False) -> None:
    """Judge trajectories by a recipe, and show the funnel.

    Every finished trajectory gets a verdict of each step; what was judged before is not judged again.
    """
    funnel = run(_filter(store, recipe, only_run))
    if as_json:
        print_json(funnel.as_json())
    else:
        print_funnel(console(), funnel)


async def _filter(address: str, recipe: str, only_run: str | None) -> Funnel:
    from filters.recipe import load_recipe
    from filters.run import filter_store
    from store.store import open_store

    loaded = load_recipe(recipe)
    async with open_store(address) as store:
        return await filter_store(store, loaded, run=only_run)


def print_funnel(out: Console, funnel: Funnel) -> None:
    """The recipe's steps, what each left, and why it dropped the rest."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from cli.words import share

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(Text(f"recipe {funnel.recipe.name}"))
    table.add_column("kept", justify="right")
    table.add_column("")
    table.add_column("dropped because")
    table.add_row("finished trajectories", f"{funnel.seen:,}", ProgressBar(max(funnel.seen, 1), funnel.seen, width=20))
    for step in funnel.steps:
        reasons = "; ".join(f"{reason} ({count:,})" for reason, count in step.dropped.most_common(3))
        bar = ProgressBar(max(funnel.seen, 1), step.kept, width=20)
        table.add_row(step.step.filter.name.replace("_", " "), share(step.kept, funnel.seen), bar, Text(reasons))
    out.print(table)
