"""How requests travel: real connections to a server on the loopback, straight and through a proxy."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from environments.faults import TeacherFault

TIMERS = Path("/proc/net/tcp")
KEEP_ALIVE = "02"
"""The kernel's number of the timer that waits to ask the other end whether it is still there."""

CHAT = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}
MESSAGE = {"type": "message", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}

pytestmark = pytest.mark.parametrize(("name", "answer"), [("openai", CHAT), ("anthropic", MESSAGE)])


async def test_a_compressed_answer_is_read(make, provider, conversation, name, answer):
    provider.will(gzip.compress(json.dumps(answer).encode()), headers={"content-encoding": "gzip"})
    reply = await make(f"{name}:m@{provider.url}").reply(conversation("s", "u"))
    assert (reply.text, reply.raw) == ("a", answer)


async def test_a_long_header_is_no_fault(make, provider, conversation, name, answer):
    provider.will(answer, headers={"content-security-policy": "x" * 20_000})
    assert (await make(f"{name}:m@{provider.url}").reply(conversation("s", "u"))).text == "a"


async def test_a_server_that_hangs_up_after_each_answer_is_asked_on(make, provider, conversation, name, answer):
    teacher = make(f"{name}:m@{provider.url}")
    for _ in range(3):
        provider.will(answer, headers={"connection": "close"})
        assert (await teacher.reply(conversation("s", "u"))).text == "a"


async def test_a_redirect_is_followed_without_the_key_where_it_leads_elsewhere(
    make, provider, conversation, monkeypatch, name, answer
):
    monkeypatch.setenv(f"{name.upper()}_COMPATIBLE_API_KEY", "sk-for-the-first")
    elsewhere = provider.url.replace("127.0.0.1", "localhost")
    provider.will("", 307, headers={"location": f"{elsewhere}/there"})
    provider.will(answer)
    assert (await make(f"{name}:m@{provider.url}").reply(conversation("s", "u"))).text == "a"
    first, second = provider.seen
    assert (second.path, second.bytes) == ("/v1/there", first.bytes)
    assert "sk-for-the-first" in str(first.headers)
    assert "sk-for-the-first" not in str(second.headers)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
async def test_a_proxy_is_used_and_told_its_password(make, provider, conversation, monkeypatch, name, answer, variable):
    host = provider.url.removeprefix("http://").removesuffix("/v1")
    monkeypatch.setenv(variable, f"http://user:secret@{host}")
    provider.will(answer)
    assert (await make(f"{name}:m@http://teacher.example/v1").reply(conversation("s", "u"))).text == "a"
    assert provider.seen[0].path.startswith("http://teacher.example/v1/")
    assert provider.seen[0].headers["proxy-authorization"].startswith("Basic ")


async def test_a_host_that_is_excepted_is_asked_past_the_proxy(make, provider, conversation, monkeypatch, name, answer):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    provider.will(answer)
    assert (await make(f"{name}:m@{provider.url}").reply(conversation("s", "u"))).text == "a"


async def test_what_is_not_http_is_a_broken_connection(make, conversation, name, answer):
    async def greet(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        teacher = make(f"{name}:m@http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=20.0)
        with pytest.raises(TeacherFault, match="no answer: ") as caught:
            await teacher.reply(conversation("s", "u"))
    assert caught.value.kind == "connection"


@pytest.mark.skipif(not TIMERS.exists(), reason="the system does not list its connections' timers")
async def test_a_silent_connection_is_kept_alive(make, provider, conversation, name, answer):
    provider.will(answer)
    await make(f"{name}:m@{provider.url}").reply(conversation("s", "u"))
    port = int(provider.url.rpartition(":")[2].partition("/")[0])
    connections = [line.split() for line in TIMERS.read_text().splitlines()]
    timers = [fields[5] for fields in connections if fields[2].endswith(f":{port:04X}")]
    assert [timer[:2] for timer in timers] == [KEEP_ALIVE]
