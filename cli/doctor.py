"""`errata doctor`: what this machine can do for a run, tried out rather than looked up."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.options import AsJson, console, print_json, run

if TYPE_CHECKING:
    from rich.console import Console

    from environments.kernels.isolation import Examined

CLAIMS = {
    "namespaces": "own files, processes, network and user; memory of all its processes bounded",
    "user-namespaces": "own files, processes and network; memory of each process bounded",
    "landlock": "no files but its own, no sockets, no signals; processes and disk not bounded",
    "none": "nothing; it has to be said aloud",
}


def register(app: typer.Typer) -> None:
    app.command(name="doctor")(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Show how far a teacher's code is kept from this machine, and why no further.

    Exits with 1 where it would not be at all.
    """
    from environments.kernels.isolation import LEVELS, examine

    examined = [examine(level) for level in LEVELS]
    chosen = next(one.level for one in examined if one.trouble is None)
    seconds = run(_first_result(chosen))
    advice = _advice(examined)
    if as_json:
        levels = [{"level": one.level, "works": one.trouble is None, "trouble": one.trouble} for one in examined]
        print_json({**_machine(), "levels": levels, "chosen": chosen, "kernel_seconds": seconds, "advice": advice})
    else:
        _print(console(), examined, chosen, seconds, advice)
    if chosen == "none":
        raise typer.Exit(1)


async def _first_result(level: str) -> float:
    """Seconds until a second kernel has answered; the first one waits for the fork server."""
    from time import perf_counter

    from environments.kernels import KernelHost

    async with KernelHost(level) as host:
        async with await host.session() as session:
            await session.run("1 + 1")
        began = perf_counter()
        async with await host.session() as session:
            await session.run("1 + 1")
            return perf_counter() - began


def _machine() -> dict[str, str]:
    from importlib.metadata import version

    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    system = f"{platform.system()} {platform.release()}"
    place = _container()
    return {
        "errata": version("errata"),
        "python": platform.python_version(),
        "system": f"{system}, {who}" + (f", in {place}" if place else ""),
    }


def _container() -> str | None:
    if Path("/.dockerenv").exists():
        return "a Docker container"
    if Path("/run/.containerenv").exists():
        return "a Podman container"
    return "a container" if os.environ.get("container") else None  # noqa: SIM112  # as systemd and Podman spell it


def _print(screen: Console, examined: list[Examined], chosen: str, seconds: float, advice: list[str]) -> None:
    from rich.table import Table

    machine = _machine()
    screen.print(f"errata {machine['errata']} · Python {machine['python']} · {machine['system']}\n", highlight=False)
    table = Table("isolation", "", "what a teacher's code has", box=None, pad_edge=False, header_style="bold")
    for one in examined:
        works = one.trouble is None
        mark = "works" if works else "[red]no[/]"
        if one.level == "none":
            mark = ""
        elif one.level == chosen:
            mark = "[bold green]chosen[/]"
        table.add_row(one.level, mark, CLAIMS[one.level] if works else f"[dim]{one.trouble}[/]")
    screen.print(table)
    screen.print(f"\nA kernel answers after {1_000 * seconds:.0f} ms.", highlight=False)
    for line in advice:
        screen.print(f"\n{line}", highlight=False, markup=False)


def _advice(examined: list[Examined]) -> list[str]:
    """What would make more possible."""
    trouble = {one.level: one.trouble for one in examined}
    if trouble["namespaces"] is None or (trouble["user-namespaces"] is None and os.geteuid() != 0):
        return []
    if sys.platform != "linux":
        return ["Isolation needs Linux. Run Errata in a Linux virtual machine or container."]
    advice = []
    if trouble["user-namespaces"] is not None:
        advice.append(_how_to_have_namespaces())
    elif trouble["namespaces"] is not None:
        advice.append(
            "Only the memory of all of a kernel's processes together is not bounded. For that control groups have to "
            "be writable, and may have limited children: see docs/isolation.md."
        )
    if trouble["landlock"] is not None:
        advice.append("Landlock needs Linux 6.12 or later, started with `landlock` among its `lsm=`.")
    return advice


def _how_to_have_namespaces() -> str:
    if _container():
        return (
            "A container's defaults forbid namespaces. Start it with:\n"
            "  docker run --cap-add SYS_ADMIN --security-opt apparmor=unconfined "
            "--security-opt systempaths=unconfined …\n"
            "The container is then less of a wall itself; what runs in the kernels has less than before."
        )
    if os.geteuid() == 0:
        return "Root was refused namespaces: this machine is a container, or otherwise confined."
    return (
        "Ordinary users may not make namespaces here. Root can allow it, with whichever of these is there:\n"
        "  sysctl -w user.max_user_namespaces=15000\n"
        "  sysctl -w kernel.unprivileged_userns_clone=1\n"
        "  sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    )
