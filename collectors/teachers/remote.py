"""A teacher behind an HTTP API: all that providers share, so that a provider's file says only what is its own.

Both SDKs come from one generator: their clients and exceptions look alike, without a class in common.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol

import httpx2

from collectors.teachers import endpoint, pricing, wire
from collectors.teachers.teacher import Recordings, Sampling, TeacherSpec
from environments.types import Json, Reply, Request, Usage, clean


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

    def __init__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None = None) -> None:
        self._at = self.provider.endpoint(spec)
        endpoint.check_options(spec, sampling)
        self.name = spec.name
        self._model = spec.model
        self._sampling = sampling
        self._client = self._connect()

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

    async def aclose(self) -> None:
        await self._client.close()

    async def _post(self, body: Mapping[str, Json]) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._sampling.timeout):
                return await self._client.post(self.path, cast_to=httpx2.Response, content=wire.encoded(body))
        except (self.sdk_error, TimeoutError) as error:
            optional = [name for name in self.optional if name in body and name not in self._sampling.options]
            raise wire.sdk_fault(self._at, error, self._sampling.timeout, optional) from error

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
