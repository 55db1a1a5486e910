"""What headers tell of limits: read as they are sent, and believed no further than they make sense."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as some

from collectors.gate import Gate
from collectors.teachers.limits import Limits
from collectors.teachers.retry import RetryPolicy, ask

LONGEST = 120.0


def learnt(headers, sent=0.0, into=None):
    limits = into or Limits()
    limits.learn(httpx2.Headers(headers), sent)
    return limits


def openai(limit, remaining, reset, resource="requests"):
    told = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"X-RateLimit-{field}-{resource}": value for field, value in told.items() if value is not None}


def anthropic(limit, remaining, reset, resource="requests"):
    told = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"anthropic-ratelimit-{resource}-{field}": value for field, value in told.items() if value is not None}


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1m30.5s", 90.5),
        ("2h", 7200),
        ("1d", 86400),
        ("12", 12),
        ("0.5", 0.5),
    ],
)
def test_a_bucket_fills_evenly_until_its_reset(reset, seconds):
    limits = learnt(openai("100", "0", reset))
    assert limits.wait(1, 0.0, 1e9) == pytest.approx(seconds / 100)
    (half,) = limits.learnt(seconds / 2)
    assert (half.resource, half.limit, half.remaining) == ("requests", 100, pytest.approx(50))
    assert limits.learnt(seconds * 3)[0].remaining == 100


@pytest.mark.parametrize("resource", ["requests", "tokens", "input-tokens", "output-tokens"])
def test_a_moment_is_read_against_the_answers_own_date(resource):
    told = anthropic("100", "0", "2001-01-01T00:03:00Z", resource)
    limits = learnt({**told, "date": "Mon, 01 Jan 2001 00:00:00 GMT"})
    assert limits.wait(50 if "tokens" in resource else 1, 0.0, 1e9) == pytest.approx(
        1.8 if resource in ("requests", "output-tokens") else 90
    )


def test_a_moment_without_a_date_beside_it_is_read_against_the_clock():
    soon = datetime.now(UTC) + timedelta(seconds=600)
    assert 1 < learnt(anthropic("100", "0", soon.isoformat())).wait(1, 0.0, 1e9) <= 6


def test_what_went_out_since_is_counted():
    limits = learnt({**openai("60", "3", "57s"), **openai("6000", "5900", "1s", "tokens")})
    for _ in range(3):
        assert limits.wait(1000, 0.0, LONGEST) == 0
        limits.take(1000, 0.0)
    assert limits.wait(1000, 0.0, LONGEST) == pytest.approx(1)
    assert limits.wait(4000, 0.0, LONGEST) == pytest.approx(11)
    assert limits.wait(4000, 11.0, LONGEST) == pytest.approx(0)


def test_an_answer_counts_from_the_moment_its_request_was_sent():
    """It took 40 s: what it tells is 40 s old, and what went out before it is in it."""
    limits = learnt(openai("60", "10", "50s"))
    for at in (1.0, 2.0, 30.0):
        limits.take(1, at)
    learnt(openai("60", "0", "60s"), 2.0, limits)
    assert limits.learnt(42.0)[0].remaining == pytest.approx(40 - 1)
    learnt(openai("60", "60", "0s"), 1.0, limits)
    assert limits.learnt(42.0)[0].remaining == pytest.approx(40 - 1)


def test_tokens_that_an_answer_has_counted_are_not_counted_twice():
    limits = learnt(openai("6000", "6000", "0s", "tokens"))
    limits.take(1000, 1.0)
    limits.take(500, 3.0)
    learnt(openai("6000", "5000", "10s", "tokens"), 2.0, limits)
    assert limits.learnt(2.0)[0].remaining == 4500


def test_a_call_larger_than_the_limit_itself_waits_for_all_of_it():
    limits = learnt(openai("1000", "0", "60s", "tokens"))
    assert limits.wait(10**9, 0.0, LONGEST) == pytest.approx(60)


def test_what_has_become_old_is_forgotten_with_what_it_counted():
    limits = learnt(openai("10", "0", "1d"))
    for at in range(1000):
        limits.take(1, float(at) / 1000)
    assert 0 < limits.wait(1, 100.0, LONGEST) <= 20
    assert limits.wait(1, 120.0, LONGEST) == 0
    assert limits.learnt(120.0) == ()
    limits.take(1, 121.0)
    assert not limits._taken


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "0"},
        openai("many", "0", "1s"),
        openai("0", "0", "1s"),
        openai("-5", "-5", "1s"),
        openai("nan", "0", "1s"),
        openai("5", None, "1s"),
        openai(None, "0", "1s"),
        openai("5", "inf", "1s"),
    ],
)
def test_what_makes_no_sense_holds_nothing_back(headers):
    assert learnt(headers).wait(10**6, 0.0, LONGEST) == 0


@pytest.mark.parametrize(
    "reset", [None, "", "soon", "-1s", "1s2", "1y", "9" * 400, "1798761600", "1999-01-01T00:00:00Z", "2999-01-01"]
)
def test_a_reset_that_makes_no_sense_is_a_minute(reset):
    headers = {**openai("60", "0", reset), "date": "Mon, 01 Jan 2001 00:00:00 GMT"}
    assert learnt(headers).wait(1, 0.0, LONGEST) == pytest.approx(1)


values = some.one_of(
    some.text(max_size=12),
    some.integers(-(10**20), 10**20).map(str),
    some.floats().map(str),
    some.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    some.from_regex(r"(\d{1,6}(\.\d{1,3})?(ms|s|m|h|d)){1,3}", fullmatch=True),
)


@given(
    told=some.dictionaries(
        some.sampled_from(
            [f"x-ratelimit-{f}-{r}" for f in ("limit", "remaining", "reset") for r in ("requests", "tokens")]
            + [f"anthropic-ratelimit-{r}-{f}" for f in ("limit", "remaining", "reset") for r in ("tokens", "requests")]
            + ["date"]
        ),
        values,
    ),
    sent=some.floats(0, 1e6),
    later=some.floats(0, 1e6),
    tokens=some.integers(0, 10**9),
)
def test_whatever_is_told_no_wait_is_negative_or_longer_than_the_longest(told, sent, later, tokens):
    limits = learnt([(name.encode(), value.encode("utf-8", "replace")) for name, value in told.items()], sent)
    limits.take(tokens, sent)
    limits.take(tokens, sent + later)
    assert 0 <= limits.wait(tokens, sent + later, LONGEST) <= LONGEST
    assert all(0 <= limit.remaining <= limit.limit for limit in limits.learnt(sent + later))


@pytest.mark.parametrize("status", [200, 429])
@pytest.mark.parametrize(("name", "headers"), [("openai", openai), ("anthropic", anthropic)])
async def test_a_teacher_learns_from_answers_and_from_refusals(
    make, provider, conversation, calls, name, headers, status
):
    told = headers("5000", "4000", "1d")
    if status == 429:
        provider.will({"error": {"message": "Slow down"}}, 429, headers={**told, "retry-after-ms": "1"})
    (provider.will_chat("a") if name == "openai" else provider.will_message({"type": "text", "text": "a"}))
    if status == 200:
        provider.answers[0].headers.update(told)
    teacher = make(f"{name}:m@{provider.url}")
    gate = Gate(teacher, 4, calls.append)
    assert (await ask(teacher, conversation("s", "u"), RetryPolicy(), calls, gate=gate)).text == "a"
    (limit,) = gate.state.learnt
    assert (limit.resource, limit.limit) == ("requests", 5000)
    assert 3999 <= limit.remaining < 4001
