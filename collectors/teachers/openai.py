"""Chat completions: OpenAI's own, and any server that speaks them (`openai:Qwen3-32B@http://127.0.0.1:8000/v1`).

The request is posted through the SDK for its keys and headers, but built and read here: the raw
answer is kept as received, and servers differ too much from the SDK's models to be parsed by them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal

import httpx2
import openai

from collectors.teachers import endpoint, pricing, wire
from collectors.teachers.teacher import Recordings, Sampling, TeacherSpec
from environments.types import Json, Message, Reply, Request, Usage, clean

PROVIDER = endpoint.Provider("openai", "https://api.openai.com/v1", "OPENAI_BASE_URL", "OPENAI_API_KEY")

DEFAULT_MAX_TOKENS = 8192
"""For OpenAI's own models. Elsewhere the server decides: it knows how much its context holds."""

_LIMIT_NAMES = ("max_completion_tokens", "max_tokens")
_OPTIONAL = ("stop", *_LIMIT_NAMES)


class OpenAITeacher:
    def __init__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None = None) -> None:
        endpoint.check_options(spec, sampling)
        url = PROVIDER.url(spec)
        self.name = spec.name
        self._model = spec.model
        self._sampling = sampling
        self._official = PROVIDER.is_official(url)
        self._refused: set[str] = set()
        self._client = openai.AsyncOpenAI(
            api_key=PROVIDER.key(spec, url),
            base_url=url,
            max_retries=0,
            timeout=endpoint.timeout(sampling),
            http_client=openai.DefaultAsyncHttpxClient(limits=endpoint.LIMITS),
        )

    async def reply(self, request: Request) -> Reply:
        body, started = self._body(request), time.perf_counter()
        response = await self._post(body)
        return self._read(response, time.perf_counter() - started)

    async def aclose(self) -> None:
        await self._client.close()

    def _body(self, request: Request) -> Mapping[str, Json]:
        wanted: dict[str, Json] = {
            "temperature": self._sampling.temperature,
            "reasoning_effort": self._sampling.effort,
            "stop": list(request.stop) or None,
            **self._limit(),
        }
        sent = {name: value for name, value in wanted.items() if value is not None and name not in self._refused}
        messages = [_message(message) for message in request.messages]
        return {"model": self._model, "messages": messages, **sent, **self._sampling.options}

    def _limit(self) -> dict[str, Json]:
        """OpenAI's name for the limit is refused by older servers, the older name by OpenAI's newer models."""
        names = _LIMIT_NAMES if self._official else _LIMIT_NAMES[::-1]
        name = next((name for name in names if name not in self._refused), names[0])
        return {name: self._sampling.max_tokens or (DEFAULT_MAX_TOKENS if self._official else None)}

    async def _post(self, body: Mapping[str, Json]) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._sampling.timeout):
                return await self._client.post("/chat/completions", cast_to=httpx2.Response, content=wire.encoded(body))
        except openai.APIStatusError as error:
            optional = [name for name in _OPTIONAL if name in body and name not in self._sampling.options]
            fault = wire.status_fault(self.name, PROVIDER, error.response, optional)
            if fault.parameter is not None:
                self._refused.add(fault.parameter)
            raise fault from error
        except (openai.APITimeoutError, TimeoutError) as error:
            raise wire.timeout_fault(self.name, self._sampling) from error
        except openai.APIConnectionError as error:
            raise wire.transport_fault(self.name, error) from error

    def _read(self, response: httpx2.Response, latency: float) -> Reply:
        raw = wire.json_answer(self.name, response)
        choices = raw.get("choices")
        choice = wire.mapping(choices[0]) if isinstance(choices, Sequence) and choices else {}
        message = choice.get("message")
        if not isinstance(message, Mapping) or choice.get("error"):
            raise wire.bad_answer(self.name, response)
        usage = pricing.openai_usage(wire.mapping(raw.get("usage")))
        return Reply(
            text=clean(_text(message.get("content"))),
            teacher=self.name,
            model=clean(wire.string(raw.get("model")) or self._model),
            stop_reason=clean(wire.string(choice.get("finish_reason")) or "unknown"),
            usage=usage,
            latency=latency,
            cost=self._cost(usage, raw),
            raw=raw,
        )

    def _cost(self, usage: Usage, raw: Mapping[str, Json]) -> Decimal | None:
        if self._sampling.price is not None:
            return pricing.given_cost(usage, self._sampling.price)
        return pricing.listed_cost(PROVIDER.name, "chat", raw, self._model) if self._official else None


def _message(message: Message) -> Json:
    return {"role": message.role, "content": message.content if message.content.strip() else wire.EMPTY}


def _text(content: Json) -> str:
    """Most servers send a string; some send parts, of which those of reasoning are not the reply."""
    if isinstance(content, str) or not isinstance(content, Sequence):
        return wire.string(content)
    parts = [wire.mapping(part) for part in content]
    return "".join(wire.string(part.get("text")) for part in parts if part.get("type") == "text")
