"""Chat completions: OpenAI's own, and any server that speaks them (`openai:Qwen3-32B@http://127.0.0.1:8000/v1`).

The request is posted through the SDK for its keys and headers, but built and read here: the raw
answer is kept as received, and servers differ too much from the SDK's models to be parsed by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import openai

from collectors.teachers import endpoint, pricing, transport, wire
from collectors.teachers.remote import Client, RemoteTeacher, Said
from environments.types import Json, Message, Request, clean

DEFAULT_MAX_TOKENS = 8192
"""For OpenAI's own models. Elsewhere the server decides: it knows how much its context holds."""

_LIMIT_NAMES = ("max_completion_tokens", "max_tokens")


class OpenAITeacher(RemoteTeacher):
    provider = endpoint.Provider("openai", "https://api.openai.com/v1", "OPENAI")
    path = "/chat/completions"
    price_flavor = "chat"
    sdk_error = openai.APIError
    optional = ("stop", *_LIMIT_NAMES)
    limit_names = _LIMIT_NAMES

    def _connect(self) -> Client:
        return openai.AsyncOpenAI(
            api_key=self._at.key,
            base_url=self._at.url,
            max_retries=0,
            timeout=endpoint.timeout(self._sampling),
            http_client=transport.http_client(openai.DefaultAsyncHttpxClient),
        )

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
        names = _LIMIT_NAMES if self._at.is_official else _LIMIT_NAMES[::-1]
        name = next((name for name in names if name not in self._refused), names[0])
        return {name: self._sampling.max_tokens or (DEFAULT_MAX_TOKENS if self._at.is_official else None)}

    def _read(self, raw: Mapping[str, Json]) -> Said | None:
        choices = raw.get("choices")
        choice = wire.mapping(choices[0]) if isinstance(choices, Sequence) and choices else {}
        message = choice.get("message")
        if not isinstance(message, Mapping) or choice.get("error"):
            return None
        usage = pricing.openai_usage(wire.mapping(raw.get("usage")))
        return Said(clean(_text(message.get("content"))), choice.get("finish_reason"), usage)


def _message(message: Message) -> Json:
    return {"role": message.role, "content": message.content if message.content.strip() else wire.EMPTY}


def _text(content: Json) -> str:
    """Most servers send a string; some send parts, of which those of reasoning are not the reply."""
    if isinstance(content, str) or not isinstance(content, Sequence):
        return wire.string(content)
    parts = [wire.mapping(part) for part in content]
    return "".join(wire.string(part.get("text")) for part in parts if part.get("type") == "text")
