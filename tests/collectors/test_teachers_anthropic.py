"""The Messages API, against a server on the loopback."""

import asyncio
import json
import threading

import pytest

from collectors.teachers.retry import RetryPolicy, ask
from environments.faults import TeacherFault
from environments.types import Message, Usage

THINKING = {"type": "thinking", "thinking": "Let me see: é, \ud83d.\n", "signature": "EqQBCgIYAhIkc2ln/+=="}
REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}


def text(words):
    return {"type": "text", "text": words}


def cached(words, **rest):
    return {**text(words), "cache_control": {"type": "ephemeral", **rest}}


@pytest.fixture
def teacher(make, provider):
    return make(f"anthropic:claude-opus-5-5@{provider.url}")


@pytest.fixture
def echoed(teacher, provider, conversation, spoken):
    """What goes out for a reply of these blocks, cut at `end`."""

    async def of(*blocks, end=None):
        provider.will_message(*blocks)
        reply = await teacher.reply(conversation("s", "u"))
        provider.will_message(text("next"))
        await teacher.reply(conversation("s", "u", spoken(reply, end), "Observation:\n1"))
        return provider.seen[-1].body["messages"][1]["content"]

    return of


async def test_the_reply_keeps_the_whole_answer_beside_its_text(teacher, provider, conversation):
    provider.will_message(THINKING, text("<execute>1"), text("</execute>"))
    answer = json.loads(json.dumps(provider.answers[0].body))
    reply = await teacher.reply(conversation("s", "u"))
    assert (reply.text, reply.stop_reason) == ("<execute>1</execute>", "end_turn")
    assert (reply.teacher, reply.model) == (teacher.name, "claude-opus-5-5")
    assert reply.usage == Usage(input=20, output=4, cache_read=8, cache_write=7)
    assert reply.raw == answer
    assert reply.cost is None


async def test_the_system_text_stands_apart(teacher, provider, conversation):
    provider.will_message(text("a"))
    await teacher.reply(conversation("Be brief.", "Task:\n1", stop=("</execute>",)))
    (seen,) = provider.seen
    assert seen.path == "/v1/messages"
    assert seen.headers["anthropic-version"] >= "2026"
    assert seen.body == {
        "model": "claude-opus-5-5",
        "max_tokens": 8192,
        "system": [cached("Be brief.")],
        "messages": [{"role": "user", "content": [cached("Task:\n1")]}],
        "stop_sequences": ["</execute>"],
    }


async def test_the_cache_is_asked_for_at_the_system_text_and_at_the_end(teacher, provider, conversation, spoken):
    """The end moves on: what it stood at before goes as it came, and begins the next request."""
    provider.will_message(THINKING, text("<execute>1</execute>"))
    reply = await teacher.reply(conversation("s", "u"))
    provider.will_message(text("next"))
    await teacher.reply(conversation("s", "u", spoken(reply, None), "Observation:\n1"))
    first, second = (seen.body for seen in provider.seen)
    assert first["system"] == second["system"] == [cached("s")]
    assert [message["content"] for message in first["messages"]] == [[cached("u")]]
    assert [message["content"] for message in second["messages"]] == [
        "u",
        [THINKING, text("<execute>1</execute>")],
        [cached("Observation:\n1")],
    ]
    assert [seen.bytes.count(b"cache_control") for seen in provider.seen] == [2, 2]


@pytest.mark.parametrize("off", [False, None, ""])
async def test_the_cache_can_be_left_alone(make, provider, conversation, off):
    provider.will_message(text("a"))
    await make(f"anthropic:m@{provider.url}", options={"cache_control": off}).reply(conversation("s", "u"))
    assert (provider.seen[0].body["system"], provider.seen[0].body["messages"][0]["content"]) == ("s", "u")
    assert b"cache_control" not in provider.seen[0].bytes


async def test_the_cache_can_be_asked_to_last_an_hour(make, provider, conversation):
    provider.will_message(text("a"))
    hour = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    await make(f"anthropic:m@{provider.url}", options=hour).reply(conversation("s", "u"))
    assert provider.seen[0].body["system"] == [cached("s", ttl="1h")]
    assert "cache_control" not in provider.seen[0].body


@pytest.mark.parametrize("said", [("", "u"), (" \n", "u")])
async def test_an_empty_system_text_is_not_sent(teacher, provider, conversation, said):
    provider.will_message(text("a"))
    await teacher.reply(conversation(*said))
    assert "system" not in provider.seen[0].body


async def test_a_server_that_knows_no_cache_is_not_asked_for_one_again(teacher, provider, conversation, calls, waits):
    """However many calls it has refused at once."""
    refusal = "system.0.cache_control: Extra inputs are not permitted"
    provider.barrier = threading.Barrier(8)
    for _ in range(8):
        provider.will({"type": "error", "error": {"type": "invalid_request_error", "message": refusal}}, 400)
    for _ in range(9):
        provider.will_message(text("a"))
    asking = (ask(teacher, conversation("s", "u"), RetryPolicy(), calls, sleep=waits) for _ in range(8))
    assert [reply.text for reply in await asyncio.gather(*asking)] == ["a"] * 8
    provider.barrier = None
    await teacher.reply(conversation("s", "u"))
    assert ["cache_control" in str(seen.body) for seen in provider.seen] == [True] * 8 + [False] * 9
    assert sum(call.fault == "bad_request" for call in calls) == 8


async def test_an_effort_brings_readable_thinking(make, provider, conversation):
    provider.will_message(text("a"))
    await make(f"anthropic:m@{provider.url}", effort="high", max_tokens=50_000).reply(conversation("s", "u"))
    body = provider.seen[0].body
    assert body["output_config"] == {"effort": "high"}
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["max_tokens"] == 50_000


async def test_options_have_the_last_word(make, provider, conversation):
    provider.will_message(text("a"))
    options = {"thinking": {"type": "disabled"}, "service_tier": "standard_only"}
    await make(f"anthropic:m@{provider.url}", effort="high", options=options).reply(conversation("s", "u"))
    assert provider.seen[0].body.items() >= options.items()


async def test_thinking_goes_back_to_its_teacher_byte_for_byte(teacher, provider, conversation, spoken):
    provider.will_message(THINKING, REDACTED, text("<execute>1</execute>"))
    reply = await teacher.reply(conversation("s", "u"))
    provider.will_message(text("next"))
    await teacher.reply(conversation("s", "u", spoken(reply, None), "Observation:\n1"))
    assert provider.seen[1].body["messages"][1] == {
        "role": "assistant",
        "content": [THINKING, REDACTED, text("<execute>1</execute>")],
    }
    for block in (THINKING, REDACTED):
        assert json.dumps(block).encode() in provider.seen[1].bytes


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (3, [THINKING, text("abc")]),
        (4, [THINKING, text("abcd")]),
        (5, [THINKING, text("abcd"), REDACTED, text("e")]),
        (6, [THINKING, text("abcd"), REDACTED, text("ef")]),
        (0, [THINKING, text("(empty)")]),
    ],
)
async def test_text_goes_back_as_far_as_the_conversation_holds_it(echoed, end, expected):
    assert await echoed(THINKING, text("abcd"), REDACTED, text("ef"), THINKING, end=end) == expected


async def test_a_cut_counts_the_characters_of_the_cleaned_text(echoed):
    assert await echoed(text("a\x00b"), text("cd"), end=7) == [text("a\\x00b"), text("c")]


@pytest.mark.parametrize("blocks", [[], [THINKING], [text("")], [THINKING, text(" \n")]])
async def test_a_reply_without_text_goes_back_with_a_placeholder(echoed, blocks):
    thinking = [block for block in blocks if block["type"] == "thinking"]
    assert await echoed(*blocks) == [*thinking, text("(empty)")]


async def test_thinking_is_not_sent_to_another_teacher(teacher, make, provider, conversation):
    provider.will_message(THINKING, text("abc"))
    reply = await teacher.reply(conversation("s", "u"))
    provider.will_message(text("next"))
    other = make(f"anthropic:claude-sonnet-5-5@{provider.url}")
    await other.reply(conversation("s", "u", Message("assistant", "ab", reply), "v"))
    assert provider.seen[1].body["messages"][1] == {"role": "assistant", "content": "ab"}
    assert b"signature" not in provider.seen[1].bytes


async def test_text_that_the_reply_does_not_hold_goes_alone(teacher, provider, conversation):
    provider.will_message(THINKING, text("abc"))
    reply = await teacher.reply(conversation("s", "u"))
    provider.will_message(text("next"))
    await teacher.reply(conversation("s", "u", Message("assistant", "rewritten", reply), "v"))
    assert provider.seen[1].body["messages"][1] == {"role": "assistant", "content": "rewritten"}


@pytest.mark.parametrize("reason", ["refusal", "pause_turn", "max_tokens", "model_context_window_exceeded"])
async def test_a_reply_that_stopped_early_says_so(teacher, provider, conversation, reason):
    provider.will_message(stop_reason=reason)
    reply = await teacher.reply(conversation("s", "u"))
    assert (reply.text, reply.stop_reason) == ("", reason)


@pytest.mark.parametrize(
    "body",
    ["<html>", "", {"type": "error", "error": {"type": "overloaded_error"}}, {"type": "message"}, {"content": []}],
)
async def test_an_answer_without_a_reply_is_a_bad_answer(teacher, provider, conversation, body):
    provider.will(body)
    with pytest.raises(TeacherFault, match="no reply in it") as caught:
        await teacher.reply(conversation("s", "u"))
    assert caught.value.kind == "bad_answer"
