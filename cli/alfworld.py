"""`errata alfworld`: games for the environment of that name, made here, or found in a folder of ALFWorld's data."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from environments.faults import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from environments.types import Json


class What(StrEnum):
    MAKE = "make"
    LIST = "list"


def register(app: typer.Typer) -> None:
    app.command("alfworld", help="Write a file of ALFWorld games: our own, or those of a folder.")(alfworld)


def alfworld(
    what: Annotated[
        What,
        typer.Argument(help="make: write OUT with games of our own; list: name the games below the folder of OUT."),
    ],
    out: Annotated[Path, typer.Argument(help="The file to write, one game a line (.jsonl).", metavar="OUT")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many games, the six task types in turn.")] = 60,
    seed: Annotated[int, typer.Option("--seed", help="Draws the games; the same seed gives the same ones.")] = 0,
) -> None:
    from environments.alfworld_games import make_games
    from environments.alfworld_rows import game_folders

    if what is What.MAKE:
        written = _write(out, (game.row() for game in make_games(count, seed)))
    else:
        found = list(game_folders(out.parent))
        if not found:
            raise UsageError(f"{out.parent.resolve()}: no game.tw-pddl below this folder.")
        written = _write(out, ({"game": folder} for folder in found))
    typer.echo(f"{written} games in {out}; play them with: errata collect --env alfworld --data {out}", err=True)


def _write(out: Path, rows: Iterable[Mapping[str, Json]]) -> int:
    if out.suffix != ".jsonl":
        raise UsageError(f"{out}: a file of games is named .jsonl.")
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    try:
        out.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}.") from error
    return len(lines)
