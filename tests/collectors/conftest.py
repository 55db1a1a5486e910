"""What the teachers' tests share: a provider on the loopback that answers as told, and makers of what they ask."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from collectors.teachers.teacher import Sampling, Teacher, make_teacher
from environments.types import Call, Message, Reply, Request


@dataclass(frozen=True)
class Answer:
    body: Any
    """Sent as JSON unless it is text or bytes; None drops the connection without an answer."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    """Bytes promised in the headers and never sent."""


@dataclass(frozen=True)
class Seen:
    path: str
    headers: dict[str, str]
    body: Any
    bytes: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class LoopbackProvider:
    """Answers each request with the next of `answers`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.seen: list[Seen] = []
        self.barrier: threading.Barrier | None = None
        self._free = threading.Event()
        self._free.set()
        self._asked = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._free.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def hold(self) -> None:
        """From now on, leave requests unanswered."""
        self._free.clear()

    async def asked(self) -> None:
        """Until a request has come in."""
        await asyncio.to_thread(self._asked.wait, 30)

    def arrived(self, seen: Seen) -> None:
        self.seen.append(seen)
        self._asked.set()
        if self.barrier is not None:
            self.barrier.wait(30)
        self._free.wait(30)

    def will(self, body: Any, status: int = 200, **rest: Any) -> None:
        self.answers.append(Answer(body, status, **rest))

    def will_chat(self, content: Any, **choice: Any) -> None:
        self.will(
            {
                "id": "chatcmpl-1",
                "model": "gpt-5.5-2026-04-23",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": content},
                        "finish_reason": "stop",
                        **choice,
                    }
                ],
                "usage": {"prompt_tokens": 20, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 8}},
            }
        )

    def will_message(self, *blocks: Any, stop_reason: str = "end_turn") -> None:
        usage = {"input_tokens": 5, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 7, "output_tokens": 4}
        self.will(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-opus-5-5",
                "content": list(blocks),
                "stop_reason": stop_reason,
                "usage": usage,
            }
        )


def _text(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def _handler(provider: LoopbackProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            provider.arrived(Seen(self.path, headers, json.loads(sent), sent))
            answer = provider.answers.pop(0) if provider.answers else Answer("asked once too often", 418)
            self.close_connection = answer.body is None or bool(answer.missing)
            if answer.body is not None:
                self._send(answer)

        def _send(self, answer: Answer) -> None:
            body = answer.body if isinstance(answer.body, bytes) else _text(answer.body).encode()
            self.send_response_only(answer.status)  # no date of its own
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) + answer.missing))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            return

    return Handler


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackProvider]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = LoopbackProvider()
    yield server
    server.close()


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., Teacher]]:
    """`make_teacher`, with its sampling as keywords; what it made is closed at the end."""
    made: list[Teacher] = []

    def maker(name: str, **sampling: Any) -> Teacher:
        made.append(make_teacher(name, Sampling(**sampling)))
        return made[-1]

    yield maker
    for teacher in made:
        await teacher.aclose()


@pytest.fixture
def conversation() -> Callable[..., Request]:
    """A request from what was said: texts of the system, the user, and so on by turns, or a `Message` itself."""

    def of(*said: str | Message, **rest: Any) -> Request:
        roles = ["system", *["user", "assistant"] * len(said)]
        messages = tuple(
            text if isinstance(text, Message) else Message(cast(Any, role), text)
            for role, text in zip(roles, said, strict=False)
        )
        return Request(**{"task_id": "math/1", "attempt": 0, "turn": 0, "messages": messages, **rest})

    return of


@pytest.fixture
def spoken() -> Callable[[Reply, int], Message]:
    """A reply as the conversation holds it: cut at a position, beside the whole."""
    return lambda reply, end: Message("assistant", reply.text[:end], reply)


class Waits(list[float]):
    """A sleep that does not wait, and keeps for how long it was asked to."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


class Calls(list[Call]):
    """A log of attempts."""

    async def __call__(self, call: Call) -> None:
        self.append(call)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def calls() -> Calls:
    return Calls()
