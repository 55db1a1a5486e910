"""What a provider tells of its rate limits in the headers of its answers, as buckets that refill.

Headers tell what was left when a request came in, and an answer may take minutes: so a bucket is
counted from the moment its request was sent, less what went out since. It only ever holds back a call
that would surely be refused; what it gets wrong is put right by the next answer or ends of itself.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import Protocol, runtime_checkable

import httpx2

from collectors.teachers import wire

PERIOD = 60.0
"""Seconds in which an empty bucket is full again, where the headers do not tell: limits are stated by the minute."""

_NAMES = (
    re.compile(r"x-ratelimit-(?P<field>limit|remaining|reset)-(?P<resource>requests|tokens)"),
    re.compile(
        r"anthropic-ratelimit-(?P<resource>requests|tokens|input-tokens|output-tokens)-(?P<field>limit|remaining|reset)"
    ),
)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST_PERIOD = 32 * 86_400.0
"""What is longer than a month was not seconds."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is left of one limit now."""

    resource: str
    """`requests`, `tokens`, `input-tokens`, `output-tokens`."""
    limit: float
    remaining: float


@runtime_checkable
class Limited(Protocol):
    """A teacher that is told limits."""

    @property
    def limits(self) -> Limits: ...


@dataclass(frozen=True, slots=True)
class _Bucket:
    resource: str
    limit: float
    remaining: float
    rate: float
    """What comes back a second."""

    def level(self, taken: float, seconds: float) -> float:
        return min(self.remaining - taken + self.rate * seconds, self.limit)

    def wait(self, wanted: float, taken: float, seconds: float) -> float:
        missing = min(wanted, self.limit) - self.level(taken, seconds)
        return missing / self.rate if missing > 0 else 0.0


class Limits:
    """Of one teacher. All times are seconds of the event loop's clock, which never jumps."""

    def __init__(self) -> None:
        self._buckets: tuple[_Bucket, ...] = ()
        self._sent = -inf
        self._taken: deque[tuple[float, int]] = deque()
        self._taken_tokens = 0

    def learn(self, headers: httpx2.Headers, sent: float) -> None:
        """From an answer to a request that was sent then. An older one than the last says nothing new."""
        if sent < self._sent or not (buckets := tuple(_buckets(headers))):
            return
        self._buckets, self._sent = buckets, sent
        while self._taken and self._taken[0][0] <= sent:
            self._taken_tokens -= self._taken.popleft()[1]

    def take(self, tokens: int, now: float) -> None:
        if self._buckets:
            self._taken.append((now, tokens))
            self._taken_tokens += tokens

    def wait(self, tokens: int, now: float, longest: float) -> float:
        """Seconds until a call of so many tokens may have room; what was learnt `longest` ago is forgotten."""
        since = now - self._sent
        if since >= longest:
            self._forget()
        waits = (bucket.wait(self._wanted(bucket, tokens), self._used(bucket), since) for bucket in self._buckets)
        return min(max(waits, default=0.0), longest - since) if self._buckets else 0.0

    def learnt(self, now: float) -> tuple[Learnt, ...]:
        return tuple(
            Learnt(bucket.resource, bucket.limit, max(bucket.level(self._used(bucket), now - self._sent), 0.0))
            for bucket in self._buckets
        )

    def _forget(self) -> None:
        self._buckets, self._taken_tokens = (), 0
        self._taken.clear()

    def _wanted(self, bucket: _Bucket, tokens: int) -> int:
        """Of a reply's tokens nothing is known before it comes."""
        return max(tokens, 1) if bucket.resource in ("tokens", "input-tokens") else 1

    def _used(self, bucket: _Bucket) -> int:
        if bucket.resource == "requests":
            return len(self._taken)
        return 0 if bucket.resource == "output-tokens" else self._taken_tokens


# -- headers -------------------------------------------------------------------------------------


def _buckets(headers: httpx2.Headers) -> Iterator[_Bucket]:
    for resource, told in _told(headers).items():
        limit, remaining = (wire.number(told.get(field)) for field in ("limit", "remaining"))
        if limit is not None and remaining is not None and limit >= 1:
            remaining = min(remaining, limit)
            yield _Bucket(resource, limit, remaining, _rate(limit, remaining, _period(told, headers.get("date"))))


def _told(headers: httpx2.Headers) -> Mapping[str, Mapping[str, str]]:
    """Resource → field → value. The raw list is read once: looking up a header by its name is slow."""
    told: dict[str, dict[str, str]] = {}
    for raw, value in headers.raw:
        if b"ratelimit" in (name := raw.lower()) and (meant := _meant(name)):
            resource, field = meant
            told.setdefault(resource, {})[field] = value.decode("latin-1")
    return told


@lru_cache(maxsize=64)
def _meant(name: bytes) -> tuple[str, str] | None:
    """Resource and field."""
    found = next((found for pattern in _NAMES if (found := pattern.fullmatch(name.decode("latin-1")))), None)
    return (found["resource"], found["field"]) if found else None


def _rate(limit: float, remaining: float, period: float | None) -> float:
    return (limit - remaining) / period if period and limit > remaining else limit / PERIOD


def _period(told: Mapping[str, str], now: str | None) -> float | None:
    """Seconds until the bucket is full, from `6m0s` or from a moment read against the answer's own date."""
    reset = told.get("reset", "")
    seconds = _duration(reset)
    if seconds is None and (then := _moment(reset)):
        seconds = (then - (wire.date(now) or datetime.now(UTC))).total_seconds()
    return seconds if seconds is not None and 0 < seconds <= _LONGEST_PERIOD else None


def _duration(text: str) -> float | None:
    parts: Sequence[tuple[str, str]] = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return wire.number(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
