"""A cell calls functions that the host carries out: plainly, one at a time, and with no power over the host."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from environments.faults import ToolFault
from environments.kernels import KernelHost, KernelSession
from environments.tools import BadCall, Idle, Missed
from environments.types import ToolCall
from tests.environments.conftest import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "what only the host knows"


async def look_up(word: str, most: int = 3) -> list[str]:
    """Look a word up.

    Gives at most so many lines.
    """
    if word == "unknown":
        raise BadCall("there is no such word")
    return [f"{word} {number}" for number in range(most)]


def add(first: float, second: float) -> float:
    """Add two numbers."""
    return first + second


async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"


def fail(message: str) -> None:
    """Fails by itself."""
    raise RuntimeError(f"{message} {SECRET}")


def seek(word: str) -> str:
    return Missed("found nothing") if word == "a" else Idle("did nothing")


def give_a_set() -> Any:
    return {1}


class Place:
    """Stands for an episode."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, where: str) -> str:
        self.steps.append(where)
        return f"You are at {where}."


FUNCTIONS = {function.__name__: function for function in (look_up, add, wait, fail, seek, give_a_set)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(way: Way) -> AsyncIterator[KernelHost]:
    async with KernelHost(way.level, fork=way.fork, cell_timeout=20) as host:
        yield host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(host: KernelHost) -> AsyncIterator[KernelSession]:
    async with await host.session(functions=FUNCTIONS) as session:
        yield session


async def test_a_function_is_called_as_any_other_and_the_call_is_recorded(session: KernelSession) -> None:
    result = await session.run("print(look_up('a'))\nadd(1, second=2.5)")
    assert (result.stdout, result.value) == ("['a 0', 'a 1', 'a 2']\n", "3.5")
    first, second = result.calls
    assert (first.function, first.arguments, first.value) == (
        "look_up",
        {"word": "a", "most": 3},
        ["a 0", "a 1", "a 2"],
    )
    assert (second.arguments, second.value, second.error) == ({"first": 1, "second": 2.5}, 3.5, None)
    shown = (await session.run("help(look_up)")).stdout
    assert "look_up(word: str, most: int = 3) -> list[str]" in shown.replace("'", "")
    assert "Gives at most so many lines." in shown


async def test_a_bad_call_is_raised_in_the_kernel_as_any_error(session: KernelSession) -> None:
    unknown = await session.run("look_up('unknown')")
    assert unknown.error is not None
    assert (unknown.error.name, unknown.error.value) == ("ToolError", "there is no such word")
    assert "----> 1 look_up('unknown')" in unknown.error.traceback
    assert "stubs" not in unknown.error.traceback
    assert unknown.calls == (
        ToolCall(
            "look_up", {"word": "unknown", "most": 3}, error=unknown.error.value, seconds=unknown.calls[0].seconds
        ),
    )
    assert (await session.run("try: look_up('unknown')\nexcept ToolError as error: print(error)")).stdout == (
        "there is no such word\n"
    )
    lacking = await session.run("look_up()")
    assert lacking.error is not None
    assert (lacking.error.name, lacking.error.value) == (
        "TypeError", "look_up() missing 1 required positional argument: 'word'",
    )  # fmt: skip
    wrong = await session.run("look_up(3)")
    assert wrong.error is not None
    assert wrong.error.value == "look_up: word must be of type str, not int"
    assert (await session.run("look_up({1})")).error.name == "TypeError"  # type: ignore[union-attr]


async def test_a_call_that_came_to_nothing_is_told_from_one_that_did_not(session: KernelSession) -> None:
    result = await session.run("print(seek('a'), seek('b'))")
    assert result.stdout == "found nothing did nothing\n"
    assert [call.event for call in result.calls] == ["E6", "E5"]


async def test_a_function_that_fails_by_itself_is_a_fault_and_never_the_cells(session: KernelSession) -> None:
    with pytest.raises(ToolFault, match="fail failed: RuntimeError: badly"):
        await session.run("try: fail('badly')\nexcept BaseException: print('caught')")
    with pytest.raises(ToolFault, match="give_a_set"):
        await session.run("give_a_set()")
    assert (await session.run("add(1, 1)")).value == "2"


async def test_the_cells_clock_stands_still_meanwhile(session: KernelSession) -> None:
    result = await session.run("wait(1.0)", timeout=0.5)
    assert (result.value, result.timed_out) == ("'waited'", False)
    assert result.seconds < 0.5
    assert result.calls[0].seconds >= 1.0
    looping = await session.run("wait(0.2)\nwhile True: pass", timeout=0.5)
    assert looping.timed_out
    assert [call.value for call in looping.calls] == ["waited"]


async def test_a_functions_calls_are_bounded(session: KernelSession) -> None:
    result = await session.run("for n in range(2000): add(n, 1)", timeout=20)
    assert result.error is not None
    assert result.error.value == "no more than 1,000 calls can be made in one cell"
    long = await session.run("look_up('x' * 200_000)")
    assert long.error is not None
    assert long.error.value.startswith("the arguments of look_up are too long")
    assert (await session.run("add(1, 1)")).value == "2"


async def test_threads_call_one_after_the_other_and_processes_not_at_all(session: KernelSession) -> None:
    result = await session.run(
        "import threading\nfound = []\n"
        "threads = [threading.Thread(target=lambda n=n: found.append(add(n, 1))) for n in range(20)]\n"
        "for thread in threads: thread.start()\nfor thread in threads: thread.join()\nsorted(found)"
    )
    assert result.value == str([n + 1 for n in range(20)])
    forked = await session.run(
        "import os\nif os.fork() == 0:\n    try: add(1, 1)\n    except ToolError as error: print(error, flush=True)\n"
        "    os._exit(0)\nos.wait();"
    )
    assert forked.stdout == "add can be called by the session itself only, not by a process it has started\n"


async def test_a_call_that_is_left_or_comes_late_confuses_none_after_it(session: KernelSession) -> None:
    broken_off = await session.run(
        "import signal\nclass Late(Exception): pass\ndef stop(*_): raise Late\n"
        "signal.signal(signal.SIGALRM, stop)\nsignal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "try: wait(0.5)\nexcept Late: print('left')\nimport time; time.sleep(0.6)\nadd(2, 2)"
    )
    assert (broken_off.stdout, broken_off.value) == ("left\n", "4")
    late = await session.run(
        "import threading, time\ndef later():\n    time.sleep(0.3)\n    try: add(1, 1)\n"
        "    except ToolError as error: told.append(str(error))\n"
        "told = []\nthread = threading.Thread(target=later); thread.start()"
    )
    assert not late.failed
    await asyncio.sleep(0.5)
    assert "the host is not free" in ((await session.run("thread.join(); told")).value or "")


FORGED = {
    "no content": """b'["prompt"]'""",
    "no text": "{'prompt': 3}",
    "no call": "{'prompt': '{}'}",
    "an unknown function": """{'prompt': '{"call": 1, "function": "__init__", "arguments": {}}'}""",
    "no arguments": """{'prompt': '{"call": 1, "function": "add", "arguments": 3}'}""",
    "arguments of other types": (
        """{'prompt': '{"call": 1, "function": "add", "arguments": {"first": {}, "second": []}}'}"""
    ),
    "another number": """{'prompt': '{"call": -7, "function": "add", "arguments": {"first": 1, "second": 2}}'}""",
    "a number that is none": """{'prompt': '{"call": 1e400, "function": "add", "arguments": {}}'}""",
    "deep arguments": """{'prompt': '{"call": 1, "function": "add", "arguments": ' + '[' * 100_000}""",
}


@pytest.mark.parametrize("prompt", FORGED.values(), ids=FORGED)
async def test_a_forged_question_gets_an_answer_and_does_no_harm(session: KernelSession, prompt: str) -> None:
    result = await session.run(
        "import json, zmq\nkernel = get_ipython().kernel\n"
        "ident, parent = kernel._get_shell_context_var(kernel._shell_parent_ident), kernel.get_parent('shell')\n"
        f"kernel.session.send(kernel.stdin_socket, 'input_request', {prompt}, parent, ident=ident)\n"
        "if not kernel.stdin_socket.poll(10_000): raise TimeoutError\n"
        "print(kernel.session.recv(kernel.stdin_socket)[1]['content'])",
        timeout=20,
    )
    assert result.error is None, result
    assert "'value'" in result.stdout
    assert SECRET not in str(result)
    assert (await session.run("add(1, 1)")).value == "2"


async def test_a_plain_input_meets_the_end(session: KernelSession) -> None:
    assert (await session.run("input('name? ')")).error.name == "EOFError"  # type: ignore[union-attr]


async def test_a_method_acts_on_its_own_episode_and_a_fresh_session_has_it_too(host: KernelHost) -> None:
    one, other = Place(), Place()
    async with (
        await host.session(functions={"step": one.step}) as first,
        await host.session(functions={"step": other.step}) as second,
    ):
        assert (await first.run("step('a')")).value == "'You are at a.'"
        assert (await second.run("step('b')")).value == "'You are at b.'"
        assert (await first.run("import os; os._exit(1)")).died
        assert (await first.run("step('c')")).value == "'You are at c.'"
        assert (await first.run("add(1, 1)")).error.name == "NameError"  # type: ignore[union-attr]
    assert (one.steps, other.steps) == (["a", "c"], ["b"])


async def test_a_cell_that_is_cancelled_in_a_call_leaves_nothing_behind(host: KernelHost) -> None:
    before = asyncio.all_tasks()
    async with await host.session(functions=FUNCTIONS) as session:
        await session.run("1")
        cell = asyncio.create_task(session.run("wait(100)"))
        await asyncio.sleep(0.3)
        cell.cancel()
        began = time.monotonic()
        await asyncio.wait({cell})
        assert time.monotonic() - began < 10
        assert (await session.run("add(1, 1)")).value == "2"
    while asyncio.all_tasks() - before:
        await asyncio.sleep(0.01)
