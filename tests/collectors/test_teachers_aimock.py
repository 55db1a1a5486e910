"""Both providers against a server that none of us wrote: npm's @copilotkit/aimock, pinned in `aimock/package.json`.

Its replies, and one rate limit with its wait, stand in `aimock/fixtures.json`; other faults are queued,
one request each, over its control API. Skipped where there is no node; installed on first use.
"""

import asyncio
import json
import shutil
import subprocess
import urllib.request
from decimal import Decimal
from pathlib import Path

import pytest

from collectors.gate import Gate
from collectors.teachers.retry import RetryPolicy, ask
from environments.faults import TeacherFault
from environments.types import Usage

FOLDER = Path(__file__).parent / "aimock"
PACKAGE = FOLDER / "node_modules" / "@copilotkit" / "aimock"
LISTENING = "aimock server listening on "


@pytest.fixture(scope="module")
def aimock():
    """Its address; the process ends with the module."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no node and npm, so no aimock")
    _install()
    command = ["node", str(PACKAGE / "dist" / "aimock-cli.js"), "--config", "aimock.json", "--port", "0"]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if line.startswith(LISTENING)), "")
            assert line, "aimock did not start"
            yield line.removeprefix(LISTENING).strip()
        finally:
            process.terminate()


def _install() -> None:
    pinned = json.loads((FOLDER / "package.json").read_text())["dependencies"]["@copilotkit/aimock"]
    manifest = PACKAGE / "package.json"
    if manifest.exists() and json.loads(manifest.read_text())["version"] == pinned:
        return
    command = ["npm", "install", "--prefix", str(FOLDER), "--no-package-lock", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"npm could not install aimock {pinned}: {done.stderr[-300:]}")


@pytest.fixture
def fail_next(aimock):
    """Queue one error, to be served once; of several, the last queued comes first."""

    def queue(status, **body):
        data = json.dumps({"status": status, "body": body}).encode()
        request = urllib.request.Request(f"{aimock}/__aimock/error", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as response:
            assert json.load(response) == {"queued": True}

    return queue


@pytest.fixture(params=["openai:gpt-5.5", "anthropic:claude-opus-5-5"])
def teacher(request, make, aimock, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return make(f"{request.param}@{aimock}/v1", price=(Decimal(1), Decimal(10)))


@pytest.fixture
def asked(teacher, conversation, calls, waits):
    async def of(*said):
        return await ask(teacher, conversation(*said), RetryPolicy(), calls, sleep=waits)

    return of


async def test_a_conversation_of_two_turns_with_thinking(asked, teacher, spoken):
    reply = await asked("Be brief.", "Task:\nWhat is two plus two?")
    assert reply.text == "<thought>Let me compute.</thought><execute>print(2 + 2)</execute> and then some"
    assert (reply.usage, reply.cost) == (Usage(input=70, output=30), Decimal(370) / 1_000_000)
    assert "Addition of two small numbers." in json.dumps(reply.raw)
    cut = spoken(reply, reply.text.index(" and then"))
    assert (await asked("Be brief.", "Task:\nWhat is two plus two?", cut, "Observation:\n4")).text == (
        "<solution>4</solution>"
    )


async def test_a_rate_limit_waits_as_long_as_the_server_asks(asked, teacher, calls, waits):
    reply = await asked("s", f"busy for {teacher.name.partition(':')[0]}")
    assert reply.text == "after the wait"
    assert waits == [7.0]
    assert [(call.fault, call.status, call.retry_after) for call in calls] == [
        ("rate_limited", 429, 7.0),
        (None, None, None),
    ]
    assert "Slow down" in calls[0].message


async def test_a_rate_limit_holds_all_calls_back_at_the_gate(teacher, conversation, calls):
    name, said, paused = teacher.name.partition(":")[0], [], []
    gate = Gate(teacher, 4, said.append)

    async def log(call):
        await calls(call)
        paused.append(gate.paused)

    async def asked(words):
        return await ask(teacher, conversation("s", words), RetryPolicy(), log, gate=gate)

    assert (await asked(f"short of {name}")).text == "after a second"
    assert 0 < paused[0] <= 1
    assert paused[1] == 0
    assert [(call.fault, call.status, call.retry_after) for call in calls] == [
        ("rate_limited", 429, 1.0),
        (None, None, None),
    ]
    assert (gate.state.limit, gate.state.most, gate.state.in_flight, said) == (2, 4, 0, [])
    assert [(await asked("broken once")).text for _ in range(4)] == ["mended"] * 4
    assert gate.state.limit == 4


async def test_a_dead_key_ends_the_teacher_for_all_calls(teacher, conversation, calls, fail_next):
    fail_next(401, message="No", type="authentication_error", code="invalid_api_key")
    gate = Gate(teacher, 1, calls.append)
    asking = (ask(teacher, conversation("s", "broken once"), RetryPolicy(), calls, gate=gate) for _ in range(50))
    ended = await asyncio.gather(*asking, return_exceptions=True)
    assert {error.kind for error in ended} == {"denied"}
    assert [(call.fault, call.lost) for call in calls] == [("denied", False)]


async def test_a_server_error_is_asked_again(asked, fail_next, calls):
    fail_next(503, message="Away", type="overloaded_error")
    fail_next(500, message="Broken", type="api_error")
    assert (await asked("s", "broken once")).text == "mended"
    assert [(call.fault, call.status) for call in calls] == [("server", 500), ("server", 503), (None, None)]
    assert all(call.request_id for call in calls[:2])


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(401, "invalid_api_key", "denied"), (402, "payment_required", "quota"), (400, "bad", "bad_request")],
)
async def test_what_will_not_pass_is_not_asked_again(asked, fail_next, calls, status, code, kind):
    fail_next(status, message="No", type="some_error", code=code)
    with pytest.raises(TeacherFault) as caught:
        await asked("s", "broken once")
    assert (caught.value.kind, len(calls)) == (kind, 1)
