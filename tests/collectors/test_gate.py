"""The gate, in time that passes only when nothing is left to do: waits of minutes take none, and are exact."""

import asyncio
import gc
import random
import selectors
from decimal import Decimal
from itertools import pairwise

import httpx2
import pytest

from collectors.gate import Gate
from collectors.teachers.limits import Limits
from collectors.teachers.pace import FAILURES
from collectors.teachers.retry import RetryPolicy, ask
from environments.faults import TeacherFault
from environments.types import Message, Most, Reply, Request, Usage

POLICY = RetryPolicy()
REQUEST = Request("math/1", 0, 0, (Message("user", "What is 1+1?"),))
REPLY = Reply("a", "told:m", "m", "stop", Usage(), 0.0, Decimal(0), {})


class Selector(selectors.DefaultSelector):
    """Jumps to the next timer as soon as no event is there."""

    passed = 0.0

    def select(self, timeout=None):
        events = super().select(0)
        assert events or timeout is not None, "all wait, and for nothing"
        if not events:
            self.passed += timeout
        return events


class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.clock = Selector()
        super().__init__(self.clock)

    def time(self):
        return self.clock.passed


@pytest.fixture
def play():
    """Runs a story to its end; nothing that it began may outlive it."""

    def run(story):
        async def alone():
            told = await story
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return told

        with asyncio.Runner(loop_factory=Loop) as runner:
            told = runner.run(alone())
        gc.collect()  # what nobody has fetched complains now
        return told

    return run


def fault(kind="rate_limited", **rest):
    statuses = {"rate_limited": 429, "server": 500, "denied": 401, "quota": 402, "bad_request": 400, "bad_answer": 200}
    return TeacherFault(f"told:m: {kind}.", kind=kind, status=statuses.get(kind), **rest)


class Told:
    """A teacher that says, at each call, what it is told to: a reply, a fault, or what a function of the time gives."""

    name = "told:m"

    def __init__(self, *outcomes, seconds=1.0):
        self.limits = Limits()
        self.outcomes, self.seconds = list(outcomes), seconds
        self.asked = []
        self.under_way = self.most_under_way = 0

    async def reply(self, request):
        self.asked.append(now())
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        outcome = outcome(now()) if callable(outcome) else outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def most(self, request):
        return Most(0, Decimal(0))

    async def aclose(self):
        return None


def now():
    return asyncio.get_running_loop().time()


def gate(most=4, said=None, policy=POLICY, teacher=None, **rest):
    return Gate(teacher or Told(REPLY), most, (said if said is not None else []).append, policy, **rest)


async def call(through, error=None, seconds=0.0, tokens=0):
    """When it was let in."""
    async with through.call(tokens):
        at = now()
        await asyncio.sleep(seconds)
        if error:
            raise error
    return at


async def fail(through, error, seconds=0.0):
    with pytest.raises(TeacherFault):
        await call(through, error, seconds)


async def waiting(work):
    """Begun, and as far as it comes by itself."""
    task = asyncio.create_task(work)
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def many(count, teacher, through, policy=POLICY, log=None):
    async def nothing(call):
        return None

    asking = (ask(teacher, REQUEST, policy, log or nothing, gate=through) for _ in range(count))
    return await asyncio.gather(*asking, return_exceptions=True)


# -- how many at once ----------------------------------------------------------------------------


def test_no_more_calls_at_once_than_the_most(play):
    async def story():
        teacher = Told(REPLY)
        assert await many(10, teacher, gate(4, teacher=teacher)) == [REPLY] * 10
        assert teacher.most_under_way == 4
        assert teacher.asked == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]

    play(story())


def test_calls_go_out_in_the_order_they_came(play):
    async def story():
        through, order = gate(1), []

        async def one(number):
            async with through.call():
                order.append(number)
                await asyncio.sleep(1)

        await asyncio.gather(*map(one, range(8)))
        assert order == list(range(8))

    play(story())


def test_a_rate_limit_halves_once_for_all_that_were_under_way(play):
    async def story():
        through = gate(16)
        await asyncio.gather(*(fail(through, fault(retry_after=1), seconds) for seconds in range(1, 11)))
        assert through.state.limit == 8
        await fail(through, fault(retry_after=1))
        assert through.state.limit == 4

    play(story())


def test_the_limit_never_falls_below_one(play):
    async def story():
        through = gate(3)
        for _ in range(5):
            await fail(through, fault(retry_after=1))
        assert through.state.limit == 1

    play(story())


def test_the_limit_grows_by_one_for_as_many_clean_answers_as_it_is(play):
    async def story():
        through = gate(8)
        await fail(through, fault(retry_after=1))
        limits = []
        for _ in range(4 + 5 + 6 + 7 + 20):
            await call(through)
            limits.append(through.state.limit)
        assert [limits.index(limit) + 1 for limit in (5, 6, 7, 8)] == [4, 9, 15, 22]
        assert limits[-1] == 8

    play(story())


def test_an_answer_to_a_call_from_before_the_halving_does_not_let_it_grow(play):
    async def story():
        through = gate(8)
        old = [asyncio.create_task(call(through, seconds=2)) for _ in range(7)]
        await fail(through, fault(retry_after=1), 1)
        await asyncio.gather(*old)
        assert through.state.limit == 4

    play(story())


@pytest.mark.parametrize("kind", ["server", "timeout", "connection", "bad_answer", "bad_request"])
def test_what_is_no_rate_limit_does_not_halve(play, kind):
    async def story():
        through = gate(8)
        for _ in range(FAILURES - 1):
            await fail(through, fault(kind))
        assert (through.state.limit, through.down) == (8, False)

    play(story())


# -- rate limits ---------------------------------------------------------------------------------


def test_a_wait_that_is_asked_for_holds_back_the_whole_teacher(play):
    async def story():
        through = gate()
        await fail(through, fault(retry_after=7))
        assert through.paused == 7
        assert await asyncio.gather(call(through), call(through)) == [7, 7]

    play(story())


def test_a_rate_limit_without_a_wait_is_our_own_backoff_and_it_grows(play):
    async def story():
        through = gate(policy=RetryPolicy(first_backoff=2, longest_backoff=16))
        for window in (2, 4, 8, 16, 16):
            await fail(through, fault())
            assert window / 2 <= through.paused <= window
        await call(through)
        await fail(through, fault())
        assert through.paused <= 2

    play(story())


def test_a_wait_of_zero_is_not_asked_again_at_once(play):
    async def story():
        through = gate()
        await fail(through, fault(retry_after=0.0))
        assert through.paused > 0

    play(story())


def test_a_wave_of_rate_limits_waits_for_the_longest_that_is_asked(play):
    async def story():
        through = gate(8)
        await asyncio.gather(*(fail(through, fault(retry_after=seconds)) for seconds in (3, 9, None, 5)))
        assert through.paused == 9

    play(story())


def test_a_late_refusal_that_asks_for_no_wait_adds_none(play):
    async def story():
        through = gate(8)
        late = asyncio.create_task(fail(through, fault(), 50))
        await fail(through, fault(retry_after=10))
        await late
        assert through.paused == 0

    play(story())


def test_an_hour_is_waited_for_as_long_as_the_cap_and_said_once(play):
    async def story():
        said = []
        through = gate(said=said)
        await fail(through, fault(retry_after=5))
        assert said == []
        for _ in range(2):
            await fail(through, fault(retry_after=3600))
        assert await call(through) == 5 + 120 + 120
        assert said == ["told:m asks to wait 3,600 s; asked again after 120 s."]
        await fail(through, fault(retry_after=3600))
        assert len(said) == 2

    play(story())


@pytest.mark.parametrize("requests", [1, 9])
def test_patience_for_rate_limits_ends_the_teacher_for_all(play, requests):
    async def story():
        teacher = Told(fault(retry_after=3600), seconds=0)
        said = []
        through = gate(2, said, teacher=teacher)
        ended = await many(requests, teacher, through)
        assert len(said) == 1
        assert [error.ends_teacher for error in ended] == [True] * requests
        used_up = "Patience for rate limits (900 s) is used up"
        later = "start the same command again later, and it goes on."
        assert {str(error) for error in ended} == {f"told:m: rate_limited. {used_up}; {later}"}
        assert now() == 7 * 120
        assert through.state.words == "not asked any more"

    play(story())


def test_an_answer_gives_patience_back(play):
    async def story():
        teacher = Told(*[fault(retry_after=100), REPLY] * 30)
        assert await many(15, teacher, gate(1, teacher=teacher)) == [REPLY] * 15
        assert now() > 15 * 100

    play(story())


def test_a_request_that_alone_is_always_refused_ends_alone(play):
    """Larger than the limit itself, say: the others have answers meanwhile."""

    async def story():
        teacher, large = Told(REPLY), Told(fault(retry_after=100))
        through = gate(2, teacher=teacher)
        (ended,), replies = await asyncio.gather(many(1, large, through), many(2000, teacher, through))
        assert "Patience for rate limits (900 s) is used up" in str(ended)
        assert not ended.ends_teacher
        assert replies == [REPLY] * 2000

    play(story())


# -- limits learnt -------------------------------------------------------------------------------


def learnt(**told):
    """A teacher told 60 requests a minute, and of them none left."""
    teacher = Told(REPLY)
    headers = {"limit-requests": "60", "remaining-requests": "0", "reset-requests": "60s", **told}
    teacher.limits.learn(httpx2.Headers({f"x-ratelimit-{name}": value for name, value in headers.items()}), 0.0)
    return teacher


def test_a_call_that_would_surely_be_refused_waits_until_there_is_room(play):
    async def story():
        through = gate(8, teacher=learnt())
        assert await asyncio.gather(*(call(through) for _ in range(4))) == pytest.approx([1, 2, 3, 4])

    play(story())


def test_tokens_are_waited_for_too(play):
    async def story():
        tokens = {"limit-tokens": "6000", "remaining-tokens": "500", "reset-tokens": "55s"}
        through = gate(8, teacher=learnt(**{"remaining-requests": "60"}, **tokens))
        assert await call(through, tokens=500) == 0
        assert await call(through, tokens=1000) == pytest.approx(10)

    play(story())


def test_what_is_learnt_never_holds_back_longer_than_the_longest_wait(play):
    async def story():
        day = {"limit-requests": "10", "reset-requests": "23h59m"}
        through = gate(8, teacher=learnt(**day))
        assert await asyncio.gather(call(through), call(through)) == [120, 120]
        assert through.state.learnt == ()

    play(story())


# -- what ends a teacher -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["denied", "quota"])
def test_a_dead_key_ends_the_teacher_at_once(play, kind):
    async def story():
        teacher, logged = Told(lambda time: fault(kind)), []

        async def log(call):
            logged.append(call)

        through = gate(4, teacher=teacher)
        ended = await many(1000, teacher, through, log=log)
        assert len(teacher.asked) == len(logged) == 4
        assert {(error.kind, str(error), error.ends_teacher) for error in ended} == {(kind, f"told:m: {kind}.", True)}
        assert len({id(error) for error in ended}) == 1000
        (later,) = await many(1, teacher, through, log=log)
        assert (later.kind, len(teacher.asked), len(logged)) == (kind, 4, 4)

    play(story())


def test_what_is_under_way_when_a_gate_closes_comes_to_its_end(play):
    async def story():
        through = gate(2)
        under_way = asyncio.create_task(call(through, seconds=5))
        await fail(through, fault("denied"), 1)
        assert await under_way == 0
        assert (through.state.in_flight, through.closed) == (0, True)

    play(story())


# -- outages -------------------------------------------------------------------------------------


def test_a_provider_that_is_down_is_asked_by_one_call_at_a_time_until_it_answers(play):
    async def story():
        teacher = Told(lambda time: fault("server") if time < 200 else REPLY)
        said = []
        assert await many(20, teacher, gate(20, said, teacher=teacher)) == [REPLY] * 20
        down, up = said
        assert down == (
            f"told:m: {FAILURES} calls in a row have failed, the last by this: told:m: server. "
            "It is asked by one call at a time until it answers."
        )
        assert up == "told:m answers again."
        probes = [time for time in teacher.asked if 0 < time < 200]
        pauses = [later - time - 1 for time, later in pairwise(probes)]
        assert all(pause <= 60 for pause in pauses)
        assert sorted(pauses[:5]) == pauses[:5]
        assert 7 <= len(probes) <= 12

    play(story())


def test_waiting_for_an_outage_to_end_uses_up_nobodys_attempts(play):
    """Each of three has six of its own, and there are forty failures."""

    async def story():
        teacher = Told(*[fault("connection")] * 40, REPLY, seconds=0)
        policy = RetryPolicy(attempts=6, longest_backoff=4)
        assert await many(3, teacher, gate(3, teacher=teacher, policy=policy), policy) == [REPLY] * 3
        assert len(teacher.asked) == 43

    play(story())


def test_a_request_of_its_own_that_fails_is_given_up_while_others_are_answered(play):
    async def story():
        teacher, poison = Told(REPLY), Told(fault("server"))
        through = gate(2, teacher=teacher)
        (ended,), replies = await asyncio.gather(many(1, poison, through), many(500, teacher, through))
        assert str(ended) == "told:m: server. Gave up after 6 failures."
        assert replies == [REPLY] * 500

    play(story())


def test_a_long_outage_ends_the_teacher_for_all(play):
    async def story():
        teacher = Told(fault("timeout"), seconds=30)
        ended = await many(20, teacher, gate(20, teacher=teacher))
        assert {error.ends_teacher for error in ended} == {True}
        assert {error.kind for error in ended} == {"timeout"}
        assert "told:m: timeout. It has been down for " in str(ended[0])
        assert str(ended[0]).endswith("start the same command again later, and it goes on.")
        assert 900 < now() < 1100

    play(story())


def test_answers_that_may_have_been_paid_for_stay_bounded_in_an_outage(play):
    async def story():
        teacher = Told(fault("bad_answer"))
        ended = await many(15, teacher, gate(15, teacher=teacher))
        assert len(teacher.asked) == 30
        assert {str(error) for error in ended} == {"told:m: bad_answer. Gave up after 2 such answers."}

    play(story())


def test_failures_with_an_answer_between_them_are_no_outage(play):
    async def story():
        through = gate()
        for _ in range(3):
            for _ in range(FAILURES - 1):
                await fail(through, fault("server"))
            await call(through)
        assert not through.down

    play(story())


def test_an_answer_that_was_under_way_ends_an_outage_at_once(play):
    async def story():
        through = gate(20, policy=RetryPolicy(first_backoff=60))
        under_way = asyncio.create_task(call(through, seconds=5))
        await asyncio.gather(*(fail(through, fault("server")) for _ in range(FAILURES)))
        assert await asyncio.gather(under_way, call(through), call(through)) == [0, 5, 5]

    play(story())


def test_a_request_does_not_wait_by_itself_for_what_the_gate_waits_for(play):
    async def story():
        slept = []

        async def sleep(seconds):
            slept.append(seconds)

        async def log(call):
            return None

        teacher = Told(*[fault("server")] * FAILURES, fault(retry_after=9), REPLY, seconds=0)
        through = gate(20, teacher=teacher)
        for _ in range(FAILURES - 1):
            await fail(through, fault("server"))
        await ask(teacher, REQUEST, POLICY, log, gate=through, sleep=sleep)
        assert slept == [0.0] * (FAILURES + 1)

    play(story())


@pytest.mark.parametrize("sign", [None, fault("rate_limited", retry_after=3), fault("bad_request")])
def test_any_sign_of_life_ends_an_outage(play, sign):
    async def story():
        said = []
        through = gate(20, said)
        await asyncio.gather(*(fail(through, fault("server")) for _ in range(FAILURES)))
        assert through.down
        await (fail(through, sign) if sign else call(through))
        assert not through.down
        assert said[-1] == "told:m answers again."

    play(story())


def test_failures_of_calls_from_before_the_outage_do_not_lengthen_it(play):
    async def story():
        through = gate(30, policy=RetryPolicy(first_backoff=8))
        old = [asyncio.create_task(fail(through, fault("server"), 3)) for _ in range(15)]
        await asyncio.gather(*(fail(through, fault("server")) for _ in range(FAILURES)))
        resumes = through.paused
        await asyncio.gather(*old)
        assert through.paused == pytest.approx(resumes - 3)

    play(story())


def test_the_end_of_an_outage_does_not_end_the_wait_for_a_rate_limit(play):
    async def story():
        through = gate(40)
        under_way = [asyncio.create_task(fail(through, fault("server"), 2)) for _ in range(FAILURES)]
        under_way += [asyncio.create_task(call(through, seconds=4))]
        await fail(through, fault(retry_after=60))
        await asyncio.gather(*under_way)
        assert (through.down, through.paused) == (False, 56)

    play(story())


def test_a_probe_that_fails_after_the_outage_has_ended_is_a_failure_like_others(play):
    async def story():
        through = gate(20, policy=RetryPolicy(first_backoff=2))
        under_way = asyncio.create_task(call(through, seconds=5))
        await asyncio.gather(*(fail(through, fault("server")) for _ in range(FAILURES)))
        probe = asyncio.create_task(fail(through, fault("server"), 20))
        await under_way
        assert not through.down
        await asyncio.gather(*(fail(through, fault("server")) for _ in range(FAILURES)))
        await call(through)
        assert (through.down, probe.done()) == (False, False)
        await probe
        assert (through.down, through.paused) == (False, 0)

    play(story())


def test_a_hanging_call_does_not_keep_the_probe_from_going_out(play):
    async def story():
        through = gate(20)
        hanging = asyncio.create_task(call(through, seconds=500))
        await asyncio.gather(*(fail(through, fault("server")) for _ in range(FAILURES)))
        assert await call(through) <= 1
        await hanging

    play(story())


def test_an_outage_honours_the_wait_it_asks_for_up_to_the_cap(play):
    async def story():
        through = gate(20)
        await asyncio.gather(*(fail(through, fault("server", retry_after=4000)) for _ in range(FAILURES)))
        assert through.paused == 120

    play(story())


# -- waits that end early ------------------------------------------------------------------------


def test_a_cancelled_wait_leaves_nothing_behind(play):
    async def story():
        through = gate(1)
        held = asyncio.create_task(call(through, seconds=10))
        others = [await waiting(call(through)) for _ in range(3)]
        others[1].cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await others[1]
        assert through.state.waiting == 2
        assert await asyncio.gather(held, others[0], others[2]) == [0, 10, 10]
        assert (through.state.in_flight, through.state.waiting) == (0, 0)

    play(story())


def test_a_wait_cancelled_at_the_moment_it_ends_gives_its_place_back(play):
    async def story():
        through = gate(1)
        held = through.call()
        await held.__aenter__()
        first, second = await waiting(call(through)), await waiting(call(through))
        await held.__aexit__(None, None, None)
        first.cancel()  # let in, and not yet told
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == 0
        assert through.state.in_flight == 0

    play(story())


def test_the_last_to_leave_a_pause_takes_its_timer_along(play):
    async def story():
        through = gate()
        await fail(through, fault(retry_after=100))
        task = await waiting(call(through))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == 0
        assert not [timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()]

    play(story())


def test_a_wait_cancelled_as_the_gate_closes_is_cancelled(play):
    async def story():
        through = gate(1)
        held = await waiting(call(through, seconds=1))
        first, second = await waiting(call(through)), await waiting(call(through))
        first.cancel()
        through.close(Stopped)
        ended = await asyncio.gather(held, first, second, return_exceptions=True)
        assert [type(one) for one in ended] == [float, asyncio.CancelledError, Stopped]
        assert (through.state.in_flight, through.state.waiting) == (0, 0)

    play(story())


class Stopped(Exception):
    pass


def test_a_run_that_is_stopped_ends_every_wait_at_once(play):
    async def story():
        stopping = asyncio.Event()

        async def pause(seconds):
            try:
                async with asyncio.timeout(seconds):
                    await stopping.wait()
            except TimeoutError:
                return
            raise Stopped

        through = gate(1, pause=pause)
        under_way = asyncio.create_task(call(through, seconds=500))
        waits = [await waiting(call(through)) for _ in range(5)]
        await asyncio.sleep(200)
        stopping.set()
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(error) for error in ended] == [Stopped] * 5
        assert now() == 200
        with pytest.raises(Stopped):
            await call(through)
        assert await under_way == 0

    play(story())


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_places_are_given_back_and_the_most_is_kept(play, seed):
    """A provider that answers, limits, breaks; callers that lose interest at any moment."""

    async def story():
        draw = random.Random(seed)
        kinds = ["rate_limited", "server", "connection", "bad_request"]
        teacher = Told(
            lambda time: REPLY if draw.random() < 0.6 else fault(draw.choice(kinds), retry_after=draw.random())
        )
        through = gate(6, teacher=teacher)

        async def one():
            await asyncio.sleep(draw.random() * 50)
            try:
                async with asyncio.timeout(draw.choice([0.5, 1, 2, 1000])):
                    return await ask(teacher, REQUEST, POLICY, log, gate=through)
            except (TimeoutError, TeacherFault) as error:
                return error

        async def log(call):
            await asyncio.sleep(draw.choice([0, 0.01]))

        done = await asyncio.gather(*(one() for _ in range(300)))
        assert teacher.most_under_way <= 6
        assert (through.state.in_flight, through.state.waiting, teacher.under_way) == (0, 0, 0)
        assert REPLY in done

    play(story())


# -- what stands before a call -------------------------------------------------------------------


def test_what_stands_before_a_call_is_done_inside_the_gate_for_each_attempt(play):
    async def story():
        teacher = Told(fault(retry_after=5), fault("server"), REPLY)
        through, done = gate(3, teacher=teacher), []

        async def before(aside):
            done.append((now(), through.state.in_flight))

        async def log(call):
            done.append(call.fault)

        await ask(teacher, REQUEST, POLICY, log, gate=through, before=before)
        (first, a, second, b, third, c) = done
        assert (first, a, second, b, c) == ((0, 1), "rate_limited", (6, 1), "server", None)
        assert third[1] == 1

    play(story())


def test_who_steps_aside_before_a_call_leaves_its_place_to_another(play):
    async def story():
        teacher = Told(REPLY, REPLY)
        through, done = gate(1, teacher=teacher), []

        async def late(aside):
            with aside():
                assert through.state.in_flight == 0
                await asyncio.sleep(5)
            assert through.state.in_flight == 1
            done.append(now())

        async def log(call):
            done.append(call.fault)

        first = asyncio.create_task(ask(teacher, REQUEST, POLICY, log, gate=through, before=late))
        await asyncio.sleep(1)
        await ask(teacher, REQUEST, POLICY, log, gate=through)
        assert done == [None]
        await first
        assert done == [None, 5, None]
        assert through.state.in_flight == 0

    play(story())


@pytest.mark.parametrize("error", [Stopped(), ValueError("no budget"), asyncio.CancelledError()])
def test_what_stands_before_a_call_may_forbid_it(play, error):
    async def story():
        teacher, logged = Told(REPLY), []
        through = gate(1, teacher=teacher)

        async def before(aside):
            raise error

        with pytest.raises(type(error)) as caught:
            await ask(teacher, REQUEST, POLICY, logged.append, gate=through, before=before)
        assert caught.value is error
        assert (teacher.asked, logged, through.state.in_flight) == ([], [], 0)
        assert (through.down, through.closed) == (False, False)

    play(story())


# -- what is shown -------------------------------------------------------------------------------


def test_the_state_tells_what_keeps_calls_back(play):
    async def story():
        through = gate(4, teacher=learnt(**{"remaining-requests": "30"}))
        assert through.state.words == ""
        await fail(through, fault(retry_after=9))
        task = await waiting(call(through))
        state = through.state
        assert (state.limit, state.most, state.in_flight, state.waiting, state.paused) == (2, 4, 0, 1, 9)
        assert [(limit.resource, limit.limit) for limit in state.learnt] == [("requests", 60)]
        assert state.words == "2 of 4 at once, paused for 9 s, 1 waiting"
        await task

    play(story())
