"""Rows of MATH, GSM8K and MINT's results as tasks."""

from pathlib import Path

import pytest

from environments.environment import BadRow, Environment, Row, make_environment
from environments.faults import UsageError
from environments.graders.mathematics import MathGrader
from environments.gsm8k import Gsm8k
from environments.math import Math
from environments.sources import load_tasks


def _row(**data: object) -> Row:
    return Row(data, "rows.jsonl:1")  # type: ignore[arg-type]


def test_the_reference_is_the_last_box() -> None:
    row = _row(problem="?", solution=r"\boxed{1}, no: $\boxed{\frac{1}{2}}$.", level="Level 3", type="Algebra", idx=7)
    task = Math().task(row)
    assert (task.id, task.reference) == ("math/7", r"\frac{1}{2}")
    assert task.metadata == {"level": 3, "subject": "Algebra"}
    assert task.inputs == {}


def test_an_answer_field_comes_before_the_box() -> None:
    task = Math().task(_row(problem="?", answer="3", solution=r"\boxed{4}", unique_id="test/algebra/1.json"))
    assert (task.id, task.reference) == ("math/test/algebra/1.json", "3")


def test_a_row_without_an_id_has_the_same_one_wherever_it_is_loaded_from() -> None:
    first, second = Math().task(_row(problem="1+1?", answer="2")), Math().task(_row(problem="1+2?", answer="3"))
    assert first == Math().task(Row({"answer": "2", "problem": "1+1?"}, "elsewhere:9"))
    assert first.id != second.id


@pytest.mark.parametrize(
    ("environment", "data", "said"),
    [
        (Math(), {"answer": "1"}, "no 'problem'"),
        (Math(), {"problem": "?"}, "no 'solution' or 'answer'"),
        (Math(), {"problem": "?", "solution": r"\boxed{1"}, "no whole"),
        (Math(), {"problem": "?", "answer": ["1"]}, "no 'answer'"),
        (Gsm8k(), {"question": "?"}, "no 'answer'"),
        (Gsm8k(), {"question": "?", "answer": "1\n2"}, "does not end in"),
        (Math(), {"state": {}, "task": {"task_id": 1, "prompt": "?"}}, "no 'reference'"),
    ],
)
def test_a_row_that_is_no_task_says_why(environment: Environment, data: dict[str, object], said: str) -> None:
    with pytest.raises(BadRow, match=said):
        environment.task(_row(**data))


def test_a_word_problem_ends_in_its_mark() -> None:
    task = Gsm8k().task(_row(question="How many?", answer="48/2 = <<48/2=24>>24\n#### 72 "))
    assert (task.environment, task.reference) == ("gsm8k", "72")


def test_text_that_no_store_takes_is_written_out() -> None:
    assert Math().task(_row(problem="a\ud800\x00b", answer="1")).prompt == r"a\ud800\x00b"


@pytest.mark.parametrize("name", ["math", "gsm8k"])
def test_an_environment_is_found_by_its_name_and_has_no_variants(name: str) -> None:
    assert make_environment(name).name == name
    with pytest.raises(UsageError, match="no variants"):
        make_environment(f"{name}:hard")


@pytest.mark.parametrize("environment", [Math(), Gsm8k()], ids=lambda one: one.name)
def test_the_bundled_tasks_load(environment: Environment) -> None:
    loaded = load_tasks(environment, environment.demo)
    assert len(loaded.tasks) >= 5
    assert loaded.problems == ()


@pytest.mark.data
def test_every_problem_of_math_is_a_task(data: Path) -> None:
    loaded = load_tasks(Math(), data / "math" / "math_test.jsonl")
    assert (len(loaded.tasks), loaded.problems) == (353, ())
    assert {task.metadata["level"] for task in loaded.tasks} == {1, 2, 3, 4, 5}
    assert len({task.metadata["subject"] for task in loaded.tasks}) == 7


@pytest.mark.data
@pytest.mark.parametrize(("environment", "count"), [(Math(), 100), (Gsm8k(), 48)], ids=["math", "gsm8k"])
async def test_recorded_results_are_a_source_and_their_references_are_right(
    environment: Environment, count: int, data: Path
) -> None:
    source = data / "mint_results" / "gpt-4-0613" / "reasoning" / environment.name / "results.jsonl.gz"
    loaded = load_tasks(environment, source)
    assert (len(loaded.tasks), loaded.problems) == (count, ())
    assert loaded.tasks[0].id == f"{environment.name}/mint-0"
    async with MathGrader() as grader:
        for task in loaded.tasks:
            assert (await grader.grade(str(task.reference), str(float(str(task.reference))))).correct
