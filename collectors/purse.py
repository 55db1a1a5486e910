"""Lets calls out as far as a run's budget goes, and waits while what is under way may yet turn out cheaper."""

from __future__ import annotations

import asyncio
import itertools
from bisect import insort
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from typing import Protocol, TypeAlias

from collectors.gate import Aside
from collectors.teachers.teacher import Teacher
from environments.faults import ErrataError, UsageError
from environments.types import Most, Request
from store.budget import Budget, calls_are_out
from store.lease import Lease
from store.store import Store

_LOOK = 1.0
"""Seconds between two looks at what other processes have settled."""


Place: TypeAlias = tuple[int, bool, int]
"""In the line: the turn, negative, whether its trajectory is yet to be begun, and when it came."""


class BudgetSpent(ErrataError):
    """No further call fits into what is left. Nothing went wrong: the run ends here."""


class Reserves(Protocol):
    async def reserve(self, turn: int, most: Most) -> bool: ...


class Purse:
    """One process's hand in a run's budget.

    Where money is tight there is a line, the deepest turns first, and what was begun is ended before more is begun: the
    first turns of many trajectories are worth nothing.
    """

    def __init__(self, store: Store, lease: Lease, pause: Callable[[float], Awaitable[None]]) -> None:
        self._store, self._lease, self._pause = store, lease, pause
        self._line: list[Place] = []
        self._came = itertools.count()
        self._begun: set[Reserves] = set()
        self._change = asyncio.Event()

    async def take(self, log: Reserves, teacher: Teacher, request: Request, aside: Aside = nullcontext) -> None:
        """Reserve the worst that the call can come to, stepping aside while that has to wait. Raises `BudgetSpent`."""
        most = worst(teacher, request)
        if not self._line and await self._reserve(log, request, most):
            return
        place = (-request.turn, log not in self._begun, next(self._came))
        insort(self._line, place)
        try:
            with aside():
                await self._take_in_line(place, log, request, most)
        finally:
            self._line.remove(place)
            self.changed()

    async def _take_in_line(self, place: Place, log: Reserves, request: Request, most: Most) -> None:
        while True:
            change = self._change
            held_back = not request.turn and self._begun and log not in self._begun
            if self._line[0] != place or held_back:
                await self._wait(change)
            elif await self._reserve(log, request, most):
                return
            elif not change.is_set():
                if not await calls_are_out(self._store, self._lease):
                    raise BudgetSpent("no further call fits into the run's budget.")
                await self._wait(change)

    async def _reserve(self, log: Reserves, request: Request, most: Most) -> bool:
        reserved = await log.reserve(request.turn, most)
        if reserved:
            self._begun.add(log)
        return reserved

    def leave(self, log: Reserves) -> None:
        """The trajectory has ended, or is not gone on with."""
        self._begun.discard(log)
        self.changed()

    def changed(self) -> None:
        """A call has come back, or the line has moved."""
        self._change.set()
        self._change = asyncio.Event()

    async def _wait(self, change: asyncio.Event) -> None:
        """For a while at the most: what other processes settle, nobody tells us."""
        await self._pause(0.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await change.wait()


def worst(teacher: Teacher, request: Request) -> Most:
    """Raises `UsageError` where nobody can say what a call may come to."""
    most = teacher.most(request)
    if most is None:
        raise UsageError(f"{teacher.name}: a budget needs --max-tokens, or nobody knows what a reply may cost.")
    return most


def require_bound(teacher: Teacher, *, price: bool) -> None:
    """Raises `UsageError` for a teacher that no budget can hold, of which `price` is one in dollars."""
    if worst(teacher, Request("", 0, 0, ())).dollars is None and price:
        raise UsageError(f"{teacher.name}: its price is not known; give --price IN,OUT with --budget-usd.")


def told(budget: Budget) -> str:
    """How it stands, in a line: `$0.97 of $1.00 spent, $0.02 held`."""
    parts = []
    if budget.cap_usd is not None:
        parts.append(f"${budget.settled_usd:,.2f} of ${budget.cap_usd:,.2f} spent, ${budget.reserved_usd:,.2f} held")
    if budget.cap_tokens is not None:
        parts.append(
            f"{budget.settled_tokens:,} of {budget.cap_tokens:,} tokens spent, {budget.reserved_tokens:,} held"
        )
    return "; ".join(parts)
