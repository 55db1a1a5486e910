"""The one retry policy: how often, how long and for what a teacher is asked again.

A 429 is not a failure but a queue, so it is bounded by patience (seconds waited) and not by the count
of attempts, which is kept for a provider that is broken. What holds for all requests of a teacher (its
rate limit, its outage) is waited for at the gate, where there is one. The SDKs themselves never retry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from collectors.teachers.teacher import Teacher
from environments.faults import TeacherFault
from environments.types import Call, Reply, Request

if TYPE_CHECKING:
    from collectors.gate import Aside, Gate

_CHARACTERS = 4
"""Of a token, as providers guess before they have counted."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    attempts: int = 6
    """Most attempts that may fail by the provider's or the network's fault."""
    bad_answers: int = 2
    """Most answers without a reply in them: each may have been paid for."""
    patience: float = 900.0
    """Most seconds spent waiting because of rate limits, or because a provider is down, without an answer."""
    longest_wait: float = 120.0
    """A provider that asks for a longer wait than these seconds is asked again after them."""
    first_backoff: float = 1.0
    """Where the provider names no wait: uniform within a window of these seconds, doubling each time."""
    longest_backoff: float = 60.0


Log = Callable[[Call], Awaitable[None]]
Before = Callable[["Aside"], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]


async def ask(
    teacher: Teacher,
    request: Request,
    policy: RetryPolicy,
    log: Log,
    *,
    gate: Gate | None = None,
    before: Before | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Reply:
    """The teacher's reply; each attempt is logged before anything follows it. Raises the last `TeacherFault`.

    `before` is awaited once a call may go out, right before it does, with how to step aside if it has to wait; what it
    raises ends the asking, and nothing was sent. So does what a closed gate raises.
    """
    limits = _Limits(policy, gate)
    retrying = AsyncRetrying(
        sleep=sleep,
        retry=retry_if_exception(_worth_asking_again),
        wait=limits.wait,
        stop=limits.reached,
        retry_error_callback=limits.give_up,
    )
    return await retrying(_attempt, teacher, request, log, gate, before)


async def _attempt(teacher: Teacher, request: Request, log: Log, gate: Gate | None, before: Before | None) -> Reply:
    sent: tuple[datetime, float] | None = None
    try:
        async with _passage(gate, request) as aside:
            if before is not None:
                await before(aside)
            sent = datetime.now(UTC), time.perf_counter()
            reply = await teacher.reply(request)
    except TeacherFault as fault:
        if sent is not None:
            await log(_call(request, *sent, fault))
        raise
    await log(_call(request, *sent))
    return reply


def _passage(gate: Gate | None, request: Request) -> AbstractAsyncContextManager[Aside]:
    if gate is None:
        return nullcontext(nullcontext)
    return gate.call(sum(len(message.content) for message in request.messages) // _CHARACTERS)


def _call(request: Request, started: datetime, clock: float, fault: TeacherFault | None = None) -> Call:
    seconds = time.perf_counter() - clock
    if fault is None:
        return Call(request.turn, started, seconds)
    return Call(
        turn=request.turn,
        started=started,
        seconds=seconds,
        fault=fault.kind,
        status=fault.status,
        retry_after=fault.retry_after,
        request_id=fault.request_id,
        message=str(fault),
        body=fault.body,
        lost=fault.lost,
    )


def _worth_asking_again(error: BaseException) -> bool:
    """A fault that names a parameter passes too: its teacher leaves that one out from now on."""
    if not isinstance(error, TeacherFault) or error.ends_teacher:
        return False
    return error.passing or error.parameter is not None


def _fault(state: RetryCallState) -> TeacherFault:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, TeacherFault)
    return error


class _Limits:
    """The bounds of one request. tenacity asks for the wait first, then whether a bound is reached."""

    def __init__(self, policy: RetryPolicy, gate: Gate | None) -> None:
        self._policy = policy
        self._gate = gate
        self._backoff = wait_random_exponential(multiplier=policy.first_backoff, max=policy.longest_backoff)
        self._failures = 0
        self._bad_answers = 0
        self._waited = 0.0
        self._reason = ""

    def wait(self, state: RetryCallState) -> float:
        fault = _fault(state)
        if fault.parameter is not None or self._waits_at_gate(fault):
            return 0.0
        if fault.retry_after is None:
            return self._backoff(state)
        return min(fault.retry_after, self._policy.longest_wait)

    def _waits_at_gate(self, fault: TeacherFault) -> bool:
        return self._gate is not None and (fault.kind == "rate_limited" or self._gate.down)

    def reached(self, state: RetryCallState) -> bool:
        self._reason = self._bound(_fault(state), state.upcoming_sleep)
        return bool(self._reason)

    def _bound(self, fault: TeacherFault, wait: float) -> str:
        policy, gate = self._policy, self._gate
        if gate is not None and gate.closed:
            return ""  # it says why
        if fault.kind == "rate_limited":
            self._waited += wait if gate is None else gate.paused
            return out_of_patience(policy) if self._waited > policy.patience else ""
        self._bad_answers += fault.kind == "bad_answer"
        if self._bad_answers >= policy.bad_answers:
            return f"Gave up after {self._bad_answers} such answers."
        if gate is not None and gate.down:
            return ""  # it says nothing about this request
        self._failures += fault.passing
        return f"Gave up after {self._failures} failures." if self._failures >= policy.attempts else ""

    def give_up(self, state: RetryCallState) -> NoReturn:
        fault = _fault(state)
        raise fault.saying(f"{fault} {self._reason}") from fault


def out_of_patience(policy: RetryPolicy) -> str:
    used_up = f"Patience for rate limits ({policy.patience:.0f} s) is used up"
    return f"{used_up}; start the same command again later, and it goes on."
