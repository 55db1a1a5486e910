"""`errata prepare`: tasks chosen from sources into a task file, with an account of how they were chosen beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import AsJson, print_json
from environments.faults import UsageError

if TYPE_CHECKING:
    from environments.preparing import Selection


def register(app: typer.Typer) -> None:
    app.command(name="prepare")(prepare)


def prepare(
    env: Annotated[str, typer.Argument(metavar="ENV", help="An environment: math, tables:sql, …")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE…", help="Files or hf:owner/name#split; without any, those of the preset."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The task file, FILE.jsonl; its account is FILE.manifest.json.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="A recipe to begin with: codeactinstruct, the paper's.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="'subject=Algebra,Geometry', 'level>=3'. May be repeated."),
    ] = None,
    min_level: Annotated[int | None, typer.Option(metavar="N", help="The same as --where 'level>=N'.")] = None,
    largest: Annotated[
        str | None,
        typer.Option(metavar="FIELD[,FIELD]=N", help="The N tasks that are the largest: rows,columns=3000."),
    ] = None,
    part: Annotated[
        str | None, typer.Option(metavar="K/N", help="One of N parts of equal size that share no task.")
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", help="So many tasks, drawn by the seed.", min=1)] = None,
    split: Annotated[str | None, typer.Option(metavar="NAME=SHARE,…", help="Several files: train=0.9,dev=0.1.")] = None,
    split_by: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Tasks alike in it come into the same file.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Draws sample, parts and splits [0].")] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The sources' licence, where the Hub does not say it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Choose tasks from a data set, and write them into a task file.

    The same sources, seed and choice write the same bytes, whatever order the sources come in.
    """
    from environments.environment import make_environment
    from environments.preparing import Preset
    from environments.preparing import preset as known
    from environments.taskset import Output, write

    environment = make_environment(env)
    begun = known(preset, environment.name) if preset else Preset()
    flags = {
        **_largest(largest), "part": part and _part(part), "count": count, "splits": split and _shares(split),
        "together": split_by, "seed": seed,
    }  # fmt: skip
    chosen = _on_top(begun.selection, where or [], min_level, flags)
    given = tuple(sources or ()) or begun.sources
    if not given:
        raise UsageError(f"no source: give a file, or hf:owner/name#split, to read tasks of {environment.name} from.")
    if out is None:
        raise UsageError("no --out: name the task file to write, such as --out tasks.jsonl.")
    written = write(environment, given, chosen, Output(out, force=force, preset=preset, licence=licence))
    for problem in written.told:
        _say(problem)
    if as_json:
        print_json(written.manifest)
        return
    for step in written.steps:
        _say(f"{step.tasks:>9,}  {step.name}")
    for path in written.files:
        print(path)  # noqa: T201 - the command's data


def _on_top(begun: Selection, where: list[str], min_level: int | None, flags: dict[str, Any]) -> Selection:
    """The preset's choice with every flag that was given; conditions are added to its own."""
    from dataclasses import replace

    from environments.preparing import Condition

    conditions = [Condition.parse(text) for text in where]
    if min_level is not None:
        conditions.append(Condition("level", ">=", str(min_level)))
    given = {name: value for name, value in flags.items() if value is not None}
    return replace(begun, where=(*begun.where, *conditions), **given)


def _largest(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    names, _, most = text.partition("=")
    fields = tuple(name.strip() for name in names.split(",") if name.strip())
    if not fields or not most.isdecimal() or int(most) < 1:
        raise UsageError(f"--largest takes FIELD[,FIELD]=N, such as rows,columns=3000; not '{text}'.")
    return {"largest": fields, "most": int(most)}


def _part(text: str) -> tuple[int, int]:
    which, _, of = text.partition("/")
    if not which.isdecimal() or not of.isdecimal() or not 1 <= int(which) <= int(of):
        raise UsageError(f"--part takes K/N, such as 1/2; not '{text}'.")
    return int(which), int(of)


def _shares(text: str) -> tuple[tuple[str, float], ...]:
    import re

    shares = []
    for one in text.split(","):
        match = re.fullmatch(r"\s*([\w-]+)=(\d*\.?\d+)\s*", one)
        if match is None:
            raise UsageError(f"--split takes NAME=SHARE,…, such as train=0.9,dev=0.1; not '{text}'.")
        shares.append((match[1], float(match[2])))
    if len({name for name, _ in shares}) < len(shares) or abs(sum(share for _, share in shares) - 1) > 1e-9:
        raise UsageError(f"--split {text}: the shares of different names have to make 1 together.")
    return tuple(shares)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - prose for people goes to stderr
