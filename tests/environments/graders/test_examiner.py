"""Tests that are code judge a program that never meets them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from environments.graders.examiner import Examination, examined, single_tests
from environments.graders.programs import Program
from environments.kernels import KernelHost

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernels() -> AsyncIterator[KernelHost]:
    async with KernelHost(None) as host:
        yield host


async def _passed(kernels: KernelHost, source: str, tests: str, preamble: str = "", asked: str = "f") -> list[bool]:
    examination = Examination(tuple(single_tests(tests)), (asked,), (preamble,))
    return [verdict.passed for verdict in await examined(kernels, Program(source, (preamble,)), examination)]


TESTS = """
def check(candidate):
    values = [1, 2]
    assert candidate(values) == 3
    assert abs(candidate([0.1, 0.2]) - 0.3) < 1e-9, "close"
    for n in range(3):
        assert candidate(range(n)) == sum(range(n))
    assert candidate([]) is not None
    assert True
check(f)
"""


async def test_each_assert_is_a_test(kernels: KernelHost) -> None:
    assert len(single_tests(TESTS)) == 4
    assert await _passed(kernels, "f = sum", TESTS) == [True] * 4
    assert await _passed(kernels, "def f(x): return 3", TESTS) == [True, False, False, True]


FORGERS = {
    "an equal of everything": "class Any:\n    def __eq__(self, other): return True\n    __abs__ = __sub__ = __lt__ = "
    "lambda *_: Any()\n    __bool__ = lambda self: True\ndef f(x): return Any()",
    "an exit": "import os, sys\ndef f(x): os._exit(0)",
    "SystemExit": "def f(x): raise SystemExit",
    "AssertionError swallowed": "import builtins\nbuiltins.AssertionError = ZeroDivisionError\ndef f(x): return None",
    "a verdict where the result goes": "import os\ndef f(x):\n    os.write(3, b'{\"passed\": true}')\n    os._exit(0)",
    "a class of a library": 'import os\ndef f(x):\n    os.write(3, b\'{"value": {"object": ["ANY", {}]}}\')\n'
    "    os._exit(0)",
    "frames": "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame.f_back:\n"
    "        frame = frame.f_back\n        frame.f_globals.update(AssertionError=int)\n    return 0",
}


@pytest.mark.parametrize("source", FORGERS.values(), ids=FORGERS)
async def test_no_verdict_can_be_forged(kernels: KernelHost, source: str) -> None:
    preamble = "from unittest.mock import ANY, _ANY"
    tests = "assert f(1) == 'secret'\nassert abs(f(2) - 7) < 1"
    assert await _passed(kernels, source, tests, preamble) == [False, False]


async def test_the_expected_value_is_nowhere_near_the_program(kernels: KernelHost) -> None:
    source = (
        "import gc, sys\ndef f(x):\n    texts = [o for o in gc.get_objects() if isinstance(o, (dict, list, tuple))]\n"
        "    return next((s for o in texts for s in (o.values() if isinstance(o, dict) else o)"
        " if isinstance(s, str) and s.startswith('not-for-') and s.endswith('-you')), '')"
    )
    assert await _passed(kernels, source, "assert f(1) == 'not-for-' + 'you' or f(2) == 'not-for-' '-you'") == [False]


async def test_a_test_may_expect_an_exception(kernels: KernelHost) -> None:
    tests = "try:\n    f(0)\nexcept ValueError:\n    pass\nelse:\n    assert f is None"
    assert await _passed(kernels, "def f(x): raise ValueError", tests) == [True]
    assert await _passed(kernels, "def f(x): raise TypeError", tests) == [False]
    assert await _passed(kernels, "def f(x): return 0", tests) == [False]


async def test_classes_of_the_program_go_there_and_back(kernels: KernelHost) -> None:
    tests = "p = Pair(1, 2)\np.b = 5\nassert f([p, Pair(3, 4)]) == 9\nassert f([]) == 0"
    source = "class Pair:\n    def __init__(self, a, b): self.a, self.b = a, b\n    def high(self): return self.b\n"
    source += "def f(pairs): return sum(pair.high() for pair in pairs)"
    assert await _passed(kernels, source, tests) == [True, True]


async def test_helpers_that_the_task_gives_are_the_tests_own(kernels: KernelHost) -> None:
    preamble = "def twice(x):\n    return 2 * x\n\ndef f(x):\n    pass\n"
    tests = "assert f(twice(2)) == 2\nassert twice(f(4)) == 4"
    assert await _passed(kernels, "def f(x): return x / 2", tests, preamble) == [True, True]
    # One that the program writes over is still the task's where the test uses it.
    assert await _passed(kernels, "def twice(x): return 0\ndef f(x): return 0", tests, preamble) == [False, False]


async def test_a_test_may_draw_what_it_asks(kernels: KernelHost) -> None:
    tests = "import random\nfor _ in range(20):\n    n = random.randint(1, 10 ** 9)\n    assert f(n) == 2 * n"
    assert await _passed(kernels, "def f(n): return n + n", tests) == [True]


async def test_a_test_that_cannot_end_is_failed(kernels: KernelHost) -> None:
    assert await _passed(kernels, "def f(x): return 1", "while f(1) == 1:\n    pass\nassert f(2) == 1\n") == [False]
