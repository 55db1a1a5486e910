"""How a request travels: beneath the SDKs' httpx2, over aiohttp.

httpx2's own pool looks at every connection for every request, which at hundreds at a time costs more than
all the rest of a call; aiohttp's costs the same however many it holds (`benchmarks/transports.py`). The
SDKs' adapters for aiohttp are not used: one calls a connection that broke a time-out, one holds 100
connections at the most, and neither keeps a silent one alive. Behind a proxy httpx2 sends by itself: it
knows more kinds of them.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeAlias
from urllib.request import getproxies

import aiohttp
import httpx2

IDLE = 30.0
"""Seconds for which a connection is kept that nobody uses."""

# The run bounds concurrency; a second queue inside the pool would only hide waiting as time-outs.
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE)
NO_LIMIT = 0

LONGEST_HEADER = 1 << 16
"""Characters of one line of an answer's head."""

KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 60, "TCP_KEEPCNT": 5}
"""Seconds, and times. A model may think for minutes, and a router forgets a connection on which nothing is sent."""

Address: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]


def http_client(make: Callable[..., httpx2.AsyncClient]) -> httpx2.AsyncClient:
    """What `make`, an SDK's kind of client, is to send by."""
    if getproxies().keys() - {"no"}:
        return make(limits=LIMITS)
    return make(transport=DirectTransport())


class DirectTransport(httpx2.AsyncBaseTransport):
    """Answers are read whole: none is streamed. Its connections are opened by the first request."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._session = self._session or _session()
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                headers=request.headers,
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=_timeout(request),
            ) as answer:
                body = await answer.read()
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx2.ConnectTimeout(str(error), request=request) from error
        except TimeoutError as error:
            raise httpx2.TimeoutException(str(error), request=request) from error
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except aiohttp.ClientError as error:
            raise httpx2.ReadError(str(error), request=request) from error
        return httpx2.Response(answer.status, headers=answer.raw_headers, content=body, request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def _session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=NO_LIMIT, keepalive_timeout=IDLE, ssl=httpx2.create_ssl_context(), socket_factory=_socket
    )
    return aiohttp.ClientSession(
        connector=connector,
        # Both are httpx2's to deal with.
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        max_field_size=LONGEST_HEADER,
    )


def _socket(address: Address) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEP_ALIVE.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _timeout(request: httpx2.Request) -> aiohttp.ClientTimeout:
    asked = request.extensions.get("timeout", {})
    return aiohttp.ClientTimeout(sock_connect=asked.get("connect"), sock_read=asked.get("read"))
