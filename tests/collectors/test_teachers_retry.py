"""The one retry policy, over real HTTP: which faults are asked again, when, and how each attempt is logged."""

import asyncio
import contextlib
import json
import random
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from collectors.teachers.retry import RetryPolicy, ask
from environments.faults import TeacherFault

POLICY = RetryPolicy()
ONCE = RetryPolicy(attempts=1, bad_answers=1, patience=0)


def error(message, **rest):
    return {"type": "error", "error": {"message": message, **rest}}


@pytest.fixture(params=["openai", "anthropic"])
def teacher(request, make, provider):
    """Both providers go through the same policy; `provider.will_reply` answers in the one's own form."""
    provider.will_reply = {
        "openai": provider.will_chat,
        "anthropic": lambda words: provider.will_message({"type": "text", "text": words}),
    }[request.param]
    return make(f"{request.param}:m@{provider.url}", timeout=20.0)


@pytest.fixture
def asked(teacher, conversation, calls, waits):
    async def once(policy=POLICY, log=calls):
        return await ask(teacher, conversation("s", "u", turn=3), policy, log, sleep=waits)

    return once


async def test_a_reply_is_logged_as_a_call_without_fault(asked, provider, calls):
    provider.will_reply("a")
    assert (await asked()).text == "a"
    (call,) = calls
    assert (call.turn, call.fault, call.message) == (3, None, None)
    assert call.seconds > 0
    assert datetime.now(UTC) - call.started < timedelta(seconds=60)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "120"}, 120.0),
    ],
)
async def test_a_rate_limit_waits_for_as_long_as_the_provider_asks(asked, provider, calls, waits, headers, seconds):
    provider.will(error("Slow down"), 429, headers={**headers, "x-request-id": "r1"})
    provider.will_reply("a")
    assert (await asked()).text == "a"
    assert waits == [seconds]
    limited, answered = calls
    assert (limited.fault, limited.status, limited.retry_after, limited.request_id) == (
        "rate_limited",
        429,
        seconds,
        "r1",
    )
    assert "Slow down" in limited.message
    assert answered.fault is None


async def test_an_http_date_is_read_against_the_clock_where_the_provider_sends_none(asked, provider, waits):
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    provider.will(error("Slow down"), 429, headers={"retry-after": soon})
    provider.will_reply("a")
    await asked()
    assert 0 < waits[0] <= 60


@pytest.mark.parametrize("nonsense", ["soon", "nan", "inf", "", "Wed, 99 Foo 2026 07:28:00 GMT"])
async def test_a_wait_that_cannot_be_read_is_our_own_backoff(asked, provider, calls, waits, nonsense):
    provider.will(error("Slow down"), 429, headers={"retry-after": nonsense})
    provider.will_reply("a")
    await asked()
    assert calls[0].retry_after is None
    assert 0 <= waits[0] <= POLICY.first_backoff


@pytest.mark.parametrize("wait", ["3600", "Wed, 21 Oct 2026 08:28:00 GMT"])
async def test_a_wait_of_an_hour_is_asked_again_after_the_longest_wait(asked, provider, calls, waits, wait):
    provider.will(error("Slow down"), 429, headers={"retry-after": wait, "date": "Wed, 21 Oct 2026 07:28:00 GMT"})
    provider.will_reply("a")
    assert (await asked()).text == "a"
    assert waits == [POLICY.longest_wait]
    assert [(call.fault, call.retry_after) for call in calls] == [("rate_limited", 3600), (None, None)]


async def test_rate_limits_use_up_patience_and_no_attempts(asked, provider, calls, waits):
    for _ in range(20):
        provider.will(error("Slow down"), 429, headers={"retry-after": "40"})
    provider.will(error("Broken"), 500)
    provider.will_reply("a")
    assert (await asked(RetryPolicy(attempts=2, patience=800))).text == "a"
    assert waits[:20] == [40.0] * 20
    assert len(calls) == 22


async def test_patience_ends(asked, provider, calls, waits):
    for _ in range(9):
        provider.will(error("Slow down"), 429, headers={"retry-after": "100"})
    with pytest.raises(TeacherFault, match=r"Slow down\. Patience for rate limits \(250 s\) is used up") as caught:
        await asked(RetryPolicy(patience=250))
    assert caught.value.kind == "rate_limited"
    assert not caught.value.ends_teacher
    assert waits == [100.0, 100.0]
    assert len(calls) == len(provider.seen) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [(500, "server"), (502, "server"), (503, "server"), (529, "server"), (409, "server"), (408, "timeout")],
)
async def test_a_broken_provider_is_asked_again(asked, provider, calls, waits, status, kind):
    provider.will(error("Broken"), status)
    provider.will_reply("a")
    assert (await asked()).text == "a"
    assert [(call.fault, call.status) for call in calls] == [(kind, status), (None, None)]
    assert 0 <= waits[0] <= POLICY.first_backoff


async def test_attempts_end(asked, provider, calls):
    for _ in range(9):
        provider.will("<html>Bad gateway</html>", 502)
    with pytest.raises(
        TeacherFault, match=r"HTTP 502: <html>Bad gateway</html>\. Gave up after 6 failures\."
    ) as caught:
        await asked()
    assert caught.value.kind == "server"
    assert len(calls) == len(provider.seen) == 6


async def test_backoff_grows_up_to_its_bound_and_differs(asked, provider, waits):
    random.seed(1)
    for _ in range(9):
        provider.will(error("Broken"), 500)
    with pytest.raises(TeacherFault):
        await asked(RetryPolicy(attempts=8, longest_backoff=4.0))
    assert all(wait <= bound for wait, bound in zip(waits, (1, 2, 4, 4, 4, 4, 4), strict=True))
    assert max(waits) > 1
    assert len(set(waits)) == 7


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"body": None}, "connection"),
        ({"body": {"half": "a body"}, "missing": 9}, "connection"),
        ({"body": ""}, "bad_answer"),
        ({"body": "<html>Sign in</html>", "headers": {"content-type": "text/html"}}, "bad_answer"),
    ],
)
async def test_a_connection_or_an_answer_that_breaks_is_asked_again(asked, provider, calls, answer, kind):
    provider.will(**answer)
    provider.will_reply("a")
    assert (await asked()).text == "a"
    assert [call.fault for call in calls] == [kind, None]


@pytest.mark.parametrize(
    "body", ["<html>Sign in</html>", "", {"choices": [], "usage": {"completion_tokens": 900}}, error("Overloaded")]
)
async def test_answers_without_a_reply_end_soon_and_are_kept(asked, provider, calls, body):
    for _ in range(9):
        provider.will(body)
    with pytest.raises(
        TeacherFault, match=r"HTTP 200, but no reply in it: .* Gave up after 2 such answers\."
    ) as caught:
        await asked()
    text = body if isinstance(body, str) else json.dumps(body)
    assert [(call.fault, call.body) for call in calls] == [("bad_answer", text)] * 2
    assert (caught.value.kind, caught.value.body, caught.value.ends_teacher) == ("bad_answer", text, False)


async def test_answers_without_a_reply_have_a_limit_beside_the_failures(asked, provider, calls):
    for status in (500, 200, 500, 500, 200):
        provider.will("broken", status)
    with pytest.raises(TeacherFault, match="Gave up after 2 such answers"):
        await asked()
    assert [call.body for call in calls] == [None, "broken", None, None, "broken"]


async def test_a_kept_answer_is_bounded_and_can_be_stored(asked, provider, calls):
    provider.will("a\x00" + "é" * 600_000)
    provider.will_reply("a")
    await asked()
    body = calls[0].body
    assert body.startswith("a\\x00éé")
    assert len(body.encode()) in (999_999, 1_000_000)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize("status", [401, 200])
async def test_a_key_that_is_quoted_back_is_not_kept(
    make, provider, conversation, calls, waits, monkeypatch, name, status
):
    key = "sk-proj-Zm9v/YmFy+QUJDRA=="
    monkeypatch.setenv(f"{name.upper()}_BASE_URL", provider.url)
    monkeypatch.setenv(f"{name.upper()}_API_KEY", key)
    for _ in range(2):
        provider.will(
            error(f"{'x' * 465} Incorrect API key: {key}, which begins {key[:12]} and is sk-proj-****RA=="), status
        )
    with pytest.raises(TeacherFault) as caught:
        await ask(make(f"{name}:m"), conversation("s", "u"), POLICY, calls, sleep=waits)
    assert provider.seen[0].headers["authorization"] == f"Bearer {key}"
    kept = f"{caught.value} {caught.value.body} {calls}"
    assert "Incorrect" in kept
    assert not [part for part in ("Zm9v", "YmFy", "QUJDRA") if part in kept]


async def test_a_server_that_is_not_there_is_no_connection(make, conversation, calls, waits):
    teacher = make("openai:m@http://127.0.0.1:9")
    with pytest.raises(TeacherFault, match="no answer: ConnectError") as caught:
        await ask(teacher, conversation("s", "u"), RetryPolicy(attempts=2), calls, sleep=waits)
    assert (caught.value.kind, len(calls)) == ("connection", 2)
    assert [call.lost for call in calls] == [False, False]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:9"])
async def test_a_name_that_nobody_knows_is_no_connection(make, conversation, calls, waits, monkeypatch, name, proxy):
    if proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(TeacherFault) as caught:
        await ask(make(f"{name}:m@http://nowhere.invalid/v1"), conversation("s", "u"), ONCE, calls, sleep=waits)
    assert (caught.value.kind, caught.value.lost, calls[0].lost) == ("connection", False, False)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_certificate_that_does_not_hold_is_no_connection(make, provider, conversation, calls, waits, name):
    teacher = make(f"{name}:m@{provider.url.replace('http', 'https')}", timeout=20.0)  # it speaks no TLS at all
    with pytest.raises(TeacherFault) as caught:
        await ask(teacher, conversation("s", "u"), ONCE, calls, sleep=waits)
    assert (caught.value.kind, caught.value.lost) == ("connection", False)


@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_connection_that_is_not_taken_up_in_time_is_no_lost_reply(make, conversation, calls, waits, name):
    """A socket that listens, with a line that is full already."""
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        teacher = make(f"{name}:m@http://127.0.0.1:{deaf.getsockname()[1]}/v1", timeout=2.0)
        with pytest.raises(TeacherFault, match="no connection in time") as caught:
            await ask(teacher, conversation("s", "u"), ONCE, calls, sleep=waits)
    assert (caught.value.kind, caught.value.lost) == ("timeout", False)


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ({"body": None}, True),
        ({"body": {"half": "a body"}, "missing": 9}, True),
        ({"body": ""}, True),
        ({"body": "<html>Sign in</html>"}, True),
        ({"body": error("Slow down"), "status": 429}, False),
        ({"body": error("Broken"), "status": 500}, False),
        ({"body": "<html>", "status": 529}, False),
        ({"body": error("Wrong"), "status": 400}, False),
        ({"body": error("Who?"), "status": 401}, False),
    ],
)
async def test_a_call_says_whether_a_reply_may_have_been_paid_for(asked, provider, calls, answer, lost):
    provider.will(**answer)
    with pytest.raises(TeacherFault):
        await asked(ONCE)
    assert [call.lost for call in calls] == [lost]


@pytest.mark.parametrize("provider_name", ["openai", "anthropic"])
async def test_an_answer_that_does_not_come_is_a_timeout(make, provider, conversation, calls, waits, provider_name):
    provider.hold()
    teacher = make(f"{provider_name}:m@{provider.url}", timeout=0.5)
    with pytest.raises(TeacherFault, match=r"no answer within 0\.5 s") as caught:
        await ask(teacher, conversation("s", "u"), RetryPolicy(attempts=2), calls, sleep=waits)
    assert caught.value.kind == "timeout"
    assert [(call.fault, call.lost) for call in calls] == [("timeout", True), ("timeout", True)]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error("Bad"), "bad_request"),
        (404, error("No such model"), "bad_request"),
        (413, "too large", "bad_request"),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "bad_request"),
        (401, error("Wrong key"), "denied"),
        (403, error("Not for you"), "denied"),
        (402, error("Pay first"), "quota"),
        (429, error("You exceeded your current quota", code="insufficient_quota"), "quota"),
        (429, error("Not active", type="billing_not_active"), "quota"),
        (400, error("Limit", details={"error_code": "enforced_spend_limit_reached"}), "quota"),
        (400, error("Your credit balance is too low to access the API."), "quota"),
    ],
)
async def test_what_will_not_pass_is_not_asked_again(asked, provider, calls, waits, status, body, kind):
    provider.will(body, status)
    with pytest.raises(TeacherFault) as caught:
        await asked()
    assert (caught.value.kind, caught.value.status) == (kind, status)
    assert [(call.fault, call.status) for call in calls] == [(kind, status)]
    assert waits == []


async def test_a_rate_limit_that_speaks_of_quota_is_still_a_rate_limit(asked, provider, calls):
    provider.will(error("You exceeded your current quota, please check your plan and billing", code=429), 429)
    provider.will_reply("a")
    await asked()
    assert calls[0].fault == "rate_limited"


async def test_a_denied_key_is_told_which_one_to_check(make, provider, conversation, calls):
    provider.will(error("Incorrect API key provided"), 401)
    with pytest.raises(TeacherFault, match=r"HTTP 401: Incorrect API key provided\. Check OPENAI_COMPATIBLE_API_KEY"):
        await ask(make(f"openai:m@{provider.url}"), conversation("s", "u"), POLICY, calls)


async def test_a_parameter_the_provider_does_not_take_costs_one_logged_call(make, provider, conversation, calls, waits):
    teacher = make(f"openai:m@{provider.url}")
    provider.will(error("Unsupported parameter: 'stop'", param="stop", code="unsupported_parameter"), 400)
    provider.will_chat("a")
    reply = await ask(teacher, conversation("s", "u", stop=("x",)), POLICY, calls, sleep=waits)
    assert reply.text == "a"
    assert [(call.fault, call.status) for call in calls] == [("bad_request", 400), (None, None)]
    assert waits == [0.0]


async def test_each_attempt_is_logged_before_the_next(asked, provider):
    seen = []

    async def log(call):
        seen.append((call.fault, len(provider.seen)))

    provider.will(error("Broken"), 500)
    provider.will(error("Slow down"), 429)
    provider.will_reply("a")
    await asked(log=log)
    assert seen == [("server", 1), ("rate_limited", 2), (None, 3)]


async def test_a_log_that_fails_ends_the_asking(asked, provider):
    async def log(call):
        raise OSError("disk full")

    provider.will(error("Broken"), 500)
    with pytest.raises(OSError, match="disk full"):
        await asked(log=log)
    assert len(provider.seen) == 1


async def test_a_cancelled_request_is_cancelled_and_nothing_else(asked, provider, calls):
    provider.hold()
    task = asyncio.create_task(asked())
    await provider.asked()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert calls == []


async def test_a_wait_can_be_cancelled(teacher, provider, conversation, calls):
    provider.will(error("Slow down"), 429, headers={"retry-after": "100"})
    sleeping = asyncio.Event()

    async def sleep(seconds):
        sleeping.set()
        await asyncio.sleep(seconds)

    task = asyncio.create_task(ask(teacher, conversation("s", "u"), POLICY, calls, sleep=sleep))
    await sleeping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [call.fault for call in calls] == ["rate_limited"]


async def test_what_a_wait_raises_passes_through_unchanged(teacher, provider, conversation, calls):
    class Stopped(Exception):
        pass

    stopped = Stopped("the run is being stopped")

    async def sleep(seconds):
        raise stopped

    provider.will(error("Slow down"), 429, headers={"retry-after": "100"})
    with pytest.raises(Stopped) as caught:
        await ask(teacher, conversation("s", "u"), POLICY, calls, sleep=sleep)
    assert caught.value is stopped
    assert stopped.__cause__ is None
    assert [call.fault for call in calls] == ["rate_limited"]
    assert len(provider.seen) == 1
