"""Functions to complete (HumanEval, Chen et al. 2021): a signature with its docstring, and asserts over it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from environments.environment import BadRow, Row
from environments.graders.examiner import Examination, Verdict, examined, parsed, single_tests
from environments.graders.programs import Program
from environments.kernels import KernelHost
from environments.programs import Programs
from environments.sources import text_of
from environments.types import Json, Task, clean

TASK = "Complete the following code:\n\n"


class HumanEval(Programs):
    name = "humaneval"
    summary = "a function to complete, from its signature and docstring (HumanEval)"
    data = "hf:openai/openai_humaneval, or files in its form; MINT's results"
    demo = str(Path(__file__).parent / "demo" / "humaneval.jsonl")

    def task(self, row: Row) -> Task:
        recorded = recorded_row(row)
        prompt = text_of(recorded or row, "prompt").removeprefix(TASK)
        if recorded is None:
            name, source = text_of(row, "entry_point"), text_of(row, "test")
        else:
            source = text_of(recorded, "reference")
            name = _checked(source)
        if f"def {name}" not in prompt:
            raise BadRow(f"'prompt' does not define '{name}'")
        tests = tests_of(source if recorded else f"{source}\n\ncheck({name})", given=prompt)
        number = text_of(recorded or row, "task_id").rpartition("/")[2]
        reference: dict[str, Json] = {"name": name, "prompt": clean(prompt), "tests": [clean(test) for test in tests]}
        metadata: dict[str, Json] = {"source": "mint"} if recorded else {}
        identity = f"humaneval/{'mint-' if recorded else ''}{number}"
        return Task(clean(identity), self.name, clean(TASK + prompt.strip("\n")), reference, metadata=metadata)

    async def verdicts(self, task: Task, program: str, kernels: KernelHost) -> Sequence[Verdict]:
        reference = cast(Mapping[str, Json], task.reference)
        prompt, tests = str(reference["prompt"]), cast(Sequence[str], reference["tests"])
        name = str(reference["name"])
        return await examined(kernels, completed(prompt, name, program), Examination(tuple(tests), (name,), (prompt,)))


def completed(prompt: str, name: str, solution: str) -> Program:
    """The prompt with its completion: a function of its own, or lines that go on where the docstring ends."""
    if re.search(rf"^\s*(?:async\s+)?(?:def\s+{name}\b|{name}\s*=)", solution, re.MULTILINE):
        return Program(textwrap.dedent(solution), (prompt,))
    # Of a first line that stood between tags its indentation is gone.
    indentation = re.match(r"\s*", prompt.rstrip().rpartition("\n")[2])
    return Program(f"{prompt.rstrip()}\n{indentation[0] if indentation else ''}{solution.strip()}\n")


def _checked(source: str) -> str:
    found = re.findall(r"^check\((\w+)\)", source, re.MULTILINE)
    if not found:
        raise BadRow("'reference' does not end in a call of 'check'")
    return str(found[-1])


def recorded_row(row: Row) -> Row | None:
    """The task of a record of MINT's results (`state` and `task`); None for other rows."""
    task = row.data.get("task")
    if not isinstance(task, Mapping) or "state" not in row.data:
        return None
    return Row(task, row.where, row.folder)


def tests_of(source: str, given: str) -> list[str]:
    """The asserts of a test's source, each with what it needs. Raises `BadRow`."""
    try:
        parsed(given)
        tests = single_tests(source)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BadRow(f"its code cannot be read as Python: {error}") from error
    if not tests:
        raise BadRow("its tests assert nothing")
    return tests
