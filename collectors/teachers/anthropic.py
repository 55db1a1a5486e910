"""Anthropic's Messages API.

Thinking blocks, signatures included, go back unmodified in later turns of the same teacher and to
no other. The text beside them goes back only as far as the conversation holds it: a reply is cut
after its action, and what the cut removed was never said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
    content = raw.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        yield from (wire.mapping(block) for block in content)


def _text(block: Mapping[str, Json]) -> str:
    """Cleaned block by block, so that positions in a reply's text are positions in its blocks."""
    return clean(wire.string(block.get("text"))) if block.get("type") == "text" else ""
