"""How many calls a teacher gets at once, and when: one gate a teacher, shared by all its calls of a process.

A rate limit, a dead key or an outage holds for all calls of a teacher, so what one has met holds back the
others too. Whoever waits holds a place in one line, and is let in by the call that leaves or by one timer;
one task watches, while the line is not empty, whether the run is being stopped. With the line they end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from collectors.teachers.limits import Learnt, Limited, Limits
from collectors.teachers.pace import FAILURES, Outage, Pace, wait_after
from collectors.teachers.retry import RetryPolicy, Sleep, out_of_patience
from collectors.teachers.teacher import Teacher
from environments.faults import TeacherFault

_WATCH = 60.0
"""Seconds of one wait for the run's end. It is the same however many they are."""

_DOWN = ("server", "timeout", "connection", "bad_answer")

Aside: TypeAlias = Callable[[], AbstractContextManager[None]]

Place: TypeAlias = tuple[asyncio.Future[int], int]
"""In the line: what its call's number comes in, and the call's tokens."""


@dataclass(frozen=True, slots=True)
class GateState:
    """A gate at one moment, for a display or a log."""

    limit: int
    """Calls at once, now."""
    most: int
    in_flight: int
    waiting: int
    paused: float
    """Seconds for which no call goes out, after a rate limit or a failure."""
    down: bool
    closed: bool
    learnt: tuple[Learnt, ...]

    @property
    def words(self) -> str:
        """What keeps calls back, in a line; empty where nothing does."""
        if self.closed:
            return "not asked any more"
        told = {
            "does not answer": self.down,
            f"{self.limit} of {self.most} at once": self.limit < self.most,
            f"paused for {self.paused:,.0f} s": self.paused > 0,
            f"{self.waiting} waiting": self.waiting,
        }
        return ", ".join(words for words, holds in told.items() if holds)


class Gate:
    """`most`: calls at once while all is well. `notify` is told what a user should know, once each time.

    `pause` may raise, as it does when the run is being stopped: the gate is closed then, with what it raised.
    """

    def __init__(
        self,
        teacher: Teacher,
        most: int,
        notify: Callable[[str], None],
        policy: RetryPolicy | None = None,
        pause: Sleep = asyncio.sleep,
    ) -> None:
        self._name = teacher.name
        self._limits = teacher.limits if isinstance(teacher, Limited) else Limits()
        self._notify = notify
        self._policy = policy or RetryPolicy()
        self._sleep = pause
        self._closed: Callable[[], Exception] | None = None
        self._line: deque[Place] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._let_in = 0
        self._resume_at = 0.0
        self._probe_at = 0.0
        self._pace = Pace(most)
        self._waited = 0.0
        self._told = False
        self._outage = Outage()

    @asynccontextmanager
    async def call(self, tokens: int = 0) -> AsyncIterator[Aside]:
        """Around one attempt at the provider, once it may go out. `tokens`: what it is thought to send.

        Gives how to step aside, for a call that has yet to wait for something which is not the provider's. Raises what
        the gate was closed with. Only a `TeacherFault` or a clean end tells of the provider.
        """
        number = await self._enter(tokens)
        try:
            yield partial(self._stepped_aside, number)
        except TeacherFault as fault:
            self._failed(fault, number)
            raise
        else:
            self._answered(number)
        finally:
            self._leave(number)

    @contextmanager
    def _stepped_aside(self, number: int) -> Iterator[None]:
        """Its place is another's meanwhile. When it comes back there may for a moment be one too many."""
        self._leave(number)
        try:
            yield
        finally:
            self._in_flight += 1

    def close(self, why: Callable[[], Exception]) -> None:
        """From now on no call is let in: each that waits or comes later raises what `why` makes. For good."""
        if self._closed is not None:
            return
        self._closed = why
        for place, _ in self._line:
            if not place.done():
                place.set_exception(why())
        self._line.clear()
        self._admit()

    @property
    def closed(self) -> bool:
        return self._closed is not None

    @property
    def down(self) -> bool:
        """Whether the provider counts as down, and is asked by one call at a time."""
        return self._outage.lasts

    @property
    def paused(self) -> float:
        return max(self._resume_at - _now(), self._probe_at - _now(), 0.0)

    @property
    def state(self) -> GateState:
        return GateState(
            limit=self._pace.limit,
            most=self._pace.most,
            in_flight=self._in_flight,
            waiting=len(self._line),
            paused=self.paused,
            down=self.down,
            closed=self.closed,
            learnt=self._limits.learnt(_now()),
        )

    # -- the line ----------------------------------------------------------------------------

    async def _enter(self, tokens: int) -> int:
        """The call's number, once it is let in."""
        if self._closed is not None:
            raise self._closed()
        place: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._line.append((place, tokens))
        self._admit()
        try:
            return await place
        except asyncio.CancelledError:
            self._step_out(place, tokens)
            raise

    def _step_out(self, place: asyncio.Future[int], tokens: int) -> None:
        if place.cancelled():
            if (place, tokens) in self._line:
                self._line.remove((place, tokens))
            self._admit()
        elif place.exception() is None:  # let in at the moment it was cancelled
            self._leave(place.result())

    def _leave(self, number: int) -> None:
        self._in_flight -= 1
        if number == self._outage.probe:
            self._outage.probe = None
        self._admit()

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._let_in_whom_it_may()
        self._watch_while_there_is_a_line()

    def _let_in_whom_it_may(self) -> None:
        """In order; for the first who may not go yet, set the timer."""
        now = _now()
        while self._line and self._has_room():
            place, tokens = self._line[0]
            wait = max(self.paused, self._limits.wait(tokens, now, self._policy.longest_wait))
            if wait > 0:
                self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            self._line.popleft()
            if not place.done():  # cancelled, and not yet stepped out
                self._let(place, tokens, now)

    def _has_room(self) -> bool:
        return self._outage.probe is None if self.down else self._in_flight < self._pace.limit

    def _let(self, place: asyncio.Future[int], tokens: int, now: float) -> None:
        self._in_flight += 1
        self._let_in += 1
        if self.down:
            self._outage.probe = self._let_in
        self._limits.take(tokens, now)
        place.set_result(self._let_in)

    def _watch_while_there_is_a_line(self) -> None:
        if self._line and self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        elif not self._line and self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    async def _watch(self) -> None:
        """Until `pause` raises: what it raises ends all waits."""
        try:
            while True:
                await self._sleep(_WATCH)
        except Exception as stop:  # noqa: BLE001 - whatever it is, it is handed to each that waits
            self._watcher = None
            self.close(partial(_same, stop))

    # -- what a call has met -----------------------------------------------------------------

    def _answered(self, number: int) -> None:
        self._is_up()
        self._pace.answered(number)
        self._waited, self._told = 0.0, False

    def _failed(self, fault: TeacherFault, number: int) -> None:
        if fault.ends_teacher:
            self._end(fault, str(fault))
        elif fault.kind in _DOWN:
            self._struck(fault, number)
        else:
            self._is_up()
            if fault.kind == "rate_limited":
                self._refused(fault, number)

    def _end(self, fault: TeacherFault, message: str) -> None:
        self.close(partial(fault.saying, message, for_all=True))

    def _refused(self, fault: TeacherFault, number: int) -> None:
        """Of a wave, the first refusal sets the wait; the others can only lengthen it by what they ask."""
        if self._pace.refused(number, self._let_in) or fault.retry_after:
            self._pause(wait_after(fault, self._pace.waves, self._policy), fault)

    def _pause(self, seconds: float, fault: TeacherFault) -> None:
        more = seconds - self.paused
        if more <= 0:
            return
        self._tell_of_a_long_wait(seconds, fault.retry_after or 0.0)
        self._waited += more
        if self._waited > self._policy.patience:
            self._end(fault, f"{fault} {out_of_patience(self._policy)}")
        self._resume_at = _now() + seconds

    def _tell_of_a_long_wait(self, seconds: float, asked: float) -> None:
        if asked > seconds and not self._told:
            self._told = True
            self._notify(f"{self._name} asks to wait {asked:,.0f} s; asked again after {seconds:,.0f} s.")

    def _struck(self, fault: TeacherFault, number: int) -> None:
        """By a failure that is the provider's or the network's."""
        if self._outage.begins(_now()):
            self._notify(
                f"{self._name}: {FAILURES} calls in a row have failed, the last by this: {fault} "
                "It is asked by one call at a time until it answers."
            )
        elif not self._outage.goes_on(number):
            return
        down = self._outage.seconds(_now())
        if down > self._policy.patience:
            later = "start the same command again later, and it goes on."
            self._end(fault, f"{fault} It has been down for {down:,.0f} s; {later}")
        self._probe_at = _now() + wait_after(fault, self._outage.probes, self._policy)

    def _is_up(self) -> None:
        if self._outage.ends():
            self._probe_at = 0.0
            self._notify(f"{self._name} answers again.")


def _same(error: Exception) -> Exception:
    return error


def _now() -> float:
    return asyncio.get_running_loop().time()
