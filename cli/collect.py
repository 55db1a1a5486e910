"""`errata collect`: run teachers on an environment's tasks; started again, it goes on where it stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options import STORE, AsJson, Store, print_json, run
from environments.faults import UsageError


def register(app: typer.Typer) -> None:
    app.command(name="collect")(collect)


def collect(
    env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="math, gsm8k, tables:sql, tables:pandas or package.module:Class."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEACHER",
            help="openai:MODEL, anthropic:MODEL, openai:MODEL@BASE_URL, scripted:FILE, replay:PATH. May be repeated.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="A file or hf:owner/name#split; without it, the bundled tasks."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="At most so many tasks.", min=1)] = None,
    shuffle: Annotated[
        bool | None,
        typer.Option("--shuffle/--in-order", help="Draw the order of tasks by the seed."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Draws the order, and seeds each session.")] = None,
    attempts: Annotated[int | None, typer.Option(metavar="N", help="Attempts of each teacher at each task.")] = None,
    max_turns: Annotated[int | None, typer.Option(metavar="N", help="Replies a rollout may take [5].")] = None,
    max_solutions: Annotated[int | None, typer.Option(metavar="N", help="Solutions it may propose [2].")] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How replies are read: first-action or mint."),
    ] = None,
    cell_timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Seconds a cell may run [30].")] = None,
    isolation: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="How the teacher's code is kept from this machine: auto (the strongest there is), namespaces, "
            "user-namespaces, landlock or none [auto].",
        ),
    ] = None,
    kernel_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory that the teacher's code may use [1G].")
    ] = None,
    preload: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE", help="A module that sessions find imported. Repeatable."),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(metavar="N", help="Most tokens of a reply.")] = None,
    temperature: Annotated[float | None, typer.Option(metavar="X", help="Not taken by every provider.")] = None,
    effort: Annotated[str | None, typer.Option(metavar="WORD", help="How hard a reasoning model thinks.")] = None,
    teacher_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Any other parameter of the provider."),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="IN,OUT", help="Dollars per million tokens, where unknown."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file with any of these; flags come on top.")
    ] = None,
    run_name: Annotated[
        str | None, typer.Option("--run", help="The run's name; the same name goes on.", metavar="NAME")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", help="Trajectories at a time [8].", min=1)] = None,
    store: Store = STORE,
    as_json: AsJson = False,
) -> None:
    """Have teachers play tasks, and log every turn.

    The same command again goes on where it stopped.
    """
    from cli.collecting import Plan, carry_out
    from collectors.teachers.teacher import without_password

    flags = {
        "env": env, "teachers": teacher, "data": data, "limit": limit, "shuffle": shuffle, "seed": seed,
        "attempts": attempts, "isolation": isolation, "run": run_name, "concurrency": concurrency,
        "limits": {"memory": kernel_memory}, "preload": preload or None,
        "rules": {
            "max_turns": max_turns, "max_solutions": max_solutions, "policy": policy, "cell_timeout": cell_timeout,
        },
        "sampling": {
            "max_tokens": max_tokens, "temperature": temperature, "effort": effort,
            "options": _options(teacher_option or []), "price": _price(price),
        },
    }  # fmt: skip
    plan = Plan.make(_merge(_file(config), flags), store)
    ended = run(carry_out(plan))
    if as_json:
        print_json(ended.as_json())
    if ended.interrupted:
        kept = "what was committed is kept" if ended.hurried else "all that was bought is kept"
        _say(f"Stopped; {kept}. To go on: {without_password(shlex.join(['errata', *sys.argv[1:]]))}")
        raise typer.Exit(130)
    if ended.failed:
        _say(f"{ended.failed:,} could not be done by a fault of infrastructure; the same command tries them again.")
        raise typer.Exit(1)
    if not as_json:
        _say(f"Next: errata filter --run {shlex.quote(plan.run)}{_store_flag(store)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - prose for people goes to stderr


def _store_flag(store: str) -> str:
    from collectors.teachers.teacher import without_password

    return "" if store == STORE else f" --store {shlex.quote(without_password(store))}"


def _file(path: Path | None) -> dict[str, Any]:
    from collectors.config import read_config

    return read_config(path) if path else {}


def _merge(base: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with every flag that was given on top."""
    merged = dict(base)
    for name, value in flags.items():
        if isinstance(value, Mapping):
            inner = merged.get(name, {})
            if not isinstance(inner, Mapping):
                raise UsageError(f"{name} must be a table, not {inner!r}.")
            merged[name] = _merge(inner, value)
        elif value is not None:
            merged[name] = value
    return merged


def _options(pairs: Iterable[str]) -> dict[str, Any]:
    import json

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--teacher-option takes key=value, not '{pair}'.")
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options


def _price(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2:
        raise UsageError(f"--price takes IN,OUT in dollars per million tokens, such as 1.25,10; not '{text}'.")
    return parts[0].strip(), parts[1].strip()
