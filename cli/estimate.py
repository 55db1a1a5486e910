"""What the open work of a run would cost and how long it would take, judged by what is finished.

The interval is that of the sum still to come, so it holds both how little the mean is known and how much
single trajectories differ. It takes the open tasks for as hard as the finished ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from statistics import NormalDist, mean, median, stdev

from cli.words import dollars, duration
from store.queries import Sample, samples
from store.store import Store

LEAST = 5
"""Fewer finished trajectories tell no interval."""
_BROKEN_OFF = 10.0
"""Times the median: one that took longer had lain still between two starts, and tells nothing of the time."""
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Interval:
    """A sum, and how far it may lie from that, at 95 %."""

    value: float
    margin: float | None
    """None where too few are finished to say."""

    def __add__(self, other: Interval) -> Interval:
        known = self.margin is not None and other.margin is not None
        return Interval(
            self.value + other.value, sqrt((self.margin or 0.0) ** 2 + (other.margin or 0.0) ** 2) if known else None
        )

    def __mul__(self, factor: float) -> Interval:
        return Interval(self.value * factor, None if self.margin is None else self.margin * factor)

    def as_json(self) -> dict[str, float | None]:
        bounds = (None, None) if self.margin is None else (max(self.value - self.margin, 0.0), self.value + self.margin)
        return {"value": self.value, "low": bounds[0], "high": bounds[1]}


@dataclass(frozen=True, slots=True)
class Projection:
    """What one teacher's open work comes to; None is not known."""

    teacher: str
    open: int
    finished: int
    """Trajectories it is judged by."""
    of_this_run: bool
    unpriced: int
    """Of these, with replies whose price is not known."""
    dollars: Interval | None
    seconds: Interval | None
    """As if one after the other."""
    tokens: Interval | None

    @classmethod
    def make(cls, teacher: str, open_work: int, found: Sequence[Sample], *, of_this_run: bool) -> Projection:
        costs = [float(one.cost) for one in found if one.cost is not None]
        return cls(
            teacher,
            open_work,
            len(found),
            of_this_run,
            len(found) - len(costs),
            dollars=_sum_of(open_work, costs) if len(costs) == len(found) else None,
            seconds=_sum_of(open_work, _unbroken([one.seconds for one in found])),
            tokens=_sum_of(open_work, [float(one.tokens) for one in found]),
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What all open work comes to, teacher by teacher."""

    projections: tuple[Projection, ...]
    concurrency: int

    @property
    def dollars(self) -> Interval | None:
        return _all(self.projections, lambda one: one.dollars)

    @property
    def seconds(self) -> Interval | None:
        """By the clock, with so many at a time."""
        found = _all(self.projections, lambda one: one.seconds)
        return found and found * (1 / self.concurrency)

    @property
    def tokens(self) -> Interval | None:
        return _all(self.projections, lambda one: one.tokens)

    def as_json(self) -> dict[str, object]:
        return {
            "open": sum(one.open for one in self.projections),
            "concurrency": self.concurrency,
            "usd": _json(self.dollars),
            "seconds": _json(self.seconds),
            "tokens": _json(self.tokens),
            "teachers": [
                {
                    "teacher": one.teacher,
                    "open": one.open,
                    "judged_by": one.finished,
                    "of_this_run": one.of_this_run,
                    "unpriced": one.unpriced,
                    "usd": _json(one.dollars),
                    "seconds": _json(one.seconds and one.seconds * (1 / self.concurrency)),
                    "tokens": _json(one.tokens),
                }
                for one in self.projections
            ],
        }

    def lines(self) -> list[str]:
        """For people: a table, and below it what it cannot say."""
        rows = [("teacher", "open", "judged by", "dollars", f"time, {self.concurrency} at a time")]
        for one in self.projections:
            time = one.seconds and one.seconds * (1 / self.concurrency)
            rows.append((one.teacher, f"{one.open:,}", f"{one.finished:,}", _dollars(one.dollars), _time(time)))
        if len(self.projections) > 1:
            whole = f"{sum(one.open for one in self.projections):,}"
            rows.append(("all", whole, "", _dollars(self.dollars), _time(self.seconds)))
        return [*_table(rows), *self._remarks()]

    def _remarks(self) -> list[str]:
        remarks = ["± is a 95 % interval."] if self.seconds and self.seconds.margin is not None else []
        for one in self.projections:
            if not one.finished:
                remarks.append(f"{one.teacher}: nothing is finished to judge by; --pilot 20 plays 20 tasks first.")
                continue
            if one.finished < LEAST:
                remarks.append(f"{one.teacher}: {one.finished} finished are too few for an interval; --pilot 20.")
            if one.unpriced:
                remarks.append(f"{one.teacher}: its price is not known; give --price IN,OUT.")
            if not one.of_this_run:
                remarks.append(f"{one.teacher}: judged by other runs of this store, maybe under other rules.")
        return remarks


async def estimate(
    store: Store,
    *,
    run: str,
    environment: str,
    open_work: Mapping[str, int],
    concurrency: int,
    escalate: bool = False,
) -> Estimate:
    """`open_work`: by teacher, in their order. With `escalate`, a teacher is taken to get only the share of it that
    those before it have left unsolved so far."""
    projections: list[Projection] = []
    left = 1.0
    for teacher, many in open_work.items():
        found, of_this_run = await _samples(store, run, environment, teacher)
        projections.append(Projection.make(teacher, round(many * left), found, of_this_run=of_this_run))
        if escalate and found:
            left *= 1 - mean(one.solved for one in found)
    return Estimate(tuple(projections), concurrency)


async def _samples(store: Store, run: str, environment: str, teacher: str) -> tuple[Sequence[Sample], bool]:
    """Of this run, and where that tells too little, of all. Whether they are of this run."""
    own = await samples(store, environment=environment, teacher=teacher, run=run)
    if len(own) >= LEAST:
        return own, True
    anywhere = await samples(store, environment=environment, teacher=teacher)
    return (anywhere, False) if len(anywhere) > len(own) else (own, True)


def _sum_of(many: int, values: Sequence[float]) -> Interval | None:
    """Of so many more like these."""
    if not values:
        return None
    if len(values) < LEAST:
        return Interval(many * mean(values), None)
    spread = stdev(values) * sqrt(many + many**2 / len(values))
    return Interval(many * mean(values), _student(len(values) - 1) * spread)


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by its expansion about the normal one; within 0.5 % from 4 on."""
    z = NormalDist().inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _unbroken(seconds: Sequence[float]) -> list[float]:
    longest = _BROKEN_OFF * median(seconds) if seconds else 0.0
    return [one for one in seconds if one <= longest]


def _all(projections: Sequence[Projection], part: Callable[[Projection], Interval | None]) -> Interval | None:
    """Their sum; None where one of them is not known and there is work for it."""
    whole = Interval(0.0, 0.0)
    for one in projections:
        if one.open:
            found = part(one)
            if found is None:
                return None
            whole += found
    return whole


def _json(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else interval.as_json()


def _dollars(interval: Interval | None) -> str:
    return _shown(interval, lambda value: dollars(Decimal(str(value))))


def _time(interval: Interval | None) -> str:
    return _shown(interval, duration)


def _shown(interval: Interval | None, form: Callable[[float], str]) -> str:
    if interval is None:
        return "not known"
    return form(interval.value) + ("" if interval.margin is None else f" ± {form(interval.margin)}")


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The first column gives way where a line would be too long."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(min(widths[0], _WIDTH - sum(widths[1:]) - 2 * len(widths)), 10)
    return [
        "  ".join(
            [_cut(row[0], widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _cut(text: str, width: int) -> str:
    return text.ljust(width) if len(text) <= width else f"{text[: width - 1]}…"
