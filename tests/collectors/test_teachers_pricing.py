"""Tokens in one meaning, and what they cost. The prices are those of the installed list, worked out by hand."""

from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as some

from collectors.teachers.pricing import (
    UNKNOWN,
    anthropic_usage,
    given_cost,
    given_most,
    listed_cost,
    listed_most,
    openai_usage,
    saving,
)
from environments.types import Usage

CHAT = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
MESSAGE = {
    "input_tokens": 1000,
    "output_tokens": 100,
    "cache_read_input_tokens": 400,
    "cache_creation_input_tokens": 300,
}


def test_input_holds_the_cached_tokens_for_every_provider():
    assert openai_usage(CHAT) == Usage(input=1000, output=100, cache_read=400)
    assert anthropic_usage(MESSAGE) == Usage(input=1700, output=100, cache_read=400, cache_write=300)


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": None, "prompt_tokens_details": None}, {"prompt_tokens": "7"}])
def test_a_server_that_tells_no_usage_has_used_none_that_we_know(usage):
    assert openai_usage(usage) == Usage()
    assert anthropic_usage(usage) == Usage()


@pytest.mark.parametrize("count", [-1, True, 7.0, 10**30, 10**400, float("nan"), "7", [7]])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"])
def test_a_count_that_cannot_be_makes_the_usage_unknown(name, count):
    read, whole = (openai_usage, CHAT) if name in CHAT else (anthropic_usage, MESSAGE)
    assert read(whole) != UNKNOWN
    for usage in ({**whole, name: count}, {key: value for key, value in whole.items() if key != name}):
        assert read(usage) == UNKNOWN
    assert given_cost(UNKNOWN, (Decimal(1), Decimal(1))) is None


@pytest.mark.parametrize("count", [-1, True, 7.5, 10**30, "7"])
def test_a_count_of_cached_tokens_that_cannot_be_does_too(count):
    assert openai_usage({**CHAT, "prompt_tokens_details": {"cached_tokens": count}}) == UNKNOWN
    assert anthropic_usage({**MESSAGE, "cache_read_input_tokens": count}) == UNKNOWN
    assert anthropic_usage({**MESSAGE, "cache_creation_input_tokens": count}) == UNKNOWN
    assert openai_usage({**CHAT, "prompt_tokens_details": {"cached_tokens": None}}).input == 1000


def test_a_price_beyond_reason_is_unknown():
    usage = {**MESSAGE, "server_tool_use": {"web_search_requests": 10**30}}
    assert listed_cost("anthropic", "default", {"model": "claude-opus-5-5", "usage": usage}, "x") is None


def test_cached_tokens_are_cheaper_on_the_list():
    listed = listed_cost("openai", "chat", {"model": "gpt-5.5", "usage": CHAT}, "gpt-5.5")
    assert listed == (600 * 5 + 400 * Decimal("0.5") + 100 * 30) / 1_000_000


def test_what_was_written_for_an_hour_is_dearer_on_the_list():
    hour = {**MESSAGE, "cache_creation": {"ephemeral_1h_input_tokens": 300, "ephemeral_5m_input_tokens": 0}}
    asked = "claude-opus-5-5"
    for usage, write in ((MESSAGE, 5), (hour, 8)):
        listed = listed_cost("anthropic", "default", {"model": asked, "usage": usage}, asked)
        assert listed == (1000 * 4 + 400 * Decimal("0.2") + 300 * write + 100 * 20) / 1_000_000


def test_the_tier_that_served_the_request_sets_its_price():
    flex, standard = (
        listed_cost("openai", "chat", {"model": "gpt-5.5", "usage": CHAT, "service_tier": tier}, "gpt-5.5")
        for tier in ("flex", "default")
    )
    assert flex < standard


def test_the_model_asked_for_stands_in_for_an_answer_by_an_unknown_name():
    raw = {"model": "deployment-7", "usage": CHAT}
    assert listed_cost("openai", "chat", raw, "gpt-5.5") == listed_cost(
        "openai", "chat", {**raw, "model": "gpt-5.5"}, "x"
    )


@pytest.mark.parametrize(
    "raw",
    [
        {"model": "nobodys-model", "usage": CHAT},
        {"model": "gpt-5.5"},
        {"model": "gpt-5.5", "usage": None},
        {"model": None, "usage": {"prompt_tokens": 5}},
        {"model": "gpt-5.5", "usage": {"prompt_tokens": -5, "completion_tokens": "many"}},
    ],
)
def test_a_price_that_is_not_known_is_none_and_never_0(raw):
    assert listed_cost("openai", "chat", raw, "nobodys-model") is None


def test_a_given_price_is_for_a_million_tokens():
    assert given_cost(Usage(input=2_000_000, output=500_000), (Decimal("0.10"), Decimal(3))) == Decimal("1.70")
    assert given_cost(Usage(), (Decimal(1), Decimal(1))) is None
    assert given_cost(Usage(input=7), (Decimal(0), Decimal(0))) == 0


# -- the worst -----------------------------------------------------------------------------------

FLAVORS = {"anthropic": "default", "openai": "chat"}
MODELS = [
    (provider.id, model.id)
    for provider in get_snapshot().providers
    if provider.id in FLAVORS
    for model in provider.models
]
STEPS = (0, 1, 127_999, 128_000, 199_999, 200_000, 200_001, 271_999, 272_000, 272_001, 1_000_000)


def usage_of(provider, tokens, output, read, write, hour):
    if provider == "openai":
        details = {"cached_tokens": read, "cache_write_tokens": write}
        return {"prompt_tokens": tokens, "completion_tokens": output, "prompt_tokens_details": details}
    return {
        "input_tokens": tokens - read - write,
        "output_tokens": output,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": write,
        "cache_creation": {"ephemeral_1h_input_tokens": hour, "ephemeral_5m_input_tokens": write - hour},
    }


lengths = some.one_of(some.sampled_from(STEPS), some.integers(0, 2_000_000))


@settings(max_examples=600, deadline=None)
@given(draw=some.data())
def test_no_reply_within_the_limits_costs_more_than_the_worst(draw):
    """Over every model of the list, lengths on both sides of its steps, caches, tiers and speeds."""
    provider, model = draw.draw(some.sampled_from(MODELS))
    most_input, most_output = draw.draw(lengths), draw.draw(some.integers(1, 200_000))
    tokens = draw.draw(some.one_of(some.just(most_input), some.integers(0, most_input), some.sampled_from(STEPS)))
    tokens = min(tokens, most_input)
    read = draw.draw(some.integers(0, tokens))
    write = draw.draw(some.one_of(some.just(tokens - read), some.integers(0, tokens - read)))
    hour = draw.draw(some.sampled_from([0, write]))
    options = draw.draw(
        some.sampled_from(
            [{}, {"service_tier": "auto"}, {"service_tier": "priority"}, {"service_tier": "flex"}, {"speed": "fast"}]
        )
    )
    served = {"auto": ["default", "flex", "priority", "fast"], None: [None, "default", "flex"]}
    tier = draw.draw(
        some.sampled_from(served.get(options.get("service_tier"), [options.get("service_tier"), "default"]))
    )
    usage = usage_of(provider, tokens, draw.draw(some.integers(0, most_output)), read, write, hour)
    raw = {"model": model, "usage": {**usage, "speed": options.get("speed")}, "service_tier": tier}
    cost = listed_cost(provider, FLAVORS[provider], raw, model)
    most = listed_most(provider, model, (most_input, most_output), options, hour=bool(hour))
    if cost is not None and cost > 0:
        assert most is not None
        assert cost <= most


def test_the_worst_is_worked_out_by_hand():
    long, short = (300_000, 1000), (1000, 1000)
    assert listed_most("openai", "gpt-5.5", short, {}) == (1000 * 5 + 1000 * 30) / Decimal(1_000_000)
    assert listed_most("openai", "gpt-5.5", long, {}) == (300_000 * 10 + 1000 * 45) / Decimal(1_000_000)
    priority = {"service_tier": "priority"}
    assert listed_most("openai", "gpt-5.5", short, priority) == (1000 * Decimal("12.5") + 1000 * 75) / 1_000_000
    assert listed_most("openai", "gpt-5.5", short, {"service_tier": "flex"}) == listed_most(
        "openai", "gpt-5.5", short, {}
    )
    assert listed_most("anthropic", "claude-opus-5-5", short, {}) == (1000 * 5 + 1000 * 20) / Decimal(1_000_000)
    assert (
        listed_most("anthropic", "claude-opus-5-5", short, {}, hour=True) == Decimal(1000 * 8 + 1000 * 20) / 1_000_000
    )
    assert given_most((1_000_000, 2_000_000), (Decimal("0.5"), Decimal(3))) == Decimal("6.5")


@pytest.mark.parametrize("model", ["nobodys-model", "", "tts-1"])
def test_the_worst_of_a_model_without_a_price_is_none_and_never_0(model):
    assert listed_most("openai", model, (1000, 1000), {}) is None


def test_what_a_cache_has_saved_may_be_less_than_nothing():
    assert saving("anthropic", "claude-opus-5-5", 1_000_000, 0) == Decimal("3.8")
    assert saving("anthropic", "claude-opus-5-5", 0, 1_000_000) == -1
    assert saving("anthropic", "claude-opus-5-5", 1_000_000, 3_000_000) == Decimal("0.8")
    assert saving("openai", "gpt-5.5", 2_000_000, 0) == 9
    assert saving("openai", "gpt-5.5", 0, 0) == 0
    assert saving("openai", "nobodys-model", 5, 5) is None
    assert saving("openai", "tts-1", 5, 5) is None
    assert saving("nobody", "gpt-5.5", 5, 5) is None
