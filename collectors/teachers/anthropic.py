"""Anthropic's Messages API.

Thinking blocks, signatures included, go back unmodified in later turns of the same teacher and to
no other. The text beside them goes back only as far as the conversation holds it: a reply is cut
after its action, and what the cut removed was never said. The provider is told to cache what stands
before every task, and the conversation so far, which the next turn begins with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import anthropic

from collectors.teachers import endpoint, pricing, transport, wire
from collectors.teachers.remote import Client, RemoteTeacher, Said
from collectors.teachers.teacher import Recordings, Sampling, TeacherSpec
from environments.faults import UsageError
from environments.types import Json, Message, Reply, Request, clean

DEFAULT_MAX_TOKENS = 8192
"""The API requires a limit; thinking counts in it."""

THINKING: Json = {"type": "adaptive", "display": "summarized"}
"""What an effort brings with it, so that the reasoning bought can be read. `--teacher-option thinking=…` overrides."""

CACHE: Json = {"type": "ephemeral"}
"""For five minutes from the last use. `--teacher-option cache_control=…` overrides; false asks for none."""

_GONE = {"temperature", "top_p", "top_k"}


class AnthropicTeacher(RemoteTeacher):
    provider = endpoint.Provider("anthropic", "https://api.anthropic.com", "ANTHROPIC")
    path = "/v1/messages"
    price_flavor = "default"
    sdk_error = anthropic.APIError

    def __init__(self, spec: TeacherSpec, sampling: Sampling, recordings: Recordings | None = None) -> None:
        super().__init__(spec, sampling, recordings)
        given = {"temperature"} if sampling.temperature is not None else _GONE & sampling.options.keys()
        if given:
            raise UsageError(f"{spec.name}: the API no longer takes {', '.join(sorted(given))}; use --effort instead.")

    def _connect(self) -> Client:
        return anthropic.AsyncAnthropic(
            api_key=self._at.key,
            base_url=self._at.url.removesuffix("/v1"),  # it stands in the path
            max_retries=0,
            timeout=endpoint.timeout(self._sampling),
            http_client=transport.http_client(anthropic.DefaultAsyncHttpxClient),
        )

    def _body(self, request: Request) -> Mapping[str, Json]:
        system = "\n\n".join(message.content for message in request.messages if message.role == "system")
        effort = self._sampling.effort
        messages = [self._message(message) for message in request.messages if message.role != "system"]
        if messages:
            messages[-1] = {**messages[-1], "content": self._cached(messages[-1]["content"])}
        wanted: dict[str, Json] = {
            "system": self._cached(system) if system.strip() else None,
            "stop_sequences": list(request.stop) or None,
            "output_config": {"effort": effort} if effort else None,
            "thinking": THINKING if effort else None,
        }
        return {
            "model": self._model,
            "max_tokens": self._sampling.max_tokens or DEFAULT_MAX_TOKENS,
            "messages": messages,
            **{name: value for name, value in wanted.items() if value is not None},
            **{name: value for name, value in self._sampling.options.items() if name != "cache_control"},
        }

    @property
    def _cache(self) -> Json:
        """As it is asked for; None where it is not."""
        if "cache_control" in self._refused:
            return None
        return self._sampling.options.get("cache_control", CACHE) or None

    def _cached(self, content: Json) -> Json:
        """Asks to cache the request up to the end of `content`; blocks of a reply go back as they came."""
        if self._cache is None or not isinstance(content, str):
            return content
        return [{"type": "text", "text": content, "cache_control": self._cache}]

    @property
    def _caches_for_an_hour(self) -> bool:
        return wire.mapping(self._cache).get("ttl") == "1h"

    def _optional_in(self, body: Mapping[str, Json]) -> Iterable[str]:
        messages = body["messages"]
        last = wire.mapping(messages[-1]) if isinstance(messages, Sequence) and messages else {}
        marked = (*_listed(body.get("system")), *_listed(last.get("content")))
        return ("cache_control",) if any("cache_control" in block for block in marked) else ()

    def _unseen(self, request: Request) -> int:
        """Thinking goes back with a summary's length, and counts with its own."""
        replies = (message.reply for message in request.messages)
        return sum(reply.usage.output for reply in replies if reply is not None and reply.teacher == self.name)

    def _message(self, message: Message) -> Mapping[str, Json]:
        reply = message.reply
        if reply is not None and reply.teacher == self.name and reply.text.startswith(message.content):
            return {"role": message.role, "content": list(_echo(reply, message.content))}
        return {"role": message.role, "content": message.content if message.content.strip() else wire.EMPTY}

    def _read(self, raw: Mapping[str, Json]) -> Said | None:
        if not isinstance(raw.get("content"), Sequence) or raw.get("type") != "message":
            return None
        text = "".join(_text(block) for block in _blocks(raw))
        return Said(text, raw.get("stop_reason"), pricing.anthropic_usage(wire.mapping(raw.get("usage"))))


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
    yield from _listed(raw.get("content"))


def _listed(content: Json) -> Iterator[Mapping[str, Json]]:
    if isinstance(content, Sequence) and not isinstance(content, str):
        yield from (wire.mapping(block) for block in content)


def _text(block: Mapping[str, Json]) -> str:
    """Cleaned block by block, so that positions in a reply's text are positions in its blocks."""
    return clean(wire.string(block.get("text"))) if block.get("type") == "text" else ""
