"""Chat completions, against a server on the loopback."""

import asyncio
import json
import threading
from decimal import Decimal

import pytest

from environments.faults import TeacherFault
from environments.types import Message, Usage


@pytest.fixture
def teacher(make, provider):
    return make(f"openai:Qwen/Qwen3:32b@{provider.url}")


async def test_the_reply_keeps_the_whole_answer_beside_its_text(teacher, provider, conversation):
    provider.will_chat("<execute>1</execute>")
    provider.answers[0].body["choices"][0]["message"]["reasoning_content"] = "Hm."
    answer = json.loads(json.dumps(provider.answers[0].body))
    reply = await teacher.reply(conversation("Be brief.", "Task:\n1"))
    assert (reply.text, reply.stop_reason) == ("<execute>1</execute>", "stop")
    assert (reply.teacher, reply.model) == (f"openai:Qwen/Qwen3:32b@{provider.url}", "gpt-5.5-2026-04-23")
    assert reply.usage == Usage(input=20, output=4, cache_read=8)
    assert reply.raw == answer
    assert reply.latency > 0


async def test_the_conversation_is_sent_as_it_stands(teacher, provider, conversation):
    provider.will_chat("b")
    await teacher.reply(conversation("Be brief.", "Task:\n1", "a", "Observation:\né\n"))
    (seen,) = provider.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["content-type"] == "application/json"
    assert seen.body == {
        "model": "Qwen/Qwen3:32b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Task:\n1"},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "Observation:\né\n"},
        ],
    }


async def test_settings_and_options_reach_the_server(make, provider, conversation):
    provider.will_chat("a")
    teacher = make(
        f"openai:m@{provider.url}", max_tokens=99, temperature=0.0, effort="low", options={"top_k": 3, "seed": 7}
    )
    await teacher.reply(conversation("s", "u", stop=("</execute>",)))
    body = provider.seen[0].body
    assert {name: body[name] for name in body.keys() - {"model", "messages"}} == {
        "max_tokens": 99,
        "temperature": 0.0,
        "reasoning_effort": "low",
        "stop": ["</execute>"],
        "top_k": 3,
        "seed": 7,
    }


@pytest.mark.parametrize("content", [None, "", " \n"])
async def test_a_reply_without_text_is_a_reply(teacher, provider, conversation, content):
    provider.will_chat(content)
    assert (await teacher.reply(conversation("s", "u"))).text == (content or "")


async def test_an_empty_message_is_sent_as_a_placeholder(teacher, provider, conversation):
    provider.will_chat("a")
    await teacher.reply(conversation("s", "u", " \n", "Observation:\nWhat?"))
    assert provider.seen[0].body["messages"][2] == {"role": "assistant", "content": "(empty)"}


async def test_parts_of_content_are_joined_without_the_reasoning(teacher, provider, conversation):
    provider.will_chat(
        [{"type": "thinking", "text": "Hm"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    )
    assert (await teacher.reply(conversation("s", "u"))).text == "ab"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_reply_that_was_broken_off_says_so(teacher, provider, conversation, reason):
    provider.will_chat("<execute>1", finish_reason=reason)
    reply = await teacher.reply(conversation("s", "u"))
    assert (reply.text, reply.stop_reason) == ("<execute>1", reason)


async def test_text_is_cleaned_and_the_raw_answer_is_not(teacher, provider, conversation):
    provider.will_chat("a\ud800\x00b")
    reply = await teacher.reply(conversation("s", "u"))
    assert reply.text == "a\\ud800\\x00b"
    assert reply.raw["choices"][0]["message"]["content"] == "a\ud800\x00b"


@pytest.mark.parametrize(
    "body",
    [
        "<html>Bad gateway</html>",
        "",
        "null",
        "[1]",
        {"choices": []},
        {"choices": None},
        {"choices": [{"finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "a"}, "error": {"message": "upstream"}}]},
        {"error": {"message": "overloaded", "code": 502}},
    ],
)
async def test_an_answer_without_a_reply_is_a_bad_answer(teacher, provider, conversation, body):
    provider.will(body, headers={"x-request-id": "r7"})
    with pytest.raises(TeacherFault, match="HTTP 200, but no reply in it") as caught:
        await teacher.reply(conversation("s", "u"))
    assert (caught.value.kind, caught.value.request_id, caught.value.passing) == ("bad_answer", "r7", True)


async def test_a_parameter_that_is_not_taken_is_left_out_from_then_on(teacher, provider, conversation):
    refusal = {"message": "Unsupported parameter: 'stop' is not supported with this model.", "param": "stop"}
    provider.will({"error": {**refusal, "code": "unsupported_parameter"}}, 400)
    with pytest.raises(TeacherFault) as caught:
        await teacher.reply(conversation("s", "u", stop=("x",)))
    assert (caught.value.kind, caught.value.parameter) == ("bad_request", "stop")
    for _ in range(2):
        provider.will_chat("a")
        await teacher.reply(conversation("s", "u", stop=("x",)))
    assert ["stop" in seen.body for seen in provider.seen] == [True, False, False]


async def test_the_limit_goes_by_the_name_the_server_knows_and_is_dropped_where_it_knows_none(
    make, provider, conversation
):
    teacher = make(f"openai:m@{provider.url}", max_tokens=9)
    for message in (
        "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
        "Unrecognized request argument supplied: max_completion_tokens",
    ):
        provider.will({"error": {"message": message, "type": "invalid_request_error", "param": None}}, 400)
        with pytest.raises(TeacherFault):
            await teacher.reply(conversation("s", "u"))
    provider.will_chat("a")
    await teacher.reply(conversation("s", "u"))
    limits = [sorted(seen.body.keys() - {"model", "messages"}) for seen in provider.seen]
    assert limits == [["max_tokens"], ["max_completion_tokens"], []]


@pytest.mark.parametrize(
    "error",
    [
        {"message": "max_tokens is too large: 99999.", "param": "max_tokens", "code": "invalid_value"},
        {"message": "Unsupported value: 'temperature' does not support 0.", "param": "temperature"},
        {"message": "This model's maximum context length is 4096 tokens."},
    ],
)
async def test_other_bad_requests_change_nothing(make, provider, conversation, error):
    teacher = make(f"openai:m@{provider.url}", max_tokens=99999, temperature=0.0)
    provider.will({"error": error}, 400)
    with pytest.raises(TeacherFault) as caught:
        await teacher.reply(conversation("s", "u", stop=("x",)))
    assert (caught.value.kind, caught.value.parameter) == ("bad_request", None)
    provider.will_chat("a")
    await teacher.reply(conversation("s", "u", stop=("x",)))
    assert provider.seen[0].body == provider.seen[1].body


async def test_a_server_of_ones_own_needs_no_key(make, provider, conversation, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    provider.will_chat("a")
    await make(f"openai:m@{provider.url}").reply(conversation("s", "u"))
    assert provider.seen[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_server_that_a_name_brings_in_is_not_sent_the_providers_key(
    make, provider, conversation, monkeypatch, name
):
    monkeypatch.setenv(f"{name.upper()}_API_KEY", "sk-the-real-one")
    monkeypatch.setenv(f"{name.upper()}_COMPATIBLE_API_KEY", "")
    monkeypatch.setenv("OPENAI_ORG_ID", "")
    for key in ("none", "sk-rented"):
        provider.will({}, 418)
        with pytest.raises(TeacherFault):
            await make(f"{name}:m@{provider.url}").reply(conversation("s", "u"))
        assert provider.seen[-1].headers["authorization"] == f"Bearer {key}"
        assert "sk-the-real-one" not in str(provider.seen[-1])
        monkeypatch.setenv(f"{name.upper()}_COMPATIBLE_API_KEY", " sk-rented\n")


async def test_an_unknown_usage_has_no_cost(make, provider, conversation):
    provider.will_chat("a")
    provider.answers[0].body["usage"]["completion_tokens"] = 10**30
    reply = await make(f"openai:m@{provider.url}", price=(Decimal(1), Decimal(1))).reply(conversation("s", "u"))
    assert (reply.text, reply.usage, reply.cost) == ("a", Usage(), None)
    assert reply.raw["usage"]["completion_tokens"] == 10**30


async def test_the_address_may_stand_in_the_environment(make, provider, conversation, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    provider.will_chat("a")
    reply = await make("openai:gpt-5.5").reply(conversation("s", "u"))
    assert provider.seen[0].headers["authorization"] == "Bearer sk-1"
    assert reply.cost is None


async def test_a_price_that_is_given_counts_everywhere(make, provider, conversation):
    provider.will_chat("a")
    teacher = make(f"openai:m@{provider.url}", price=(Decimal("1.5"), Decimal(6)))
    assert (await teacher.reply(conversation("s", "u"))).cost == (20 * Decimal("1.5") + 4 * 6) / 1_000_000


async def test_nothing_but_messages_and_model_is_echoed_to_another_teacher(make, provider, conversation):
    """A reply of another teacher goes out as its text, whatever its raw answer holds."""
    provider.will_message({"type": "thinking", "thinking": "secret", "signature": "s"}, {"type": "text", "text": "a"})
    said = await make(f"anthropic:m@{provider.url}").reply(conversation("s", "u"))
    provider.will_chat("b")
    request = conversation("s", "u", Message("assistant", said.text, said), "v")
    await make(f"openai:m@{provider.url}").reply(request)
    assert b"secret" not in provider.seen[1].bytes
    assert provider.seen[1].body["messages"][2] == {"role": "assistant", "content": "a"}


async def test_many_requests_are_under_way_at_once(teacher, provider, conversation):
    provider.barrier = threading.Barrier(128)  # the server answers none before it holds them all
    for _ in range(128):
        provider.will_chat("a")
    replies = await asyncio.gather(*(teacher.reply(conversation("s", "u")) for _ in range(128)))
    assert [reply.text for reply in replies] == ["a"] * 128
