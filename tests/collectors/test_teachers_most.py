"""What a call can come to at the worst, which budgets reserve before it goes out."""

from decimal import Decimal

import pytest

from environments.faults import TeacherFault
from environments.types import Message, Most

OFFICIAL = ["openai:gpt-5.5", "anthropic:claude-opus-5-5"]
BRINGS_MORE = ["tools", "mcp_servers", "web_search_options", "plugins", "prediction", "modalities"]
ODD = 'é 数学 \U0001f600 \ud83d \x00 \\ " \n'


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("OPENAI", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-of-nobody")
        monkeypatch.delenv(f"{name}_BASE_URL", raising=False)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize("text", ["", "a", "word " * 5000, ODD * 100])
async def test_tokens_are_the_bytes_that_go_out_and_the_longest_reply(make, provider, conversation, name, text):
    teacher = make(f"{name}:m@{provider.url}", max_tokens=99)
    request = conversation("s", text, "b", text, stop=("x",))
    (provider.will_chat("a") if name == "openai" else provider.will_message({"type": "text", "text": "a"}))
    await teacher.reply(request)
    most = teacher.most(request)
    assert most == Most(len(provider.seen[0].bytes) + 99, None)
    assert most.tokens > sum(len(message.content.encode("utf-8", "replace")) for message in request.messages) + 99


@pytest.mark.parametrize("name", OFFICIAL)
async def test_our_own_limit_holds_where_none_is_given(make, conversation, name):
    short, long = (make(name, max_tokens=limit).most(conversation("s", "u")) for limit in (100, None))
    assert long.tokens - short.tokens == 8192 - 100 + len("8192") - len("100")
    assert 0 < short.dollars < long.dollars


@pytest.mark.parametrize("name", OFFICIAL)
async def test_the_dollars_are_the_list_price_of_those_tokens(make, conversation, name):
    most = make(name, max_tokens=1000).most(conversation("s", "u" * 100_000))
    assert most.dollars == ((most.tokens - 1000) * 5 + 1000 * (30 if "gpt" in name else 20)) / Decimal(1_000_000)


@pytest.mark.parametrize("name", OFFICIAL)
async def test_a_price_that_is_given_goes_before_the_list(make, conversation, name):
    most = make(name, max_tokens=1000, price=(Decimal(1), Decimal(2))).most(conversation("s", "u"))
    assert most.dollars == (most.tokens - 1000 + 2000) / Decimal(1_000_000)


@pytest.mark.parametrize("name", OFFICIAL)
async def test_a_model_that_is_not_on_the_list_has_no_dollars(make, conversation, name):
    most = make(f"{name.partition(':')[0]}:nobodys-model").most(conversation("s", "u"))
    assert most.tokens > 8192
    assert most.dollars is None


async def test_a_server_that_decides_the_limit_promises_nothing(make, provider, conversation):
    assert make(f"openai:m@{provider.url}").most(conversation("s", "u")) is None
    assert make(f"openai:m@{provider.url}", max_tokens=5).most(conversation("s", "u")) is not None
    assert make(f"anthropic:m@{provider.url}").most(conversation("s", "u")) is not None


async def test_a_server_that_has_refused_both_names_of_the_limit_promises_nothing(make, provider, conversation):
    teacher = make(f"openai:m@{provider.url}", max_tokens=9)
    for name in ("max_tokens", "max_completion_tokens"):
        assert teacher.most(conversation("s", "u")) is not None
        provider.will({"error": {"message": f"Unrecognized request argument supplied: {name}"}}, 400)
        with pytest.raises(TeacherFault):
            await teacher.reply(conversation("s", "u"))
    assert teacher.most(conversation("s", "u")) is None


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("option", BRINGS_MORE)
async def test_what_a_provider_adds_by_itself_cannot_be_promised(make, conversation, name, option):
    assert make(name, options={option: [{"type": "web_search"}]}).most(conversation("s", "u")) is None


async def test_thinking_that_goes_back_in_short_counts_in_full(make, provider, conversation):
    teacher = make(f"anthropic:m@{provider.url}")
    provider.will_message(
        {"type": "thinking", "thinking": "In short.", "signature": "s"}, {"type": "text", "text": "a"}
    )
    provider.answers[0].body["usage"]["output_tokens"] = 7000
    reply = await teacher.reply(conversation("s", "u"))
    request = conversation("s", "u", Message("assistant", "a", reply), "v")
    provider.will_message({"type": "text", "text": "b"})
    await teacher.reply(request)
    assert teacher.most(request).tokens == len(provider.seen[1].bytes) + 7000 + 8192
    other = make(f"anthropic:other@{provider.url}")
    provider.will_message({"type": "text", "text": "b"})
    await other.reply(request)
    assert other.most(request).tokens == len(provider.seen[2].bytes) + 8192


async def test_an_hour_in_the_cache_is_reserved_at_its_price(make, conversation):
    hour = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    most = make(OFFICIAL[1], max_tokens=1000, options=hour).most(conversation("s", "u"))
    assert most.dollars == ((most.tokens - 1000) * 8 + 1000 * 20) / Decimal(1_000_000)


async def test_what_was_said_before_costs_nothing(make, conversation):
    assert make("scripted:demo").most(conversation("s", "u")) == Most(0, Decimal(0))
