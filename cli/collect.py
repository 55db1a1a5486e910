"""`errata collect`: run teachers on an environment's tasks; started again, it goes on where it stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options import STORE, AsJson, Grouped, Store, print_json, run
from environments.faults import UsageError

if TYPE_CHECKING:
    from cli.collecting import Ended
    from cli.plan import Plan

TASKS, TEACHERS, ROLLOUTS, BOUNDS = "Tasks", "Teachers", "Rollouts", "What it may cost, and when it ends"


def register(app: typer.Typer) -> None:
    app.command(name="collect", cls=Grouped)(collect)


def collect(
    env: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="math, tables:sql, …: `errata envs` lists them; or package.module:Class.",
            rich_help_panel=TASKS,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="A file or hf:owner/name#split; without it, the bundled tasks.",
            rich_help_panel=TASKS,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many tasks.", rich_help_panel=TASKS, min=1)
    ] = None,
    shuffle: Annotated[
        bool | None,
        typer.Option("--shuffle/--in-order", help="Draw the order of tasks by the seed.", rich_help_panel=TASKS),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Draws the order, and seeds each session.", rich_help_panel=TASKS)
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEACHER",
            help="openai:MODEL, anthropic:MODEL, openai:MODEL@BASE_URL, scripted:FILE, replay:PATH. May be repeated.",
            rich_help_panel=TEACHERS,
        ),
    ] = None,
    handover: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WEAK,STRONG",
            help="Two teachers on one task: the first until its first error, the second from there.",
            rich_help_panel=TEACHERS,
        ),
    ] = None,
    escalate: Annotated[
        bool | None,
        typer.Option(
            "--escalate/--all-teachers",
            help="Give each teacher only what all before it have failed.",
            rich_help_panel=TEACHERS,
        ),
    ] = None,
    attempts: Annotated[
        int | None, typer.Option(metavar="N", help="Attempts of each teacher at each task.", rich_help_panel=TEACHERS)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Most tokens of a reply.", rich_help_panel=TEACHERS)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="X", help="Not taken by every provider.", rich_help_panel=TEACHERS)
    ] = None,
    effort: Annotated[
        str | None, typer.Option(metavar="WORD", help="How hard a reasoning model thinks.", rich_help_panel=TEACHERS)
    ] = None,
    teacher_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Any other parameter of the provider.", rich_help_panel=TEACHERS),
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(metavar="IN,OUT", help="Dollars per million tokens, where unknown.", rich_help_panel=TEACHERS),
    ] = None,
    longest_wait: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="A provider that asks for a longer wait is asked again after this [120].",
            rich_help_panel=TEACHERS,
        ),
    ] = None,
    max_turns: Annotated[
        int | None, typer.Option(metavar="N", help="Replies a rollout may take [5].", rich_help_panel=ROLLOUTS)
    ] = None,
    max_solutions: Annotated[
        int | None, typer.Option(metavar="N", help="Solutions it may propose [2].", rich_help_panel=ROLLOUTS)
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How replies are read: first-action or mint.", rich_help_panel=ROLLOUTS),
    ] = None,
    cell_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Seconds a cell may run [30].", rich_help_panel=ROLLOUTS)
    ] = None,
    isolation: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="How the teacher's code is kept from this machine: auto (the strongest there is), namespaces, "
            "user-namespaces, landlock or none [auto].",
            rich_help_panel=ROLLOUTS,
        ),
    ] = None,
    kernel_memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory that the teacher's code may use [1G].", rich_help_panel=ROLLOUTS),
    ] = None,
    preload: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE", help="A module that sessions find imported. Repeatable.", rich_help_panel=ROLLOUTS
        ),
    ] = None,
    on_divergence: Annotated[
        str | None,
        typer.Option(
            metavar="branch|stop",
            help="When the code of a trajectory that is gone on with does something else than before: branch there, "
            "or end it [branch].",
            rich_help_panel=ROLLOUTS,
        ),
    ] = None,
    budget_usd: Annotated[
        str | None,
        typer.Option(
            metavar="DOLLARS",
            help="Spend at most this on the run, all its starts and processes together.",
            rich_help_panel=BOUNDS,
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="The same in tokens, sent and received.", rich_help_panel=BOUNDS, min=1),
    ] = None,
    until_recovered: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="End when so many trajectories have recovered from an error.",
            rich_help_panel=BOUNDS,
            min=1,
        ),
    ] = None,
    estimate: Annotated[
        bool | None,
        typer.Option(
            "--estimate",
            help="Play nothing; say what the open tasks would cost, from those that are done.",
            rich_help_panel=BOUNDS,
        ),
    ] = None,
    pilot: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --estimate: play so many tasks first, and estimate the rest from them.",
            rich_help_panel=BOUNDS,
            min=1,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A TOML file with any of these; flags come on top.")
    ] = None,
    run_name: Annotated[
        str | None, typer.Option("--run", help="The run's name; the same name goes on.", metavar="NAME")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(metavar="N", help="Trajectories at a time [8].", min=1)] = None,
    log: Annotated[
        str | None, typer.Option(metavar="FILE", help="What happens, as JSON lines [STORE.logs/RUN.jsonl].")
    ] = None,
    store: Store = STORE,
    as_json: AsJson = False,
) -> None:
    """Have teachers play tasks, and log every turn.

    The same command again goes on where it stopped.
    """
    from cli.collecting import carry_out
    from cli.plan import Plan

    flags = {
        "env": env, "teachers": [*(teacher or []), *map(_pair, handover or [])] or None, "data": data, "limit": limit,
        "shuffle": shuffle, "seed": seed, "attempts": attempts, "escalate": escalate, "isolation": isolation,
        "run": run_name, "concurrency": concurrency, "limits": {"memory": kernel_memory}, "preload": preload or None,
        "budget_usd": budget_usd, "budget_tokens": budget_tokens, "until_recovered": until_recovered,
        "estimate": estimate, "pilot": pilot, "longest_wait": longest_wait, "on_divergence": on_divergence, "log": log,
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
    elif ended.estimate:
        print("\n".join(ended.estimate.lines()))  # noqa: T201 - it was asked for
    _tell(ended, plan, quiet=as_json)


def _tell(ended: Ended, plan: Plan, *, quiet: bool) -> None:
    """What is to be done next. Raises `typer.Exit` where not all was done that was to be."""
    from collectors.teachers.teacher import without_password

    if ended.interrupted:
        kept = "what was committed is kept" if ended.hurried else "all that was bought is kept"
        _say(f"Stopped; {kept}. To go on: {without_password(shlex.join(['errata', *sys.argv[1:]]))}")
        raise typer.Exit(130)
    if ended.failed:
        _say(f"{ended.failed:,} could not be done by a fault of infrastructure; the same command tries them again.")
        raise typer.Exit(1)
    if ended.ended_by == "enough":
        _say(f"{plan.until_recovered:,} trajectories have recovered: that is enough.")
    if not quiet and ended.estimate is None:
        _say(f"Next: errata filter --run {shlex.quote(plan.run)}{_store_flag(plan.store)}")


def _pair(text: str) -> str:
    weak, comma, strong = text.partition(",")
    if not comma:
        raise UsageError(f"--handover takes WEAK,STRONG, such as openai:gpt-4.1-mini,openai:gpt-5.5; not '{text}'.")
    return f"{weak.strip()}>{strong.strip()}"


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
