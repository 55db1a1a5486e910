"""What a person sees of a run: a small live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.words import classes, dollars, duration, share
from environments.types import Assessment, Call, Reply, Trajectory, Work

RECOVERED = ("R2", "R3", "R4")
_LINE_SECONDS = 10.0
_BAR = 40
_NAMES = 12
"""Columns."""


class Tally:
    """Counts of what has happened since this process started."""

    def __init__(self) -> None:
        self.total = self.done_before = self.done_elsewhere = self.ended = self.solved = self.recovered = 0
        self.tokens_in = self.tokens_out = self.unpriced = 0
        self.cost = Decimal(0)
        self.errors: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.started = time.monotonic()

    @property
    def done(self) -> int:
        return self.done_before + self.done_elsewhere + self.ended

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def seconds_left(self) -> float | None:
        """Judged by the pace so far; None before anything has ended."""
        return self.seconds / self.ended * (self.total - self.done) if self.ended else None

    def add_reply(self, reply: Reply) -> None:
        self.tokens_in += reply.usage.input
        self.tokens_out += reply.usage.output
        self.cost += reply.cost or 0
        self.unpriced += reply.cost is None

    def add_trajectory(self, trajectory: Trajectory, assessment: Assessment) -> None:
        self.ended += 1
        self.solved += trajectory.solved
        self.recovered += assessment.recovery.level in RECOVERED
        self.errors.update(event.kind for event in assessment.events)

    def as_json(self) -> dict[str, object]:
        return {
            "planned": self.total,
            "done": self.done,
            "ended_now": self.ended,
            "solved_now": self.solved,
            "recovered_now": self.recovered,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "cost_usd": str(self.cost),
            "unpriced_replies": self.unpriced,
            "errors": dict(self.errors),
            "faults": dict(self.faults),
            "seconds": round(self.seconds, 1),
        }


class Progress:
    """Watches a `Collection`. Entered while it runs; everything it shows goes to stderr."""

    def __init__(self, title: str) -> None:
        self.tally = Tally()
        self.budget = ""
        """What is left of it, in a few words that whoever keeps it sets."""
        self.limits = ""
        """How much may be under way, likewise."""
        self._title = title
        self._console = Console(stderr=True)
        self._note = ""
        self._waited_for = 0
        self._last_line = time.monotonic()
        self._live = (
            Live(get_renderable=self._shown, console=self._console, refresh_per_second=4, transient=True)
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        if self.tally.total:
            self.say(self._line())

    # -- collectors.attempt.Observer -------------------------------------------------------------

    def planned(self, total: int, finished: int) -> None:
        """Again for each teacher that others' failures go on to."""
        more = finished > self.tally.done_before
        self.tally.total, self.tally.done_before = total, finished
        if more:
            self.say(f"{finished:,} of {total:,} were finished before; going on with {total - self.tally.done:,}.")

    def begun(self, trajectory_id: int, work: Work) -> None:
        return

    def called(self, trajectory_id: int, teacher: str, call: Call) -> None:
        if call.fault:
            self.tally.faults[call.fault] += 1
            self._note = f"{teacher}: {call.fault.replace('_', ' ')}: {call.message or call.status}"

    def replied(self, trajectory_id: int, reply: Reply) -> None:
        self.tally.add_reply(reply)

    def ended(self, trajectory: Trajectory, assessment: Assessment) -> None:
        self.tally.add_trajectory(trajectory, assessment)
        due = time.monotonic() - self._last_line >= _LINE_SECONDS and self.tally.done < self.tally.total
        if self._live is None and due:
            self._last_line = time.monotonic()
            self.say(self._line())

    def ended_elsewhere(self, work: Work) -> None:
        self.tally.done_elsewhere += 1

    def waiting(self, count: int) -> None:
        if count != self._waited_for:
            self._waited_for = count
            self.say(f"{count:,} are under way in other processes; waiting, in case one of those dies.")

    def warned(self, message: str) -> None:
        self._console.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)

    # --------------------------------------------------------------------------------------------

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False, soft_wrap=True)

    def _line(self) -> str:
        parts = [
            f"{self._title}: {self.tally.done:,}/{self.tally.total:,} done",
            *(f"{k} {v}" for k, v in self._facts()),
        ]
        return " · ".join(parts)

    def _facts(self) -> Iterator[tuple[str, str]]:
        tally = self.tally
        yield "solved", f"{share(tally.solved, tally.ended)} · recovered {share(tally.recovered, tally.ended)}"
        yield "tokens", f"{tally.tokens_in + tally.tokens_out:,}"
        cost = dollars(tally.cost, tally.unpriced)
        yield "cost", f"{cost} · budget {self.budget}" if self.budget else cost
        if tally.errors:
            yield "errors", classes(tally.errors)
        if tally.faults:
            yield "faults", ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in tally.faults.items())
        if self.limits:
            yield "limits", self.limits
        yield "in", duration(tally.seconds)

    def _shown(self) -> Text:
        """One text and no rich table: that is measured and padded cell by cell, which takes several times as long."""
        shown = Text(no_wrap=True, overflow="ellipsis")
        shown.append(self._title, "bold").append("\n").append_text(self._bar()).append(f"  {self._place()}")
        rows = [(name, Text(value)) for name, value in self._facts()]
        if self._note:
            rows.append(("last fault", Text(self._note[:100], "yellow")))
        for name, value in rows:
            shown.append(f"\n{name:{_NAMES}}", "dim").append_text(value)
        return shown

    def _bar(self) -> Text:
        filled = _BAR * self.tally.done // max(self.tally.total, 1)
        return Text.assemble(("━" * filled, "bar.complete"), ("━" * (_BAR - filled), "bar.back"))

    def _place(self) -> str:
        left = self.tally.seconds_left
        ahead = f"{duration(left)} left" if left is not None else "…"
        return f"{self.tally.done:,}/{self.tally.total:,} · {ahead}"
