"""A teacher that answers after a fixed time: a process of its own on the loopback that speaks chat completions.

`python -m benchmarks.latency_teacher` prints its port and serves until its stdin ends. The model's name says how many
seconds a reply takes: `after-1.0`. It is written on asyncio's transports, so that it takes little of the CPU
that it shares with what is measured. A task reads `… the first N …`; the replies are four cells, one of which
fails and is then put right, and the solution.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

MODEL = "after-"

REPLIES = (
    """I'll compute the squares as an array and add them up.
<execute>
import numpy as np

n = {n}
squares = np.arange(1, n + 1) ** 2
print(squares[:5], squares.sum(), squares.mean().round(2))
</execute>""",
    """Let me check that against the sum written out, as text.
<execute>
terms = [f"{{i}}^2" for i in range(1, n + 1)]
written = " + ".join(terms)
print(written[:40], "...", len(written), sum(int(term.split("^")[0]) ** 2 for term in terms))
</execute>""",
    """And against the closed form.
<execute>
def closed(n):
    return n * (n + 1) * (2 * n + 1) // 6

print(closed(n) == squares.total())
</execute>""",
    """An array has no `total`; it is `sum`.
<execute>
print(closed(n) == squares.sum(), closed(n))
</execute>""",
    "All three agree.\n<solution>{answer}</solution>",
)

PROBLEM = "What is the sum of the squares of the first {n} positive integers?"


def sum_of_squares(n: int) -> int:
    return n * (n + 1) * (2 * n + 1) // 6


class Conversation(asyncio.Protocol):
    """One connection: requests one after the other."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= _length(head):
            self._received = b""
            asked = json.loads(body)
            asyncio.get_running_loop().call_later(seconds(asked), self._answer, asked)

    def _answer(self, asked: Any) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer(asked))


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def seconds(asked: Any) -> float:
    return float(asked["model"].removeprefix(MODEL))


def answer(asked: Any) -> bytes:
    """The whole HTTP answer to a request."""
    messages = asked["messages"]
    turn = sum(message["role"] == "assistant" for message in messages)
    n = int(re.findall(r"the first (\d+)", messages[1]["content"])[-1])
    text = REPLIES[turn].format(n=n, answer=sum_of_squares(n))
    said = {
        "id": f"chatcmpl-{n}-{turn}",
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 100},
    }
    sent = json.dumps(said).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(sent)}\r\n\r\n"
    return head.encode() + sent


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Conversation, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    parent_gone = asyncio.Event()
    loop.add_reader(sys.stdin, parent_gone.set)
    await parent_gone.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
