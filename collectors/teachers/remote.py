"""A teacher behind an HTTP API: all that providers share, so that a provider's file says only what is its own.

Both SDKs come from one generator: their clients and exceptions look alike, without a class in common.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol

import httpx2

from collectors.teachers import endpoint, pricing, wire
from collectors.teachers.limits import Limits
from collectors.teachers.teacher import Recordings, Sampling, TeacherSpec
from environments.faults import TeacherFault
from environments.types import Json, Most, Reply, Request, Usage, clean

_BRINGS_MORE = {"tools", "mcp_servers", "web_search_options", "plugins", "prediction", "modalities"}
"""Options by which a provider itself adds to what it bills, or bills it as something other than text."""


class Client(Protocol):
    """What is used of an SDK's client."""

    async def post(self, path: str, *, cast_to: type[httpx2.Response], content: bytes) -> httpx2.Response: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Said:
    """What a provider's answer says."""

    text: str
    stop_reason: Json
    usage: Usage


class RemoteTeacher(ABC):
    provider: ClassVar[endpoint.Provider]
    path: ClassVar[str]
    """Of the requests, below the base URL."""
    price_flavor: ClassVar[str]
    """The price list's word for the API."""
    sdk_error: ClassVar[type[Exception]]
    optional: ClassVar[tuple[str, ...]] = ()
    """Parameters that a request can do without, where a server refuses them."""
    limit_names: ClassVar[tuple[str, ...]] = ("max_tokens",)
    """Under which a request may name the most tokens of its reply."""

    def __init__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None = None) -> None:
        self._at = self.provider.endpoint(spec)
        endpoint.check_options(spec, sampling)
        self.name = spec.name
        self._model = spec.model
        self._sampling = sampling
        self._refused: set[str] = set()
        self._client = self._connect()
        self.limits = Limits()

    @abstractmethod
    def _connect(self) -> Client: ...

    @abstractmethod
    def _body(self, request: Request) -> Mapping[str, Json]: ...

    @abstractmethod
    def _read(self, raw: Mapping[str, Json]) -> Said | None:
        """None for an answer without a reply in it."""

    async def reply(self, request: Request) -> Reply:
        body, started = self._body(request), time.perf_counter()
        response = await self._post(body)
        latency = time.perf_counter() - started
        raw = wire.json_answer(self._at, response)
        said = self._read(raw)
        if said is None:
            raise wire.bad_answer(self._at, response)
        return self._reply(said, raw, latency)

    def most(self, request: Request) -> Most | None:
        body = self._body(request)
        output = next((limit for name in self.limit_names if isinstance(limit := body.get(name), int)), None)
        if output is None or _BRINGS_MORE & body.keys():
            return None
        # A token is a byte at least, and the text stands in an envelope longer than what is put around it.
        sent = len(wire.encoded(body)) + self._unseen(request)
        return Most(sent + output, self._most_dollars(sent, output))

    def _unseen(self, request: Request) -> int:
        """Tokens that may be billed as input though the request does not hold them."""
        return 0

    def _most_dollars(self, sent: int, output: int) -> Decimal | None:
        if self._sampling.price is not None:
            return pricing.given_most((sent, output), self._sampling.price)
        if not self._at.is_official:
            return None
        return pricing.listed_most(
            self.provider.name, self._model, (sent, output), self._sampling.options, hour=self._caches_for_an_hour
        )

    @property
    def _caches_for_an_hour(self) -> bool:
        return False

    async def aclose(self) -> None:
        await self._client.close()

    async def _post(self, body: Mapping[str, Json]) -> httpx2.Response:
        sent = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._sampling.timeout):
                response = await self._client.post(self.path, cast_to=httpx2.Response, content=wire.encoded(body))
        except (self.sdk_error, TimeoutError) as error:
            self._learn(getattr(error, "response", None), sent)
            optional = [name for name in self._optional_in(body) if name not in self._sampling.options]
            raise self._noted(wire.sdk_fault(self._at, error, self._sampling.timeout, optional)) from error
        self._learn(response, sent)
        return response

    def _optional_in(self, body: Mapping[str, Json]) -> Iterable[str]:
        return (name for name in self.optional if name in body)

    def _noted(self, fault: TeacherFault) -> TeacherFault:
        if fault.parameter is not None:
            self._refused.add(fault.parameter)
        return fault

    def _learn(self, response: object, sent: float) -> None:
        if isinstance(response, httpx2.Response):
            self.limits.learn(response.headers, sent)

    def _reply(self, said: Said, raw: Mapping[str, Json], latency: float) -> Reply:
        return Reply(
            text=said.text,
            teacher=self.name,
            model=clean(wire.string(raw.get("model")) or self._model),
            stop_reason=clean(wire.string(said.stop_reason) or "unknown"),
            usage=said.usage,
            latency=latency,
            cost=self._cost(said.usage, raw),
            raw=raw,
        )

    def _cost(self, usage: Usage, raw: Mapping[str, Json]) -> Decimal | None:
        if self._sampling.price is not None:
            return pricing.given_cost(usage, self._sampling.price)
        if usage == pricing.UNKNOWN or not self._at.is_official:
            return None
        return pricing.listed_cost(self.provider.name, self.price_flavor, raw, self._model)
