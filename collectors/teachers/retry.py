"""The one retry policy: how often, how long and for what a teacher is asked again.

A 429 is not a failure but a queue, so it is bounded by patience (seconds waited) and not by the count
of attempts, which is kept for a provider that is broken. The SDKs themselves never retry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from collectors.teachers.teacher import Teacher
from environments.faults import TeacherFault
from environments.types import Call, Reply, Request


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    attempts: int = 6
    """Most attempts that may fail by the provider's or the network's fault."""
    bad_answers: int = 2
    """Most answers without a reply in them: each may have been paid for."""
    patience: float = 900.0
    """Most seconds spent waiting because of rate limits, over one request."""
    longest_wait: float = 120.0
    """A provider that asks for a longer wait than these seconds is asked no more in this run."""
    first_backoff: float = 1.0
    """Where the provider names no wait: uniform within a window of these seconds, doubling each time."""
    longest_backoff: float = 60.0


Log = Callable[[Call], Awaitable[None]]
Sleep = Callable[[float], Awaitable[None]]


async def ask(
    teacher: Teacher, request: Request, policy: RetryPolicy, log: Log, *, sleep: Sleep = asyncio.sleep
) -> Reply:
    """The teacher's reply; each attempt is logged before anything follows it. Raises the last `TeacherFault`."""
    limits = _Limits(policy)
    retrying = AsyncRetrying(
        sleep=sleep,
        retry=retry_if_exception(_worth_asking_again),
        wait=limits.wait,
        stop=limits.reached,
        retry_error_callback=limits.give_up,
    )
    return await retrying(_attempt, teacher, request, log)


async def _attempt(teacher: Teacher, request: Request, log: Log) -> Reply:
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        reply = await teacher.reply(request)
    except TeacherFault as fault:
        await log(_call(request, started, clock, fault))
        raise
    await log(Call(request.turn, started, time.perf_counter() - clock))
    return reply


def _call(request: Request, started: datetime, clock: float, fault: TeacherFault) -> Call:
    return Call(
        turn=request.turn,
        started=started,
        seconds=time.perf_counter() - clock,
        fault=fault.kind,
        status=fault.status,
        retry_after=fault.retry_after,
        request_id=fault.request_id,
        message=str(fault),
        body=fault.body,
    )


def _worth_asking_again(error: BaseException) -> bool:
    """A fault that names a parameter passes too: its teacher leaves that one out from now on."""
    return isinstance(error, TeacherFault) and (error.passing or error.parameter is not None)


def _fault(state: RetryCallState) -> TeacherFault:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, TeacherFault)
    return error


class _Limits:
    """The bounds of one request. tenacity asks for the wait first, then whether a bound is reached."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._backoff = wait_random_exponential(multiplier=policy.first_backoff, max=policy.longest_backoff)
        self._failures = 0
        self._bad_answers = 0
        self._waited = 0.0
        self._reason = ""

    def wait(self, state: RetryCallState) -> float:
        fault = _fault(state)
        if fault.parameter is not None:
            return 0.0
        return self._backoff(state) if fault.retry_after is None else fault.retry_after

    def reached(self, state: RetryCallState) -> bool:
        self._reason = self._bound(_fault(state), state.upcoming_sleep)
        return bool(self._reason)

    def _bound(self, fault: TeacherFault, wait: float) -> str:
        policy = self._policy
        if self._too_long(fault):
            asked = f"It asks to wait {fault.retry_after:.0f} s, and the longest wait is {policy.longest_wait:.0f} s"
            return f"{asked}; start the same command again later, and it goes on."
        if fault.kind == "rate_limited":
            self._waited += wait
            used_up = self._waited > policy.patience
            return f"Patience for rate limits ({policy.patience:.0f} s) is used up." if used_up else ""
        self._bad_answers += fault.kind == "bad_answer"
        if self._bad_answers >= policy.bad_answers:
            return f"Gave up after {self._bad_answers} such answers."
        self._failures += fault.passing
        return f"Gave up after {self._failures} failures." if self._failures >= policy.attempts else ""

    def _too_long(self, fault: TeacherFault) -> bool:
        return fault.retry_after is not None and fault.retry_after > self._policy.longest_wait

    def give_up(self, state: RetryCallState) -> NoReturn:
        fault = _fault(state)
        raise TeacherFault(
            f"{fault} {self._reason}",
            kind=fault.kind,
            status=fault.status,
            retry_after=fault.retry_after,
            request_id=fault.request_id,
            body=fault.body,
            for_all=self._too_long(fault),
        ) from fault
