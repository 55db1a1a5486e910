"""Anthropic's Messages API.

Thinking blocks, signatures included, go back unmodified in later turns of the same teacher and to
no other. The text beside them goes back only as far as the conversation holds it: a reply is cut
after its action, and what the cut removed was never said.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import anthropic
import httpx2

from collectors.teachers import endpoint, pricing, wire
from collectors.teachers.teacher import Recordings, Sampling, TeacherSpec
from environments.faults import UsageError
from environments.types import Json, Message, Reply, Request, Usage, clean

PROVIDER = endpoint.Provider("anthropic", "https://api.anthropic.com", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")

DEFAULT_MAX_TOKENS = 8192
"""The API requires a limit; thinking counts in it."""

THINKING: Json = {"type": "adaptive", "display": "summarized"}
"""What an effort brings with it, so that the reasoning bought can be read. `--teacher-option thinking=…` overrides."""

_GONE = {"temperature", "top_p", "top_k"}


class AnthropicTeacher:
    def __init__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None = None) -> None:
        _check(spec, sampling)
        url = PROVIDER.url(spec).removesuffix("/v1")  # the SDK adds it
        self.name = spec.name
        self._model = spec.model
        self._sampling = sampling
        self._official = PROVIDER.is_official(url)
        self._client = anthropic.AsyncAnthropic(
            api_key=PROVIDER.key(spec, url),
            base_url=url,
            max_retries=0,
            timeout=endpoint.timeout(sampling),
            http_client=anthropic.DefaultAsyncHttpxClient(limits=endpoint.LIMITS),
        )

    async def reply(self, request: Request) -> Reply:
        body, started = self._body(request), time.perf_counter()
        response = await self._post(body)
        return self._read(response, time.perf_counter() - started)

    async def aclose(self) -> None:
        await self._client.close()

    def _body(self, request: Request) -> Mapping[str, Json]:
        system = "\n\n".join(message.content for message in request.messages if message.role == "system")
        effort = self._sampling.effort
        wanted: dict[str, Json] = {
            "system": system or None,
            "stop_sequences": list(request.stop) or None,
            "output_config": {"effort": effort} if effort else None,
            "thinking": THINKING if effort else None,
        }
        return {
            "model": self._model,
            "max_tokens": self._sampling.max_tokens or DEFAULT_MAX_TOKENS,
            "messages": [self._message(message) for message in request.messages if message.role != "system"],
            **{name: value for name, value in wanted.items() if value is not None},
            **self._sampling.options,
        }

    def _message(self, message: Message) -> Json:
        reply = message.reply
        if reply is not None and reply.teacher == self.name and reply.text.startswith(message.content):
            return {"role": message.role, "content": list(_echo(reply, message.content))}
        return {"role": message.role, "content": message.content if message.content.strip() else wire.EMPTY}

    async def _post(self, body: Mapping[str, Json]) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._sampling.timeout):
                return await self._client.post("/v1/messages", cast_to=httpx2.Response, content=wire.encoded(body))
        except anthropic.APIStatusError as error:
            raise wire.status_fault(self.name, PROVIDER, error.response) from error
        except (anthropic.APITimeoutError, TimeoutError) as error:
            raise wire.timeout_fault(self.name, self._sampling) from error
        except anthropic.APIConnectionError as error:
            raise wire.transport_fault(self.name, error) from error

    def _read(self, response: httpx2.Response, latency: float) -> Reply:
        raw = wire.json_answer(self.name, response)
        if not isinstance(raw.get("content"), Sequence) or raw.get("type") != "message":
            raise wire.bad_answer(self.name, response)
        usage = pricing.anthropic_usage(wire.mapping(raw.get("usage")))
        return Reply(
            text="".join(_text(block) for block in _blocks(raw)),
            teacher=self.name,
            model=clean(wire.string(raw.get("model")) or self._model),
            stop_reason=clean(wire.string(raw.get("stop_reason")) or "unknown"),
            usage=usage,
            latency=latency,
            cost=self._cost(usage, raw),
            raw=raw,
        )

    def _cost(self, usage: Usage, raw: Mapping[str, Json]) -> Decimal | None:
        if self._sampling.price is not None:
            return pricing.given_cost(usage, self._sampling.price)
        return pricing.listed_cost(PROVIDER.name, "default", raw, self._model) if self._official else None


def _check(spec: TeacherSpec, sampling: Sampling) -> None:
    endpoint.check_options(spec, sampling)
    given = {"temperature"} if sampling.temperature is not None else _GONE & sampling.options.keys()
    if given:
        raise UsageError(f"{spec.name}: the API no longer takes {', '.join(sorted(given))}; use --effort instead.")


def _echo(reply: Reply, spoken: str) -> Iterator[Json]:
    """The reply's own blocks, up to the end of `spoken`, which is how its text begins."""
    left, texts = len(spoken), 0
    for block in _blocks(wire.mapping(reply.raw)):
        if block.get("type") != "text":
            yield block
            continue
        piece = _text(block)[:left]
        left -= len(piece)
        if piece.strip():
            texts += 1
            yield {"type": "text", "text": piece}
        if not left:
            break
    if not texts:
        yield {"type": "text", "text": spoken if spoken.strip() else wire.EMPTY}


def _blocks(raw: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    content = raw.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        yield from (wire.mapping(block) for block in content)


def _text(block: Mapping[str, Json]) -> str:
    """Cleaned block by block, so that positions in a reply's text are positions in its blocks."""
    return clean(wire.string(block.get("text"))) if block.get("type") == "text" else ""
