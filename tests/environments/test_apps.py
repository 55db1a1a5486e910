"""Programming problems: their rows as tasks, and programs judged by tests that never leave the host."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from environments.apps import Apps
from environments.environment import BadRow, Episode, Row
from environments.kernels import KernelHost
from environments.sources import read_rows
from environments.types import Grade, Task

LEETCODE = {
    "task_id": "add",
    "problem_description": "Add.",
    "entry_point": "Solution().add",
    "test": "def check(candidate):\n    assert candidate(a = 1, b = 2) == 3\n    assert candidate(a = 0, b = 0) == 0\n",
    "prompt": "from typing import *\nfrom nowhere import nothing\n",
    "starter_code": "class Solution:\n    def add(self, a: int, b: int) -> int:\n        ",
}


def _row(**data: Any) -> Row:
    return Row({"problem_id": 1, "question": "Add.", **data}, "rows.jsonl:1")


def _io(inputs: Any, outputs: Any, **more: Any) -> str:
    return json.dumps({"inputs": inputs, "outputs": outputs, **more})


def test_every_expected_value_and_every_test_stays_in_the_reference() -> None:
    row = _row(
        input_output=_io(["1 2\n"], ["3\n"]), difficulty="Interview", url="https://example.org/1", starter_code=""
    )
    task = Apps().task(row)
    assert (task.id, task.inputs) == ("apps/1", {})
    assert task.reference == {"form": "stdin", "inputs": ["1 2\n"], "outputs": ["3\n"]}
    assert task.metadata == {"form": "stdin", "difficulty": "interview", "url": "https://example.org/1"}
    assert task.prompt == (
        "Add.\n\nThe solution is a program that reads from standard input and prints to standard output."
    )
    assert Apps().setup(task) == ""


def test_an_object_does_as_well_as_its_text_and_lines_as_well_as_a_text() -> None:
    task = Apps().task(_row(input_output={"inputs": [["1", "2"]], "outputs": [["3"]]}))
    assert task.reference == {"form": "stdin", "inputs": ["1\n2"], "outputs": ["3"]}


def test_a_function_is_named_with_what_it_begins_with() -> None:
    task = Apps().task(_row(input_output=_io([[1, 2]], [3], fn_name="add"), starter_code="def add(a, b):\n\t"))
    assert task.prompt.endswith(
        "Begin with this:\n\ndef add(a, b):\n\nThe solution is code that defines `add`, which is called."
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"question": None}, "no 'question'"),
        ({}, "no 'input_output'"),
        ({"input_output": ""}, "no 'input_output'"),
        ({"input_output": "{"}, "cannot be read as JSON"),
        ({"input_output": "[1]"}, "is a list"),
        ({"input_output": "{}"}, "no 'input_output'"),
        ({"input_output": '{"inputs": []}'}, "no list 'outputs'"),
        ({"input_output": _io([], [])}, "holds no test"),
        ({"input_output": _io(["1"], [])}, "1 inputs and 0 outputs"),
        ({"input_output": _io([{"a": 1}], ["1"])}, "is no text"),
        ({"input_output": _io([1], [1], fn_name="f")}, "are no list"),
        ({"input_output": _io([[1]], [1], fn_name="f()")}, "no name of a function"),
        ({"input_output": _io(["[1"], [1], fn_name="f")}, "nor JSON by the line"),
        ({"problem_id": None, "input_output": _io(["1"], ["1"])}, "no 'problem_id'"),
        ({**LEETCODE, "test": "def check(candidate):"}, "cannot be read as Python"),
        ({**LEETCODE, "test": "def check(candidate):\n    pass"}, "asserts nothing"),
        ({**LEETCODE, "entry_point": "Solution()"}, "name of a function"),
    ],
)
def test_a_row_that_is_no_task_says_why(data: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRow, match=said):
        Apps().task(_row(**data))


# -- grading -------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernels() -> AsyncIterator[KernelHost]:
    async with KernelHost(None) as host:
        yield host


async def _graded(kernels: KernelHost, task: Task, solution: str) -> Grade:
    async with Apps().episode(task, kernels) as episode:
        assert isinstance(episode, Episode)
        return await episode.grade(solution)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_vector_says_which_tests_failed(kernels: KernelHost) -> None:
    task = Apps().task(_row(input_output=_io(["1\n", "2\n", "3\n"], ["1\n", "4\n", "9\n"])))
    grade = await _graded(
        kernels, task, "Squares:\n```python\nn = int(input())\nprint(n * n if n != 2 else n / 0)\n```\nDone."
    )
    assert grade == Grade(
        False, 2 / 3, (True, False, True),
        "1 of 3 tests failed: test 2 ended with an error: ZeroDivisionError: division by zero",
    )  # fmt: skip
    assert (await _graded(kernels, task, "print(int(input()) ** 2)")).correct


CALLS = {
    "as given, quotes and all": ([['"ab"']], [4], "def f(s): return len(s)", True),
    "quoted twice": ([['"ab"']], [2], "def f(s): return len(s)", True),
    "a result in a list": ([[1], [2]], [[True], [False]], "def f(n): return n == 1", True),
    "a result that is a list": ([[1], [2]], [[1], [2]], "def f(n): return [n]", True),
    "only the first of a list": ([[1]], [[1, 2]], "def f(n): return n", False),
    "a tuple": ([[1]], [[1, [2]]], "def f(n): return 1, (2,)", True),
    "numbers as keys": ([[{"1": 5}]], [5], "def f(d): return d[1]", True),
    "texts as keys": ([[{"1": 5}]], [5], "def f(d): return d['1']", True),
    "printed, not returned": ([[1]], [1], "def f(n): print(n)", False),
    "a method": (
        [[1, 2]],
        [3],
        "class Solution:\n    def f(self, a: int, b: int) -> Optional[int]: return a + b",
        True,
    ),
    "JSON by the line": (["[1, 2]\n3"], [6], "def f(xs, n): return sum(xs) + n", True),
    "almost": ([[1]], [0.333333], "def f(n): return n / 3", True),
    "not almost": ([[1]], [333333], "def f(n): return 333333.1", False),
    "another name": ([[1]], [1], "def g(n): return n", False),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("inputs", "outputs", "solution", "right"), CALLS.values(), ids=CALLS)
async def test_what_a_call_returns_is_compared(
    kernels: KernelHost, inputs: Any, outputs: Any, solution: str, right: bool
) -> None:
    task = Apps().task(_row(input_output=_io(inputs, outputs, fn_name="f")))
    assert (await _graded(kernels, task, solution)).correct == right


@pytest.mark.asyncio(loop_scope="module")
async def test_asserts_of_literals_are_calls_and_others_are_examined(kernels: KernelHost) -> None:
    right, wrong = (f"class Solution:\n    def add(self, a: int, b: int): return {one}" for one in ("a + b", "3"))
    plain = Apps().task(_row(**LEETCODE))
    other = Apps().task(_row(**{**LEETCODE, "test": f"{LEETCODE['test']}    assert candidate(1, 1) is not None\n"}))
    assert (plain.metadata["form"], other.metadata["form"]) == ("call", "asserts")
    assert plain.id == "apps/1"
    for task in (plain, other):
        assert (await _graded(kernels, task, right)).correct
        assert (await _graded(kernels, task, wrong)).tests in ((True, False), (True, False, True))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_bundled_tasks_have_a_solution(kernels: KernelHost) -> None:
    rows = list(read_rows(Apps.demo or ""))
    assert len(rows) >= 6
    for row in rows:
        (solution,) = json.loads(str(row.data["solutions"]))
        grade = await _graded(kernels, Apps().task(row), solution)
        assert grade.correct, grade.note
        assert not (await _graded(kernels, Apps().task(row), "print(0)")).correct


async def test_outside_of_an_episode_it_opens_kernels_of_its_own() -> None:
    task = Apps().task(_row(input_output=_io(["1\n"], ["1\n"])))
    assert (await Apps().grade(task, "print(input())")).correct


# -- the recorded data ---------------------------------------------------------------------------

SEVERAL_ANSWERS = {"apps/2398"}
"""Any of several right answers may be printed, and the published solutions print others than the one expected."""


@pytest.mark.data
@pytest.mark.asyncio(loop_scope="module")
async def test_of_every_apps_problem_a_published_solution_passes(kernels: KernelHost, data: Path) -> None:
    rows = list(read_rows(data / "apps" / "apps_train_mini.jsonl"))
    assert len(rows) == 107
    unsolved = set()
    for row in rows:
        task = Apps().task(row)
        for solution in json.loads(str(row.data["solutions"])):
            if (await _graded(kernels, task, solution)).correct:
                break
        else:
            unsolved.add(task.id)
    assert unsolved == SEVERAL_ANSWERS


@pytest.mark.data
@pytest.mark.asyncio(loop_scope="module")
async def test_leetcode_solutions_pass_with_every_test(kernels: KernelHost, data: Path) -> None:
    """Some of them; `benchmarks/programs.py` goes through all."""
    rows = list(read_rows(data / "apps" / "leetcode_callbased.jsonl"))
    tasks = [Apps().task(row) for row in rows]
    assert len({task.id for task in tasks}) == 80
    for row, task in list(zip(rows, tasks, strict=True))[1::16]:
        grade = await _graded(kernels, task, str(row.data["completion"]))
        assert grade.correct, f"{task.id}: {grade.note}"
