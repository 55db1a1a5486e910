"""What a call to a teacher costs by each way that it can travel: beneath the official client, many calls at a time.

`python -m benchmarks.transports [--json]`. Every way sends the same requests to a teacher on the loopback that answers
after a fixed time, from as many callers at once; the CPU is this process's own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping

import httpx2
import openai

from benchmarks.collect import latency_teacher
from benchmarks.latency_teacher import MODEL, PROBLEM
from collectors.teachers import transport

SECONDS = 1.0
"""A reply takes."""
CALLERS = 128
CALLS = 12
"""Each caller makes, one after the other."""
SEVERAL = 8

BODY = {
    "model": f"{MODEL}{SECONDS}",
    "messages": [
        {"role": "system", "content": "You solve problems by writing Python. " * 100},
        {"role": "user", "content": PROBLEM.format(n=100)},
    ],
}

Make = Callable[[], httpx2.AsyncClient]
WAYS: Mapping[str, tuple[Make, int]] = {
    "ours, over aiohttp": (lambda: transport.http_client(openai.DefaultAsyncHttpxClient), 1),
    "the client's aiohttp adapter": (lambda: openai.DefaultAioHttpClient(limits=transport.LIMITS), 1),
    "the client's own": (lambda: openai.DefaultAsyncHttpxClient(limits=transport.LIMITS), 1),
    f"{SEVERAL} of the client's own": (lambda: openai.DefaultAsyncHttpxClient(limits=transport.LIMITS), SEVERAL),
}


def main() -> None:
    with latency_teacher() as port:
        measured = {name: asyncio.run(measure(port, *way)) for name, way in WAYS.items()}
    if "--json" in sys.argv:
        print(json.dumps(measured))
        return
    print(f"{CALLERS} callers at once, {CALLS} calls each, a reply takes {SECONDS} s")
    print(f"{'':32} {'CPU-ms a call':>14} {'share of the ideal':>20}")
    for name, found in measured.items():
        print(f"{name:32} {found['cpu']:14.2f} {found['share']:20.3f}")


async def measure(port: int, make: Make, count: int) -> dict[str, float]:
    clients = [
        openai.AsyncOpenAI(
            api_key="none", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0, http_client=make(), timeout=60
        )
        for _ in range(count)
    ]
    taking_turns = itertools.cycle(clients)

    async def caller(calls: int) -> None:
        for _ in range(calls):
            await next(taking_turns).post("/chat/completions", body=BODY, cast_to=httpx2.Response)

    await asyncio.gather(*(caller(1) for _ in range(CALLERS)))
    busy, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(CALLS) for _ in range(CALLERS)))
    taken, spent = time.perf_counter() - began, time.process_time() - busy
    for client in clients:
        await client.close()
    return {"cpu": 1_000 * spent / (CALLERS * CALLS), "share": CALLS * SECONDS / taken}


if __name__ == "__main__":
    main()
