"""`errata stats`: what came of the money, by environment and teacher: solved, recovered, and what each of them cost.

What has not been read by this version of errors and recovery is told as such: it is neither recovered nor not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import STORE, AsJson, Run, Store, console, print_json, run

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from store.queries import Group, Passes, Sums


def register(app: typer.Typer) -> None:
    app.command(name="stats")(stats)


def stats(
    store: Store = STORE,
    only_run: Run = None,
    cache: Annotated[bool, typer.Option("--cache", help="Add what the providers' caches have saved.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show yield and cost by environment and teacher.

    Solved, recovered, dollars for each, tokens, errors by class, and how far each teacher brought the tasks.
    """
    groups, passes = run(_read(store, only_run, single=as_json))
    if as_json:
        print_json([_record(group, passes) | (_saved_record(group) if cache else {}) for group in groups])
    elif not groups:
        console().print("No trajectory has begun in this store.")
    else:
        _print(groups, passes, cache=cache)


async def _read(address: str, only_run: str | None, *, single: bool) -> tuple[list[Group], list[Passes]]:
    """The passes of runs that had several teachers, and with `single` of the others too."""
    from filters.filter import reads_errors
    from store.queries import group_sums, task_passes
    from store.store import open_store

    async with open_store(address) as store:
        groups = await group_sums(store, only_run, reading=reads_errors(0))
        teachers = {group.run: {one.teacher for one in groups if one.run == group.run} for group in groups}
        return groups, await task_passes(store, [one for one in groups if single or len(teachers[one.run]) > 1])


# -- for programs ----------------------------------------------------------------------------------


def _record(group: Group, passes: Sequence[Passes]) -> dict[str, object]:
    sums = group.sums
    return {
        "run": group.run,
        "environment": group.environment,
        "teacher": group.teacher,
        "finished": sums.finished,
        "solved": sums.solved,
        "failed": sums.failed,
        "unfinished": sums.unfinished,
        "unread": sums.unread,
        "recovered": _recovered(sums) if sums.levels or not sums.unread else None,
        "levels": dict(sorted(sums.levels.items())),
        "turns": sums.turns,
        "tokens_in": sums.tokens_in,
        "tokens_out": sums.tokens_out,
        "tokens_cache_read": sums.tokens_cache_read,
        "tokens_cache_write": sums.tokens_cache_write,
        "cost_usd": str(sums.cost),
        "unpriced_replies": sums.unpriced,
        "usd_per_solved": _number(_per(sums, sums.solved)),
        "usd_per_recovered": None if sums.unread else _number(_per(sums, _recovered(sums))),
        "errors": dict(sorted(sums.errors.items())),
        "tasks": _tasks(group, passes),
    }


def _tasks(group: Group, passes: Sequence[Passes]) -> dict[str, int]:
    of = next(one for one in passes if (one.run, one.environment) == (group.run, group.environment))
    mine = next(one for one in of.passes if one.teacher == group.teacher)
    return {
        "given": mine.given,
        "solved": mine.solved,
        "solved_first": mine.first,
        "of_all_teachers": of.tasks,
        "solved_by_any": of.solved,
    }


def _recovered(sums: Sums) -> int:
    from cli.progress import RECOVERED

    return sum(sums.levels[level] for level in RECOVERED)


def _number(amount: Decimal | None) -> float | None:
    return None if amount is None else round(float(amount), 6)


def _per(sums: Sums, many: int) -> Decimal | None:
    """Dollars for each; None where there is none, or a price is not known."""
    return None if sums.unpriced or not many else sums.cost / many


def _saved_record(group: Group) -> dict[str, object]:
    return {"usd_saved_by_cache": _number(_saved(group))}


def _saved(group: Group) -> Decimal | None:
    """None where no price list tells it: of a server of one's own, or of a pair, whose tokens are summed together."""
    from collectors.teachers.pricing import saving

    provider, _, model = group.teacher.partition(":")
    if "@" in model or ">" in model:
        return None
    return saving(provider, model, group.sums.tokens_cache_read, group.sums.tokens_cache_write)


# -- for people ------------------------------------------------------------------------------------


def _print(groups: Sequence[Group], passes: Sequence[Passes], *, cache: bool) -> None:
    from rich.console import Console

    out = console()
    out.print(_yield_table(groups))
    out.print()
    out.print(_tokens_table(groups, cache=cache))
    if passes:
        out.print()
        out.print(_passes_table(passes))
    if unread := sum(group.sums.unread for group in groups):
        finished = sum(group.sums.finished for group in groups)
        told = f"{unread:,} of {finished:,} finished trajectories have not been read for errors and recovery, "
        told += "and are counted in neither. `errata filter` reads them."
        Console(stderr=True).print(told, style="yellow", soft_wrap=True)


def _yield_table(groups: Sequence[Group]) -> Table:
    from cli.words import dollars, share

    table = _table("finished", "solved", "recovered", "cost", "a solved\none", "a recovered\none")
    for group in _sections(table, groups):
        sums = group.sums
        read = sums.finished - sums.unread
        table.add_row(
            _name(group.teacher),
            f"{sums.finished:,}" + "".join(f"\n{count:,} {word}" for word, count in _rest(sums)),
            share(sums.solved, sums.finished),
            share(_recovered(sums), read) if read or not sums.unread else "not read",
            dollars(sums.cost, sums.unpriced).replace(" + ", "\n+ "),
            _dollars(_per(sums, sums.solved)),
            _dollars(None if sums.unread else _per(sums, _recovered(sums))),
        )
    return table


def _rest(sums: Sums) -> list[tuple[str, int]]:
    rest = [("failed", sums.failed), ("under way", sums.unfinished)]
    return [(word, count) for word, count in rest if count]


def _tokens_table(groups: Sequence[Group], *, cache: bool) -> Table:
    from cli.words import classes

    table = _table("turns\neach", "tokens in", "of these\ncached", *(["saved by\nthat"] if cache else []), "tokens out")
    table.add_column("\nerrors")
    for group in _sections(table, groups):
        sums = group.sums
        table.add_row(
            _name(group.teacher),
            f"{sums.turns / sums.trajectories:.1f}",
            f"{sums.tokens_in:,}",
            f"{sums.tokens_cache_read / sums.tokens_in:.0%}" if sums.tokens_in else "–",
            *([_dollars(_saved(group))] if cache else []),
            f"{sums.tokens_out:,}",
            classes(sums.errors),
        )
    return table


def _passes_table(passes: Sequence[Passes]) -> Table:
    """Which tasks went to which teacher, and what it added to those before it."""
    from rich.text import Text

    from cli.words import share

    table = _table("tasks given", "solved", "that none\nbefore it had", "solved so far")
    for one in passes:
        table.add_row(Text(f"{one.run} · {one.environment}", "bold"))
        so_far = 0
        for each in one.passes:
            so_far += each.first
            table.add_row(
                _name(each.teacher),
                share(each.given, one.tasks),
                share(each.solved, each.given),
                f"{each.first:,}",
                share(so_far, one.tasks),
            )
    return table


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("\nteacher", overflow="fold", max_width=30)
    for heading in headings:
        table.add_column(heading if "\n" in heading else f"\n{heading}", justify="right")
    return table


def _sections(table: Table, groups: Sequence[Group]) -> Iterator[Group]:
    """The groups, each run and environment under a row of its own."""
    from rich.text import Text

    for (name, environment), members in groupby(groups, key=lambda group: (group.run, group.environment)):
        table.add_row(Text(f"{name} · {environment}", "bold"))
        yield from members


def _name(teacher: str) -> RenderableType:
    from rich.text import Text

    return Text(f"  {teacher}")


def _dollars(amount: Decimal | None) -> str:
    from cli.words import dollars

    return "–" if amount is None else dollars(amount)
