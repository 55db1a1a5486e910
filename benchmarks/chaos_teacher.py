"""A teacher that fails by script and keeps its books: a process of its own on the loopback.

`python -m benchmarks.chaos_teacher SCRIPT` (its JSON) prints its port and serves chat completions until its stdin ends.
An answer is a function of task and turn alone, so that rows come out the same however often collecting was broken off.
It is written on plain sockets and not on a web framework, because it must know when the last byte of an answer had left
its hands, and must be able to stop in the middle of one. A collector is told from another by the key that it sends.

A task reads `… the first N positive …`; the replies are four cells, of which one or two fail, and the solution. What a
cell shows hangs on the cells before it and on the session's seed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, TextIO

DROP, CUT, CUT_CHUNKED = "dropped before an answer", "cut short", "cut short, in chunks"
HOUR = "429, to wait an hour"
REFUSALS: Mapping[str, tuple[int, str, str]] = {
    "429": (429, "application/json", ""),
    "429, to wait a second": (429, "application/json", "retry-after: 1\r\n"),
    HOUR: (429, "application/json", "retry-after: 3600\r\n"),
    "500": (500, "application/json", ""),
    "529": (529, "application/json", ""),
    "a page with 200": (200, "text/html", ""),
    "a page with 502": (502, "text/html", ""),
    "nothing with 200": (200, "application/json", ""),
}
"""Status, kind of body, and further lines of the head."""
SLOW = "slow"
FAULTS = (DROP, CUT, CUT_CHUNKED, *REFUSALS, SLOW)

SLOWER = 10
"""Times as long as another answer."""
MOST_HOURS = 2
"""In all: each of them stops everybody for as long as a collector is willing to wait."""

PROBLEM = "What is the sum of the squares of the first {n} positive integers?"

REPLIES = (
    """I'll take the squares first, and draw a few of them to look at.
<execute>
import random

n = {n}
squares = [i * i for i in range(1, n + 1)]
seen = random.sample(squares, 3)
print(len(squares), seen){fat}
</execute>""",
    """Now their sum.
<execute>
seen.append(random.choice(squares))
print(squares.sum()){fat}
</execute>""",
    """A list has no `sum`; it is a function.
<execute>
total = sum(squares)
print(total, seen, random.random()){fat}
</execute>""",
    """Against the closed form.
<execute>
closed = n * (n + 1) * (2 * n + 1) // {divisor}
print(closed == total, {{"closed": closed, "seen": seen}}[{key!r}]){fat}
</execute>""",
    "Both agree.\n<solution>{answer}</solution>",
)
FAT = "\nprint(random.Random({n}).randbytes({fat}).hex())"


@dataclass(frozen=True, slots=True)
class Script:
    books: str
    """The file that is written into, a line an event."""
    seconds: float = 0.2
    """An answer takes, half as long again or half as short."""
    faults: tuple[str, ...] = ()
    share: float = 0.0
    """Of the requests of a turn that each of the faults falls on, once."""
    most: int = 1
    """Faults of one request."""
    fat: int = 0
    """Bytes at random that every cell shows."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the books have it."""

    number: int
    who: str
    task: int
    turn: int
    at: float
    """By the machine's monotonic clock, as all moments here."""
    fault: str | None = None
    sent: float | None = None
    """When the last byte of a whole answer had been handed over; None where there was none."""
    sold: bool = False
    """A reply was made for it, whoever got it."""
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def place(self) -> tuple[int, int]:
        return self.task, self.turn

    def cost(self, price: tuple[Decimal, Decimal]) -> Decimal:
        """Dollars, by a price for a million tokens in and out."""
        return (self.tokens_in * price[0] + self.tokens_out * price[1]) / 1_000_000 if self.sold else Decimal(0)


def read_books(lines: Iterable[str]) -> list[Asked]:
    """Every request, in the order of coming; those that are still open have neither been sold nor sent."""
    asked: dict[int, dict[str, Any]] = {}
    for line in lines:
        event = json.loads(line)
        asked.setdefault(event["number"], {}).update(event)
    return [Asked(**event) for event in asked.values()]


# -- what is said ----------------------------------------------------------------------------------


def sum_of_squares(n: int) -> int:
    return n * (n + 1) * (2 * n + 1) // 6


def reply(n: int, turn: int, fat: int = 0) -> str:
    """Of every other task the fourth cell fails too: by its divisor or by its key."""
    divisor, key = ((6, "closed"), (0, "closed"), (6, "seen"), (6, "clsoed"))[n % 4]
    more = FAT.format(n=n + turn, fat=fat) if fat else ""
    return REPLIES[turn].format(n=n, answer=sum_of_squares(n), divisor=divisor, key=key, fat=more)


def completion(number: int, n: int, turn: int, asked: Any, fat: int) -> dict[str, Any]:
    text = reply(n, turn, fat)
    size = sum(len(message["content"]) for message in asked["messages"])
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": size // 2, "completion_tokens": len(text) // 2},
    }


def place_of(asked: Any) -> tuple[int, int]:
    """The task's number and the turn."""
    messages = asked["messages"]
    begun = next((i for i, message in enumerate(messages) if message["role"] == "assistant"), len(messages))
    found = re.findall(r"the first (\d+) positive", messages[begun - 1]["content"])
    return int(found[-1]), sum(message["role"] == "assistant" for message in messages)


def planned(script: Script, task: int, turn: int) -> tuple[str, ...]:
    """The faults that meet the first requests of a turn, in this order."""
    chance = Random(f"{script.seed}/{task}/{turn}")
    drawn = [fault for fault in script.faults if chance.random() < script.share]
    chance.shuffle(drawn)
    return tuple(drawn[: script.most])


# -- how it is sent --------------------------------------------------------------------------------


def whole(body: Any) -> bytes:
    sent = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(sent) + sent


def cut(body: Any) -> bytes:
    sent = whole(body)
    return sent[: len(sent) - len(json.dumps(body)) // 2]


def cut_chunked(body: Any) -> bytes:
    half = json.dumps(body).encode()
    half = half[: len(half) // 2]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % len(half) + half + b"\r\n"


def refusal(fault: str) -> bytes:
    status, kind, lines = REFUSALS[fault]
    if kind == "text/html":
        sent = "<html><body><h1>The server is being looked after.</h1></body></html>"
    else:
        sent = json.dumps({"error": {"message": f"This is a {status}.", "type": "server_error"}}) * (status != 200)
    return f"HTTP/1.1 {status} No\r\ncontent-type: {kind}\r\n{lines}content-length: {len(sent)}\r\n\r\n{sent}".encode()


@dataclass(slots=True)
class ChaosTeacher:
    script: Script
    books: TextIO
    asked: Counter[tuple[int, int]] = field(default_factory=Counter)
    met: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    hours: int = 0
    number: int = 0
    open: set[asyncio.Task[None]] = field(default_factory=set)

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Not a coroutine: one that is still answering at the end would be logged as an error."""
        task = asyncio.create_task(self.serve(reader, writer))
        self.open.add(task)
        task.add_done_callback(self.open.discard)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one after the other, until it is closed by either side."""
        # A drain then waits until the socket has taken every byte.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            goes_on = True
            while goes_on:
                head = await reader.readuntil(b"\r\n\r\n")
                body = json.loads(await reader.readexactly(_length(head)))
                goes_on = await self._answer(_key(head), body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(self, who: str, body: Any, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection is to be kept."""
        task, turn = place_of(body)
        self.number += 1
        number, fault = self.number, self._fault(task, turn)
        self._note(number=number, who=who, task=task, turn=turn, at=time.monotonic(), fault=fault)
        await asyncio.sleep(self._seconds(task, turn) * (SLOWER if fault == SLOW else 1))
        if fault == DROP:
            return False
        if fault is not None and fault in REFUSALS:
            writer.write(refusal(fault))
            await writer.drain()
            return True
        said = completion(number, task, turn, body, self.script.fat)
        usage = said["usage"]
        self._note(number=number, sold=True, tokens_in=usage["prompt_tokens"], tokens_out=usage["completion_tokens"])
        if fault in (CUT, CUT_CHUNKED):
            writer.write(cut(said) if fault == CUT else cut_chunked(said))
            await writer.drain()
            return False
        writer.write(whole(said))
        await writer.drain()
        self._note(number=number, sent=time.monotonic())
        return True

    def _fault(self, task: int, turn: int) -> str | None:
        plan, place = planned(self.script, task, turn), (task, turn)
        if self.met[place] >= len(plan):
            return None
        fault = plan[self.met[place]]
        self.met[place] += 1
        self.hours += fault == HOUR
        return None if fault == HOUR and self.hours > MOST_HOURS else fault

    def _seconds(self, task: int, turn: int) -> float:
        return self.script.seconds * (0.5 + Random(f"{task}/{turn}").random())

    def _note(self, **event: Any) -> None:
        self.books.write(json.dumps(event) + "\n")


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(found[1]) if found else 0


def _key(head: bytes) -> str:
    found = re.search(rb"(?i)\r\nauthorization: *Bearer +(\S+)", head)
    return found[1].decode() if found else ""


def main(script: Script) -> None:
    with Path(script.books).open("a", buffering=1, encoding="utf-8") as books:
        asyncio.run(serve(ChaosTeacher(script, books)))


async def serve(teacher: ChaosTeacher) -> None:
    server = await asyncio.start_server(teacher.connected, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    parent_gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, parent_gone.set)
    await parent_gone.wait()
    server.close()


def arguments(script: Script) -> Iterator[str]:
    """Of the command that plays it."""
    yield from (sys.executable, "-m", "benchmarks.chaos_teacher", json.dumps(asdict(script)))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(Script(**{**given, "faults": tuple(given["faults"])}))
