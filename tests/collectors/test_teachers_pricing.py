"""Tokens in one meaning, and what they cost. The prices are those of the installed list, worked out by hand."""

from decimal import Decimal

import pytest

from collectors.teachers.pricing import UNKNOWN, anthropic_usage, given_cost, listed_cost, openai_usage
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
