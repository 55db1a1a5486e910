"""A run of other processes, live: a small text on a terminal, a line for each change elsewhere.

It ends by itself when nobody has worked on what it shows for half a minute, which is longer than a process
takes to be started again; where nobody works on it from the first, it is shown once.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.options import print_json
from cli.progress import RECOVERED
from cli.words import dollars, duration, share
from filters.filter import reads_errors
from store.store import Store, open_store
from store.watching import View, Watch, run_named, runs_at_work

_PATIENCE = 30.0
"""Seconds."""
_NAMES = 12
"""Columns."""
_LONGEST_FAULT = 200


async def watch(address: str, name: str | None, every: float, *, as_json: bool) -> None:
    """Show the run of this name, or all that are worked on, until nobody works on them."""
    async with open_store(address) as store:
        with _Json() if as_json else _Shown() as show:
            await _follow(store, name, every, show)


async def _follow(store: Store, name: str | None, every: float, show: _Json | _Shown) -> None:
    watches: dict[str, Watch] = {}
    at_work = float("-inf")
    while True:
        for run_id, run in await runs_at_work(store) if name is None else [await run_named(store, name)]:
            if run not in watches:
                watches[run] = Watch(store, run_id, run, reads_errors(0))
        views = [await one.look() for one in watches.values()]
        show(views)
        now = time.monotonic()
        if any(view.workers for view in views):
            at_work = now
        if now - at_work > _PATIENCE:
            return
        await asyncio.sleep(every)


class _Json:
    """An object a look and run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __call__(self, views: Sequence[View]) -> None:
        for view in views:
            print_json(record(view))
        sys.stdout.flush()


class _Shown:
    """For people."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, views: Sequence[View]) -> None:
        if not views:
            self._console.print("Nobody works on a run of this store; --run NAME shows one all the same.")
        elif self._live:
            self._live.update(Text("\n\n").join(picture(view) for view in views), refresh=True)
        else:
            for view in views:
                self._tell(view)

    def _tell(self, view: View) -> None:
        """What changes though nothing has happened makes no line."""
        line = " · ".join(f"{name} {value}" for name, value in facts(view) if name not in ("pace", "processes"))
        if self._told.get(view.run) != line:
            self._told[view.run] = line
            self._console.print(f"{view.run}: {line}", markup=False, highlight=False, soft_wrap=True)


def picture(view: View) -> Text:
    """A line of heading and at most ten of data."""
    shown = Text(no_wrap=True, overflow="ellipsis")
    shown.append(view.run, "bold").append(f"  {view.at.astimezone():%H:%M:%S}", "dim")
    for name, value in facts(view):
        style = "yellow" if name in ("last fault", "nobody") else ""
        shown.append(f"\n{name:{_NAMES}}", "dim").append(value, style)
    return shown


def facts(view: View) -> Iterator[tuple[str, str]]:
    sums = view.sums
    read = sums.finished - sums.unread
    yield "finished", f"{sums.finished:,} · solved {share(sums.solved, sums.finished)}"
    unread = f" · {sums.unread:,} not read: errata filter" if sums.unread else ""
    yield "recovered", f"{share(sum(sums.levels[level] for level in RECOVERED), read)}{unread}"
    yield "under way", f"{sums.unfinished - view.left:,}{_rest(view)}"
    yield "pace", "–" if view.pace is None else f"{view.pace:,.1f} a minute"
    yield "tokens", f"{sums.tokens_in + sums.tokens_out:,}"
    yield "cost", dollars(sums.cost, sums.unpriced)
    if view.budget:
        yield "budget", _budget(view)
    if view.workers:
        yield "processes", _processes(view)
    else:
        rest = sums.unfinished + sums.failed
        yield "nobody", "works on it" + ("; errata collect goes on with it" if rest else "")
    for fault in view.faults[-(1 if view.budget else 2) :]:
        message = " ".join(fault.message.split())[:_LONGEST_FAULT]
        yield "last fault", f"{fault.at.astimezone():%m-%d %H:%M:%S} {fault.kind.replace('_', ' ')}: {message}"


def _rest(view: View) -> str:
    rest = {"left by processes that ended": view.left, "failed": view.sums.failed}
    return "".join(f" · {count:,} {word}" for word, count in rest.items() if count)


def _budget(view: View) -> str:
    """What is settled and reserved of the cap; of the reserved, what is lost for good."""
    budget, lost = view.budget, view.lost
    assert budget is not None
    parts = []
    if budget.cap_usd is not None:
        kept = f", {dollars(lost.usd)} of it lost" if lost.calls else ""
        spent = f"{dollars(budget.settled_usd)} of {dollars(budget.cap_usd)}"
        parts.append(f"{spent} spent, {dollars(budget.reserved_usd)} reserved{kept}")
    if budget.cap_tokens is not None:
        kept = f", {lost.tokens:,} of them lost" if lost.calls else ""
        spent = f"{budget.settled_tokens:,} of {budget.cap_tokens:,} tokens"
        parts.append(f"{spent} spent, {budget.reserved_tokens:,} reserved{kept}")
    return " · ".join(parts)


def _processes(view: View) -> str:
    parts = []
    for one in view.workers:
        beat = duration(max((view.at - one.beat).total_seconds(), 0.0))
        since = f"{one.since.astimezone():%m-%d %H:%M}"
        parts.append(f"{one.pid} on {one.host} since {since}, {one.under_way:,} in work, beat {beat} ago")
    return " · ".join(parts)


def record(view: View) -> dict[str, object]:
    """For programs."""
    sums, budget = view.sums, view.budget
    return {
        "run": view.run,
        "at": view.at.isoformat(),
        "finished": sums.finished,
        "solved": sums.solved,
        "recovered": sum(sums.levels[level] for level in RECOVERED),
        "unread": sums.unread,
        "failed": sums.failed,
        "under_way": sums.unfinished - view.left,
        "left": view.left,
        "per_minute": None if view.pace is None else round(view.pace, 2),
        "tokens_in": sums.tokens_in,
        "tokens_out": sums.tokens_out,
        "cost_usd": str(sums.cost),
        "unpriced_replies": sums.unpriced,
        "budget": budget
        and {
            "cap_usd": budget.cap_usd,
            "cap_tokens": budget.cap_tokens,
            "settled_usd": budget.settled_usd,
            "settled_tokens": budget.settled_tokens,
            "reserved_usd": budget.reserved_usd,
            "reserved_tokens": budget.reserved_tokens,
            "lost_usd": view.lost.usd,
            "lost_tokens": view.lost.tokens,
        },
        "processes": [
            {
                "host": one.host,
                "pid": one.pid,
                "since": one.since.isoformat(),
                "beat": one.beat.isoformat(),
                "under_way": one.under_way,
            }
            for one in view.workers
        ],
        "faults": [{"at": one.at.isoformat(), "fault": one.kind, "message": one.message} for one in view.faults],
    }
