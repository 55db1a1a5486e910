"""What a teacher is, and how one is made from its name.

A provider is one file, imported when it is asked for. A third party's comes in through the
`errata.teachers` entry points, ours by the same call.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, Self, TypeAlias

from pydantic import JsonValue

from environments.faults import UsageError
from environments.types import Most, Reply, Request

GROUP = "errata.teachers"

BUILT_IN = (
    EntryPoint("anthropic", "collectors.teachers.anthropic:AnthropicTeacher", GROUP),
    EntryPoint("openai", "collectors.teachers.openai:OpenAITeacher", GROUP),
    EntryPoint("replay", "collectors.teachers.replay:ReplayTeacher", GROUP),
    EntryPoint("scripted", "collectors.teachers.scripted:ScriptedTeacher", GROUP),
)


_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]*(?:@[^/?#@\s]*)*(?=@)|([?&]\w*password=)[^&#\s]*")


class Teacher(Protocol):
    """Whatever answers a conversation. One attempt a call: retrying is `collectors.teachers.retry.ask`."""

    @property
    def name(self) -> str:
        """As given, without passwords: `openai:Qwen3-32B@http://127.0.0.1:8000/v1`."""

    async def reply(self, request: Request) -> Reply:
        """Raises `TeacherFault`, or `RecordingEnded` where replies come from a recording."""

    def most(self, request: Request) -> Most | None:
        """What one attempt can come to at the worst; None where nobody can say, as of a reply without a limit."""

    async def aclose(self) -> None: ...


class RecordingEnded(Exception):
    """The recording holds no reply for the turn asked for. The rollout ends there; nothing went wrong."""


Recordings: TypeAlias = Callable[[str], Mapping[tuple[str, int], Sequence[Reply]]]
"""Reads a store's replies: its URL → (task id, attempt) → the replies in order of turns."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How teachers are asked; saved whole with the run."""

    max_tokens: int | None = None
    """Most tokens of a reply, hidden thinking included; None is the provider file's default."""
    temperature: float | None = None
    effort: str | None = None
    """How hard a reasoning model thinks, in the provider's own word: `low`, `high`."""
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further parameters of the provider, passed on as they are."""
    price: tuple[Decimal, Decimal] | None = None
    """US dollars for a million tokens (input, output), where the price list is wrong or has none."""
    timeout: float = 600.0
    """Seconds for a whole request."""

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"max tokens is {self.max_tokens}; give at least 1.")
        if not self.timeout > 0:
            raise UsageError(f"the teacher's timeout is {self.timeout} s; give more than 0.")
        if self.price is not None and not all(price.is_finite() and price >= 0 for price in self.price):
            raise UsageError(f"the price is {self.price[0]},{self.price[1]}; give two amounts of at least 0.")


@dataclass(frozen=True, slots=True)
class TeacherSpec:
    """A teacher's name, taken apart: `provider:model[@base_url]`."""

    provider: str
    model: str
    base_url: str | None = None

    @classmethod
    def parse(cls, name: str) -> Self:
        """The model may hold '/' and ':'. Raises `UsageError` for an unknown provider."""
        provider, _, rest = name.partition(":")
        _entry_point(provider)
        model, at, base_url = rest.partition("@")
        if not model:
            raise UsageError(f"teacher '{name}' names no model; write provider:model, such as openai:gpt-5.5.")
        return cls(provider, model, base_url if at else None)

    @property
    def target(self) -> str:
        """All that follows the provider, passwords included: the path, for those that read one (it may hold an '@')."""
        return self.model if self.base_url is None else f"{self.model}@{self.base_url}"

    @property
    def name(self) -> str:
        """As given, without passwords: it is stored and shown."""
        return f"{self.provider}:{without_password(self.target)}"


def without_password(address: str) -> str:
    return _PASSWORD.sub(r"\1\2***", address)


class Factory(Protocol):
    """How a provider's file makes its teacher. What is missing or wrong is said here, before any work."""

    def __call__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None) -> Teacher: ...


def provider_names() -> Iterator[str]:
    yield from sorted({point.name for point in _entry_points()})


def make_teacher(name: str, sampling: Sampling | None = None, *, recordings: Recordings | None = None) -> Teacher:
    """Raises `UsageError` for a name, key, address, file or setting that cannot be right."""
    spec = TeacherSpec.parse(name)
    factory: Factory = _entry_point(spec.provider).load()
    return factory(spec, sampling or Sampling(), recordings)


def _entry_points() -> tuple[EntryPoint, ...]:
    return (*BUILT_IN, *entry_points(group=GROUP))


def _entry_point(provider: str) -> EntryPoint:
    for point in _entry_points():
        if point.name == provider:
            return point
    there_is = ", ".join(provider_names())
    raise UsageError(f"unknown teacher '{provider}'. Write provider:model[@base_url]; the providers are: {there_is}.")
