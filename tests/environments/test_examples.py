"""The one-shot examples are true: their cells are run and print what the example says."""

import contextlib
import io
import re
import sqlite3

import pytest

from environments.apps import Apps
from environments.environment import Environment, Row
from environments.gsm8k import Gsm8k
from environments.humaneval import HumanEval
from environments.math import Math
from environments.mbpp import Mbpp
from environments.protocol.render import observe, wrong_text
from environments.tables import Tables
from environments.types import Rules

TABLE = {
    "header": ["Site", "Visitors\n(2019)"],
    "rows": [
        ["Old Lighthouse", "12,408"],
        ["Rope Works", "3,077"],
        ["Salt Store", "10,990"],
    ],
}
QUESTION = "how many more visitors came to the most visited site than to the least visited one?"
ANSWERS = {"math": "12", "gsm8k": "248"}
RIDES = {"inputs": ["2\n3 -1 4\n-2 -3\n", "1\n5\n"], "outputs": ["6\n0\n", "5\n"]}
CALM = "def check(candidate):\n    assert candidate([3, 1, 9, 2, 2, 2], 4) == 3\n    assert candidate([], 4) == 0\n"
INITIALS = ['assert initials("Ada Holt") == "AH"', 'assert initials("Ada Maria-Luise Holt") == "AMLH"']


def _row(environment: Environment) -> Row:
    if isinstance(environment, Tables):
        return Row({"id": "sites", "question": QUESTION, "answers": ["9331"], "table": TABLE}, "example")
    problem = environment.example.split("\n\nAssistant:\n")[0].removeprefix("Task:\n")
    if isinstance(environment, Apps):
        question = problem.rpartition("\n\n")[0]
        return Row({"id": "example", "question": question, "input_output": RIDES}, "example")
    if isinstance(environment, HumanEval):
        code = problem.partition("\n\n")[2]
        return Row({"task_id": "1", "prompt": code, "entry_point": "longest_calm", "test": CALM}, "example")
    if isinstance(environment, Mbpp):
        return Row({"task_id": 1, "text": problem.partition("\n")[0], "test_list": INITIALS}, "example")
    name = "question" if environment.name == "gsm8k" else "problem"
    return Row({"id": "example", name: problem, "answer": ANSWERS[environment.name]}, "example")


def _run(code: str, namespace: dict[str, object]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(code, namespace)
        except (AttributeError, TypeError, sqlite3.OperationalError) as error:
            return f"{type(error).__name__}: {error}"
    return printed.getvalue().rstrip("\n")


EXAMPLES = [Math(), Gsm8k(), Tables("sql"), Tables("pandas"), Apps(), HumanEval(), Mbpp()]


@pytest.mark.parametrize("environment", EXAMPLES, ids=lambda one: one.name)
async def test_an_example_is_true_and_shows_one_error_corrected(environment: Environment) -> None:
    task = environment.task(_row(environment))
    opening, *turns = environment.example.split("\n\nAssistant:\n")
    assert opening == f"Task:\n{task.prompt}"
    namespace: dict[str, object] = {}
    exec(environment.setup(task), namespace)
    solutions = errors = 0
    for number, turn in enumerate(turns, start=1):
        reply, _, shown = turn.partition("\n\nObservation:\n")
        assert not reply.startswith("<")  # a thought, in plain words
        code = re.search(r"<execute>\n(.*)\n</execute>$", reply, re.DOTALL)
        solution = re.search(r"<solution>(.*)</solution>$", reply, re.DOTALL)
        if solution:
            solutions += 1
            correct = (await environment.grade(task, solution[1])).correct
            assert correct == (number == len(turns))
            body = wrong_text()
            errors += not correct
        else:
            assert code is not None
            body = _run(code[1], namespace)
            if "Traceback (most recent call last)" in shown:
                errors += 1
                failing, line = re.search(r"^----> (\d+) (.*)$", shown, re.MULTILINE).groups()  # type: ignore[union-attr]
                assert code[1].splitlines()[int(failing) - 1] == line
                assert f"\n\n{body}\n" in shown
                body = shown.rsplit("\nYou have ", 1)[0]
        if number < len(turns):
            assert f"Observation:\n{shown}" == observe(body, Rules(), number, solutions)
    assert errors == 1
    assert len(environment.example.splitlines()) <= 42
    await environment.__aexit__(None, None, None)


@pytest.mark.parametrize("environment", [Tables("sql"), Tables("pandas")], ids=lambda one: one.name)
def test_the_tools_name_all_that_the_session_holds(environment: Tables) -> None:
    namespace: dict[str, object] = {}
    exec(environment.setup(environment.task(_row(environment))), namespace)
    held = set(namespace) - {"__builtins__"}
    assert len(held) == 1
    assert f"`{held.pop()}`" in environment.tools
