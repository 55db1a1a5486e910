"""HumanEval and MBPP: functions judged by asserts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from environments.environment import BadRow, Row
from environments.humaneval import HumanEval, completed
from environments.kernels import KernelHost
from environments.mbpp import Mbpp
from environments.programs import Programs, program_text
from environments.protocol.parse import mint
from environments.sources import read_rows
from environments.types import Grade, Task

PROMPT = 'from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    """ The sum. """\n'
CHECK = "def check(candidate):\n    assert candidate([1, 2]) == 3\n    assert candidate([]) == 0\n    assert True\n"
HUMANEVAL = {"task_id": "HumanEval/7", "prompt": PROMPT, "entry_point": "total", "test": CHECK}
MBPP = {
    "task_id": 11,
    "text": "Write a function to add.",
    "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
}


def _row(data: dict[str, Any], **changed: Any) -> Row:
    return Row({**data, **changed}, "rows.jsonl:1")


def _recorded(prompt: str, reference: str) -> Row:
    return Row({"state": {}, "task": {"task_id": 3, "prompt": prompt, "reference": reference}}, "results.jsonl:1")


def test_rows_of_the_hub_and_of_recorded_results_make_the_same_task() -> None:
    hub = HumanEval().task(_row(HUMANEVAL))
    recorded = HumanEval().task(_recorded(f"Complete the following code:\n\n{PROMPT}", f"{CHECK}\n\ncheck(total)"))
    assert (hub.id, recorded.id) == ("humaneval/7", "humaneval/mint-3")
    assert hub.prompt == recorded.prompt == f"Complete the following code:\n\n{PROMPT.strip()}"
    assert isinstance(hub.reference, dict)
    assert isinstance(recorded.reference, dict)
    assert [len(task.reference["tests"]) for task in (hub, recorded)] == [2, 2]


def test_mbpp_shows_the_first_assert_only() -> None:
    hub = Mbpp().task(_row(MBPP))
    shown = "Write a function to add.\nassert add(1, 2) == 3"
    recorded = Mbpp().task(_recorded(shown, "\n".join(MBPP["test_list"])))  # type: ignore[arg-type]
    assert (hub.id, recorded.id) == ("mbpp/11", "mbpp/mint-3")
    assert hub.prompt == recorded.prompt == shown
    assert hub.reference == recorded.reference


def test_the_sanitized_form_names_its_sentence_prompt() -> None:
    row = {"prompt": MBPP["text"], **{name: MBPP[name] for name in ("task_id", "test_list")}}
    assert Mbpp().task(_row(row)) == Mbpp().task(_row(MBPP))


@pytest.mark.parametrize(
    ("environment", "row", "said"),
    [
        (HumanEval(), _row(HUMANEVAL, prompt=None), "no 'prompt'"),
        (HumanEval(), _row(HUMANEVAL, test=None), "no 'test'"),
        (HumanEval(), _row(HUMANEVAL, entry_point="other"), "does not define 'other'"),
        (HumanEval(), _row(HUMANEVAL, test="def check(candidate):\n    assert candidate("), "cannot be read as Python"),
        (HumanEval(), _row(HUMANEVAL, test="def check(candidate):\n    pass"), "assert nothing"),
        (HumanEval(), _row(HUMANEVAL, prompt="def total("), "cannot be read as Python"),
        (HumanEval(), _row(HUMANEVAL, task_id=None), "no 'task_id'"),
        (HumanEval(), _recorded(PROMPT, CHECK), "does not end in a call of 'check'"),
        (Mbpp(), _row(MBPP, text=None), "no 'text' or 'prompt'"),
        (Mbpp(), _row(MBPP, test_list=[]), "no 'test_list'"),
        (Mbpp(), _row(MBPP, test_list="assert add(1) == 1"), "no list of texts"),
        (Mbpp(), _row(MBPP, test_list=["add(1"]), "cannot be read as Python"),
        (Mbpp(), _row(MBPP, test_list=["assert 1 == 1"]), "call no function"),
    ],
)
def test_a_row_that_is_no_task_says_why(environment: Programs, row: Row, said: str) -> None:
    with pytest.raises(BadRow, match=said):
        environment.task(row)


def test_a_fenced_block_is_the_program() -> None:
    assert program_text("Here:\n```python\nx = 1\n```\nor\n```\ny\n```") == "x = 1\n"
    assert program_text("\n    return 1\n") == "    return 1"
    assert program_text("print('```')") == "print('```')"


def test_a_body_goes_on_where_the_prompt_ends() -> None:
    program = completed(PROMPT, "total", "result = 0\n    for x in xs:\n        result += x\n    return result")
    assert program.preamble == ()
    assert program.source.endswith(
        '""" The sum. """\n    result = 0\n    for x in xs:\n        result += x\n    return result\n'
    )
    whole = completed(PROMPT, "total", "def total(xs):\n    return sum(xs)")
    assert whole.preamble == (PROMPT,)


def test_a_function_may_have_the_name_of_a_built_in() -> None:
    task = Mbpp().task(_row(MBPP, test_list=["assert sum(10, 15) == 6"]))
    assert isinstance(task.reference, dict)
    assert task.reference["asked"] == ["sum"]


# -- grading -------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernels() -> AsyncIterator[KernelHost]:
    async with KernelHost(None) as host:
        yield host


async def _graded(kernels: KernelHost, environment: Programs, task: Task, solution: str) -> Grade:
    async with environment.episode(task, kernels) as episode:
        return await episode.grade(solution)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("solution", "tests"),
    [
        ("def total(xs: List[int]) -> int:\n    return sum(xs)", (True, True)),
        ("return sum(xs)", (True, True)),
        ("```python\ndef total(xs):\n    return 3\n```", (True, False)),
        ("total = sum", (True, True)),
        ("pass", (False, False)),
        ("def other(xs):\n    return sum(xs)", (False, False)),
        ("def total(xs):\n    return 1 / 0", (False, False)),
    ],
)
async def test_a_completion_is_a_function_or_its_body(
    kernels: KernelHost, solution: str, tests: tuple[bool, ...]
) -> None:
    environment = HumanEval()
    assert (await _graded(kernels, environment, environment.task(_row(HUMANEVAL)), solution)).tests == tests


@pytest.mark.asyncio(loop_scope="module")
async def test_a_built_in_does_not_stand_in_for_a_function_of_its_name(kernels: KernelHost) -> None:
    task = Mbpp().task(_row(MBPP, test_list=["assert sum(1, 2) == 3", "assert max([sum(1, 1), 1]) == 2"]))
    assert (await _graded(kernels, Mbpp(), task, "def sum(a, b): return a + b\ndef max(xs): return xs[0]")).correct
    assert not (await _graded(kernels, Mbpp(), task, "def max(xs): return 2")).correct


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("environment", "field"),
    [(HumanEval(), "canonical_solution"), (Mbpp(), "code")],
    ids=lambda one: getattr(one, "name", ""),
)
async def test_the_bundled_tasks_have_a_solution(kernels: KernelHost, environment: Programs, field: str) -> None:
    rows = list(read_rows(environment.demo or ""))
    assert len(rows) >= 4
    for row in rows:
        task = environment.task(row)
        grade = await _graded(kernels, environment, task, str(row.data[field]))
        assert grade.correct, f"{task.id}: {grade.note}"
        assert not (await _graded(kernels, environment, task, "nothing = None")).correct


# -- the recorded data ---------------------------------------------------------------------------


def _final(history: list[dict[str, str]]) -> str | None:
    actions = [mint(one["content"]) for one in history[1:] if one["role"] == "assistant"]
    proposed = [action.content for action in actions if action.kind == "solution"]
    return proposed[-1] if proposed else None


@pytest.mark.data
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("environment", "model", "judged_alike"),
    [(HumanEval(), "gpt-4-0613", (True,)), (Mbpp(), "gpt-4-0613", (True, False)), (Mbpp(), "claude-2", (True, False))],
    ids=lambda one: getattr(one, "name", ""),
)
async def test_recorded_solutions_are_judged_as_they_were(
    kernels: KernelHost, data: Path, environment: Programs, model: str, judged_alike: tuple[bool, ...]
) -> None:
    """Some of them; `benchmarks/programs.py` goes through all.

    Of HumanEval those that were accepted: theirs ran without the imports of the prompt, and rejected many for that.
    """
    path = data / "mint_results" / model / "code_generation" / environment.name / "results.jsonl.gz"
    for record in list(read_rows(path))[::8]:
        state: Any = record.data["state"]
        solution = _final(state["history"])
        if solution is None or state["success"] not in judged_alike:
            continue
        task = environment.task(record)
        grade = await _graded(kernels, environment, task, solution)
        assert grade.correct == state["success"], f"{task.id}: {grade.note}"
