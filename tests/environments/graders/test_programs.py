"""Programs on the bench: whatever they do is a verdict on their own test, and never on another's."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from environments.graders import programs
from environments.graders.programs import Allowance, Bench, Program, Ran, calling, on_stdin
from environments.kernels import KernelHost
from environments.types import Json
from tests.environments.attacks import working

pytestmark = pytest.mark.asyncio(loop_scope="module")

BRISK = Allowance(seconds=1, wall=3, total=60, output=1 << 20)


LEVELS = list(dict.fromkeys([working()[0], *(level for level in working() if level == "landlock")]))
"""The strongest, and one in which a bench cannot find what has left its group."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=LEVELS)
async def kernels(request: pytest.FixtureRequest) -> AsyncIterator[KernelHost]:
    async with KernelHost(request.param) as host:
        yield host


@pytest_asyncio.fixture(loop_scope="module")
async def bench(kernels: KernelHost) -> AsyncIterator[Bench]:
    async with Bench(kernels, BRISK) as bench:
        yield bench


async def _ran(bench: Bench, source: str, given: str = "") -> Ran:
    (ran,) = await bench.run(Program(source), [on_stdin(given)])
    return ran


READERS = {
    "input": "print(input(), input())",
    "sys.stdin": "import sys\nprint(*sys.stdin.read().split())",
    "readline": "import sys\nprint(sys.stdin.readline().strip(), next(sys.stdin).strip())",
    "sys.stdin.buffer": "import sys\nprint(*sys.stdin.buffer.read().decode().split())",
    "open(0)": "print(*open(0).read().split())",
    "os.read(0)": "import os\nprint(*os.read(0, os.fstat(0).st_size).decode().split())",
    "io.BytesIO": "import io, os\ninput = io.BytesIO(os.read(0, 99)).readline\nprint(int(input()), int(input()))",
    "sys.__stdin__": "import sys\nprint(*sys.__stdin__.read().split())",
    "fileinput": "import fileinput\nprint(*(line.strip() for line in fileinput.input()))",
}


@pytest.mark.parametrize("source", READERS.values(), ids=READERS)
async def test_a_program_reads_its_input_in_any_way(bench: Bench, source: str) -> None:
    ran = await _ran(bench, source, "4\n2\n")
    assert (ran.ended, ran.output, ran.errors) == ("well", "4 2\n", "")


WRITERS = {
    "print": "print('ab')",
    "without a last newline": "print('ab', end='')",
    "sys.stdout.buffer": "import sys\nsys.stdout.buffer.write(b'ab')",
    "os.write": "import os\nos.write(1, b'ab')",
    "a stdout of its own": "import io, sys\nsys.stdout = io.StringIO()\nprint('ab')\n"
    "sys.__stdout__.write(sys.stdout.getvalue())",
    "at exit": "import atexit\natexit.register(print, 'ab')",
    "a thread": "import threading\nthreading.Thread(target=print, args=('ab',)).start()",
    "a deep thread": "import sys, threading\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(1 << 27)\n"
    "def f(n):\n    return 'ab' if n == 0 else f(n - 1)\nthreading.Thread(target=lambda: print(f(100000))).start()",
    "a subprocess": "import subprocess\nsubprocess.run(['echo', 'ab'])",
    "as a program": "if __name__ == '__main__':\n    print('ab')",
    "asyncio": "import asyncio\nasync def main():\n    print('ab')\nasyncio.run(main())",
    "exit()": "print('ab')\nexit()",
    "sys.exit(0)": "import sys\nprint('ab')\nsys.exit(0)",
    "os._exit(0)": "import os\nprint('ab', flush=True)\nos._exit(0)",
    "as deep as Python goes": "def f(n):\n    return 'ab' if n == 0 else f(n - 1)\nprint(f(980))",
}


@pytest.mark.parametrize("source", WRITERS.values(), ids=WRITERS)
async def test_a_program_prints_in_any_way(bench: Bench, source: str) -> None:
    ran = await _ran(bench, source)
    assert (ran.ended, ran.output.strip(), ran.errors) == ("well", "ab", "")


INTO_THE_WALL = """
import sys
sys.setrecursionlimit(10 ** 9)
class A:
    def __eq__(self, other):
        return [self] == [other]
A() == A()
"""
DEAF = """
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""
FAILING = {
    "an exception": ("1 / 0", "error", "ZeroDivisionError: division by zero"),
    "no program": ("here it is:", "error", "SyntaxError"),
    "NUL": ("print(1)\0", "error", ""),
    "no input left": ("input()", "error", "EOFError"),
    "an exit status": ("import sys\nprint(1)\nsys.exit(3)", "error", ""),
    "an exit message": ("exit('nothing found')", "error", "nothing found"),
    "endless recursion": ("def f():\n    f()\nf()", "error", "RecursionError"),
    "recursion into the wall": (INTO_THE_WALL, "crash", ""),
    "5 GB": ("x = bytearray(5 << 30)", "error", "MemoryError"),
    "an infinite loop": ("while True:\n    pass", "time", ""),
    "sleep": ("import time\ntime.sleep(100)", "time", ""),
    "stopped": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "time", ""),
    "too much output": ("while True:\n    print('x' * 100000)", "output", ""),
    "nothing of IPython's": ("get_ipython()", "error", "NameError"),
    "a deaf loop": (DEAF, "time", ""),
    "os._exit(0) at once": ("import os\nprint('lost')\nos._exit(0)", "well", ""),
}


@pytest.mark.parametrize(("source", "ended", "why"), FAILING.values(), ids=FAILING)
async def test_what_goes_wrong_is_told(bench: Bench, source: str, ended: str, why: str) -> None:
    first, failing, last = [
        *await bench.run(Program("print(input())"), [on_stdin("7")]),
        *await bench.run(Program(source), [on_stdin("")]),
        *await bench.run(Program("print(input())"), [on_stdin("7")]),
    ]
    assert failing.ended == ended
    assert why in failing.why
    assert "7" not in failing.output
    assert first.output == last.output == "7\n"


HOSTILE = {
    "fork bomb": "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
    "kills its kernel": "import os\nos.kill(os.getppid(), 9)",
    "stops its kernel": "import os\nos.kill(os.getppid(), 19)",
    "leaves a daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(100)",
    "writes everywhere": "import os\nfor n in range(256):\n    try:\n"
    "        os.write(n, b'[0, \"\", true]\\ndone\\n')\n    except OSError:\n        pass",
    "writes to its kernel's descriptors": "import glob\nfor path in glob.glob('/proc/[0-9]*/fd/*'):\n    try:\n"
    "        open(path, 'wb', buffering=0).write(b'done\\n')\n    except OSError:\n        pass",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_test_costs_no_other(kernels: KernelHost, source: str) -> None:
    if kernels.isolation in ("none", "landlock") and "fork" in source:
        pytest.skip("nothing bounds processes at this level")
    if kernels.isolation == "none" and "/proc" in source:
        pytest.skip("at this level it would reach this very test")
    program = Program(f"n = int(input())\nif n == 0:\n{_indented(source)}\nprint(n + 1)")
    async with Bench(kernels, BRISK) as bench:
        ran = await bench.run(program, [on_stdin(str(n)) for n in (1, 2, 0, 3, 4)])
    assert [one.output for at, one in enumerate(ran) if at != 2] == ["2\n", "3\n", "4\n", "5\n"]


def _indented(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


async def test_nothing_that_a_program_has_started_outlives_its_bench(kernels: KernelHost) -> None:
    mark = secrets.token_hex(8)
    command = ["python3", "-c", f"import time; time.sleep(99) # {mark}"]
    source = f"import subprocess\nsubprocess.Popen({command}, start_new_session=True)"
    async with Bench(kernels, BRISK) as bench:
        await bench.run(Program(source), [on_stdin("")])
    for _ in range(100):
        left = [one for one in psutil.process_iter(["cmdline"]) if mark in " ".join(one.info["cmdline"] or ())]
        if not left:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"still there: {left}")


async def test_tests_do_not_see_each_other(bench: Bench) -> None:
    source = "import sys, math\nprint(getattr(math, 'seen', 0))\nmath.seen = 1\nsys.setrecursionlimit(5000)"
    ran = await bench.run(Program(source), [on_stdin("")] * 3)
    assert [one.output for one in ran] == ["0\n"] * 3


async def test_when_the_time_for_all_is_over_the_rest_is_untested(kernels: KernelHost) -> None:
    async with Bench(kernels, Allowance(seconds=1, wall=2, total=2.5)) as bench:
        ran = await bench.run(Program("while True: pass"), [on_stdin("")] * 20)
    assert len(ran) == 20
    assert ran[0].ended == "time"
    assert ran[-1].ended == "untested"


async def test_large_inputs_and_outputs_arrive_whole(kernels: KernelHost) -> None:
    text = "".join(f"{n * 7919 % 1000003} " for n in range(200_000))
    async with Bench(kernels) as bench:
        ran = await bench.run(Program("print(input())"), [on_stdin(text)] * 3)
    assert [one.output.strip() == text.strip() for one in ran] == [True] * 3


async def test_a_function_is_called_and_only_what_it_returns_counts(bench: Bench) -> None:
    source = "print('noise')\ndef f(*given, **named):\n    print('more noise')\n    return given, named, {1: {2}}"
    (ran,) = await bench.run(Program(source), [calling("f", [[1, 2.5], None], {"s": "ü"})])
    value = {"tuple": [{"tuple": [[1, 2.5], None]}, {"dict": [["s", "ü"]]}, {"dict": [[1, {"set": [2]}]]}]}
    assert ran.told() == {"value": value}


async def test_a_method_of_solution_is_called_as_leetcode_does(bench: Bench) -> None:
    source = "class Solution:\n    def f(self, xs: List[int]) -> int:\n        return max(xs)"
    (ran,) = await bench.run(Program(source, ("from typing import *",)), [calling("f", [[3, 4]])])
    assert ran.told() == {"value": 4}


RESULTS: dict[str, tuple[str, Json]] = {
    "a numpy number": ("import numpy\nreturn numpy.int64(3)", {"value": 3}),
    "an array": ("import numpy\nreturn numpy.ones(2)", {"value": [1.0, 1.0]}),
    "a generator": ("return (n for n in range(2))", {"value": {"iterator": [0, 1]}}),
    "text that pretends": ("class S(str):\n    __eq__ = lambda *_: True\nreturn S('x')", {"value": "x"}),
    "a number that pretends": ("class N(int):\n    __eq__ = lambda *_: True\nreturn N(3)", {"value": 3}),
    "an object": ("class P:\n    pass\np = P()\np.x = 1\nreturn p", {"value": {"object": ["P", {"x": 1}]}}),
    "an exception": ("raise ValueError('no')", {"raised": "ValueError"}),
    "a function": ("return f", None),
    "itself": ("x = []\nx.append(x)\nreturn x", None),
    "an endless iterator": ("import itertools\nreturn itertools.count()", None),
    "nothing at all": ("import os\nos._exit(0)", None),
    "words in its place": ("import os\nos.write(3, b'passed')\nos._exit(0)", None),
    "a verdict in its place": ("import os\nos.write(3, b'[true]')\nos._exit(0)", None),
}


@pytest.mark.parametrize(("body", "told"), RESULTS.values(), ids=RESULTS)
async def test_results_are_plain_values_or_none(bench: Bench, body: str, told: Json) -> None:
    (ran,) = await bench.run(Program(f"def f():\n{_indented(body)}"), [calling("f", [])])
    assert ran.told() == told


TAKEN_OVER = {
    "says that all is done": "print('done')",
    "says nothing": "pass",
    "says nonsense": "print('nonsense')",
    "says the end first": "print('[4, \"\", true]')",
    "reports what is none": "import base64, json, zlib\n"
    "print(json.dumps([0, base64.b64encode(zlib.compress(b'{}')).decode(), True]))",
    "reports what swells": "import base64, json, zlib\n"
    "print(json.dumps([0, base64.b64encode(zlib.compress(bytes(10 ** 8))).decode(), True]))",
    "raises": "raise SystemExit",
    "never ends": "while True:\n    pass",
}


@pytest.mark.parametrize("body", TAKEN_OVER.values(), ids=TAKEN_OVER)
async def test_a_bench_that_has_been_taken_over_fails_its_tests_and_no_more(
    kernels: KernelHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str
) -> None:
    taken = tmp_path / "bench.py"
    taken.write_text(f"def go(work='', *, characters, seconds):\n{_indented(body)}")
    monkeypatch.setattr(programs, "BENCH", taken)
    monkeypatch.setattr(programs, "SPARE", 0.0)
    async with Bench(kernels, Allowance(seconds=1, wall=1, total=20)) as bench:
        ran = await bench.run(Program("print(1)"), [on_stdin("")] * 2)
    assert [one.ended for one in ran] == ["crash", "crash"]


async def test_the_kernel_is_given_inputs_and_nothing_else(kernels: KernelHost) -> None:
    """Everything that the candidate's process can find of its work, in memory that it shares with the bench."""
    source = (
        "import gc\nfound = [o for o in gc.get_objects() if isinstance(o, dict) and 'tests' in o]\n"
        "print(sorted({k for o in found for t in o['tests'] for k in t}))"
    )
    async with Bench(kernels, BRISK) as bench:
        ran = await bench.run(Program(source), [on_stdin("1"), on_stdin("2")])
    for one in ran:
        assert json.loads(one.output.replace("'", '"') or "[]") in ([], ["stdin"])
