"""Whether programs are judged rightly, and what a test costs: `python -m benchmarks.programs [--json] [--quick]`.

Over the recorded data (ERRATA_DATA): published solutions of APPS problems and of LeetCodeDataset's pass, changed
ones fail, hostile ones are verdicts; HumanEval and MBPP solutions that three models proposed are judged as they were
when they were recorded. Every exception is printed with its cause.
"""

from __future__ import annotations

import ast
import asyncio
import gzip
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from environments.apps import Apps
from environments.environment import Row
from environments.graders.examiner import Examination, examined
from environments.graders.outputs import same_print
from environments.graders.programs import Allowance, Bench, Program, on_stdin
from environments.humaneval import HumanEval
from environments.kernels import KernelHost
from environments.mbpp import Mbpp
from environments.programs import Programs, program_text
from environments.protocol.parse import mint
from environments.types import Json, Task

DATA = Path(os.environ.get("ERRATA_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
MODELS = ("gpt-4-0613", "claude-2", "gpt-3.5-turbo-0613")
AT_ONCE = 2
TRIED = 30
"""Published solutions of a problem, until one passes."""
MUTANTS = 3
BRISK = Allowance(seconds=1, wall=3, total=12)
PATIENT = Allowance(seconds=60, wall=120, total=400, memory=3 << 30)

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(slots=True)
class Table:
    """Counts, in the order in which they are printed, and a line for each exception."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    tests: int = 0
    seconds: float = 0.0

    def add(self, name: str, holds: bool) -> None:
        good, of = self.counts.get(name, (0, 0))
        self.counts[name] = good + holds, of + 1


async def main() -> None:
    share = 16 if "--quick" in sys.argv else 1
    told: dict[str, dict[str, Any]] = {}
    async with KernelHost(None) as kernels:
        async for name, table in tables(kernels, share):
            told |= _metrics(name, table)
            if "--json" not in sys.argv:
                _print(name, table)
    if "--json" in sys.argv:
        print(json.dumps(told))


async def tables(kernels: KernelHost, share: int) -> AsyncIterator[tuple[str, Table]]:
    yield "hostile programs", await hostile(kernels)
    for environment in (HumanEval(), Mbpp()):
        for model in MODELS:
            yield f"{environment.name}, {model}", await recorded(kernels, environment, model, share)
    yield "APPS", await published(kernels, _apps()[::share])
    yield "LeetCodeDataset", await published(kernels, _leetcode()[:: share * 2 if share > 1 else 1])


async def all_of(work: Callable[[Item], Awaitable[Found]], items: Iterable[Item]) -> list[Found]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(item: Item) -> Found:
        async with places:
            return await work(item)

    return await asyncio.gather(*map(one, items))


# -- published solutions -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    task: Task
    solutions: tuple[str, ...]


def _apps() -> list[Problem]:
    return [
        Problem(Apps().task(row), tuple(json.loads(str(row.data["solutions"]))))
        for row in _rows(DATA / "apps" / "apps_train_mini.jsonl")
    ]


def _leetcode() -> list[Problem]:
    return [
        Problem(Apps().task(row), (str(row.data["completion"]),))
        for row in _rows(DATA / "apps" / "leetcode_callbased.jsonl")
    ]


def _rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        yield Row(json.loads(line), f"{path.name}:{number}")


async def published(kernels: KernelHost, problems: Sequence[Problem]) -> Table:
    table = Table()
    began = time.perf_counter()
    passing = await all_of(lambda problem: _first_passing(kernels, problem, table), problems)
    table.seconds = time.perf_counter() - began
    for solution in passing:
        table.add("a published solution passes", solution is not None)
    for outcome in await all_of(lambda pair: _mutants(kernels, *pair, table), zip(problems, passing, strict=True)):
        for name, failed in outcome:
            table.add(name, failed)
    return table


async def _first_passing(kernels: KernelHost, problem: Problem, table: Table) -> str | None:
    notes = []
    for solution in problem.solutions[:TRIED]:
        grade = await Apps().graded(problem.task, solution, kernels)
        table.tests += len(grade.tests or ())
        if grade.correct:
            return solution
        notes.append(grade.note)
    table.lines.append(f"{problem.task.id}: {await _why_none(kernels, problem)}\n    {notes[0][:200]}")
    return None


async def _why_none(kernels: KernelHost, problem: Problem) -> str:
    for solution in problem.solutions:
        if await _passes_patiently(kernels, problem.task, solution):
            return f"too slow or too large for what a test is allowed; passes with {PATIENT.seconds} s and 3 GB"
    question = re.sub(r"\s+", " ", problem.task.prompt.lower())
    if re.search(r"(print|output|return) any\b|any of them|several (correct )?answers", question):
        return "several answers are right, and the data has no checker for them"
    return "unexplained"


async def _passes_patiently(kernels: KernelHost, task: Task, solution: str) -> bool:
    patient = Apps(allowance=PATIENT)
    return (await patient.graded(task, solution, kernels)).correct


async def _mutants(kernels: KernelHost, problem: Problem, solution: str | None, table: Table) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    if solution is None:
        return found
    brisk = Apps(allowance=BRISK)
    spoilt = await brisk.graded(problem.task, _spoilt(problem.task, solution), kernels)
    found.append(("spoilt in its output: fails", not spoilt.correct))
    for mutant in _mutated(solution, random.Random(problem.task.id)):
        grade = await brisk.graded(problem.task, mutant, kernels)
        found.append(("changed in one place: fails (the rest do what every test expects)", not grade.correct))
    return found


def _spoilt(task: Task, solution: str) -> str:
    tests = cast(Mapping[str, Json], task.reference)
    if tests["form"] == "stdin":
        return f"{solution}\nprint('and more')"
    name = tests["name"]
    where = "Solution" if "class Solution" in solution else "sys.modules[__name__]"
    return (
        f"{solution}\nimport sys\n_true = {where}.{name}\n"
        f"setattr({where}, {name!r}, lambda *given, **named: [_true(*given, **named), 0])"
    )


class _Mutation(ast.NodeTransformer):
    """Changes the one place of its number: an operator, a comparison, a whole number."""

    def __init__(self, place: int) -> None:
        self.place, self.seen = place, 0

    def visit(self, node: ast.AST) -> Any:
        self.generic_visit(node)
        if not isinstance(node, (ast.Add, ast.Sub, ast.Lt, ast.Gt, ast.LtE, ast.GtE, ast.Eq)) and not (
            isinstance(node, ast.Constant) and type(node.value) is int
        ):
            return node
        self.seen += 1
        if self.seen - 1 != self.place:
            return node
        other: dict[type[ast.AST], ast.AST] = {
            ast.Add: ast.Sub(), ast.Sub: ast.Add(), ast.Lt: ast.LtE(), ast.Gt: ast.GtE(), ast.LtE: ast.Lt(),
            ast.GtE: ast.Gt(), ast.Eq: ast.NotEq(),
        }  # fmt: skip
        if isinstance(node, ast.Constant):
            return ast.Constant(cast(int, node.value) + 1)
        return other[type(node)]


def _mutated(solution: str, chance: random.Random) -> Iterator[str]:
    counting = _Mutation(-1)
    counting.visit(ast.parse(solution))
    for place in chance.sample(range(counting.seen), min(MUTANTS, counting.seen)):
        yield ast.unparse(ast.fix_missing_locations(_Mutation(place).visit(ast.parse(solution))))


# -- hostile programs ----------------------------------------------------------------------------

FORKS = "import os\nwhile True:\n    try:\n        {}\n    except OSError:\n        pass"
INTO_THE_WALL = """
import sys
sys.setrecursionlimit(10 ** 9)
class A:
    def __eq__(self, other):
        return [self] == [other]
A() == A()
"""
TO_ALL_DESCRIPTORS = """
import os
for number in range(100):
    try:
        os.write(number, b'[0, "", true]')
    except OSError:
        pass
"""
HOSTILE = {
    "os._exit(0)": ("import os\nos._exit(0)", "well"),
    "infinite loop": ("while True:\n    pass", "time"),
    "sleeps": ("import time\ntime.sleep(1000)", "time"),
    "fork bomb": (FORKS.format("os.fork()"), "time"),
    "fork bomb that leaves its group": (FORKS.format("os.fork() or os.setsid()"), "time"),
    "5 GB": ("hoard = bytearray(5 << 30)", "error"),
    "5 GB, bit by bit": ("hoard = []\nwhile True:\n    hoard.append(bytearray(1 << 20))", None),
    "recursion into the wall": (INTO_THE_WALL, "crash"),
    "endless recursion": ("def f():\n    f()\nf()", "error"),
    "1 GB of output": ("while True:\n    print('x' * 10 ** 6)", "output"),
    "kills its kernel": ("import os\nos.kill(os.getppid(), 9)", None),
    "stops its kernel": ("import os\nos.kill(os.getppid(), 19)", None),
    "writes to all descriptors": (TO_ALL_DESCRIPTORS, None),
    "leaves a daemon": ("import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(1000)", None),
}
"""Program → how its test has to end, where that is one way at every level."""


async def hostile(kernels: KernelHost) -> Table:
    """Each stands alone between two tests of a right program on one bench, which have to pass."""
    table = Table()
    sound = Program("print(int(input()) + 1)")
    for name, (source, expected) in HOSTILE.items():
        async with Bench(kernels, BRISK) as bench:
            began = time.perf_counter()
            before = await bench.run(sound, [on_stdin("1")])
            (found,) = await bench.run(Program(source), [on_stdin("1")])
            after = await bench.run(sound, [on_stdin("1")])
        seconds = time.perf_counter() - began
        table.lines.append(f"{name}: {found.ended} {found.why} ({seconds:.1f} s)")
        table.add("a verdict", expected in (None, found.ended) and not same_print("2", found.output))
        table.add("the tests around it pass", all(same_print("2", ran.output) for ran in (*before, *after)))
    return table


# -- recorded solutions --------------------------------------------------------------------------


async def recorded(kernels: KernelHost, environment: Programs, model: str, share: int) -> Table:
    """Runs that three models made: success, and the verdict on each solution proposed."""
    table = Table()
    path = DATA / "mint_results" / model / "code_generation" / environment.name / "results.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines][::share]
    causes: Counter[str] = Counter()
    began = time.perf_counter()
    for solved, judged in await all_of(lambda record: _replayed(kernels, environment, record, table), records):
        table.add("the same success of a run", solved)
        for same, cause in judged:
            table.add("the same verdict on a solution", same)
            if not same:
                causes[cause] += 1
    table.seconds = time.perf_counter() - began
    table.lines[:0] = [f"{count} × {cause}" for cause, count in causes.most_common()]
    return table


async def _replayed(
    kernels: KernelHost, environment: Programs, record: dict[str, Any], table: Table
) -> tuple[bool, list[tuple[bool, str]]]:
    task = environment.task(Row(record, "recorded"))
    success = record["state"]["success"]
    judged: list[tuple[bool, str]] = []
    solved = False
    proposed = list(_proposed(record))
    for number, solution in enumerate(proposed, start=1):
        grade = await environment.graded(task, solution, kernels)
        table.tests += len(grade.tests or ())
        solved = solved or grade.correct
        theirs = success and number == len(proposed)
        cause = ""
        if grade.correct != theirs:
            cause = await _cause(kernels, task, solution, ours=grade.correct, note=grade.note)
            table.lines.append(f"{task.id}, solution {number}: {cause}{f'; {grade.note}'[:160] if grade.note else ''}")
        judged.append((grade.correct == theirs, cause))
    return solved == success, judged


def _proposed(record: dict[str, Any]) -> Iterator[str]:
    """What stood between solution tags, as the recorded rule read it. The first message is the prompt."""
    for message in record["state"]["history"][1:]:
        if message["role"] == "assistant" and (action := mint(message["content"])).kind == "solution":
            yield action.content


async def _cause(kernels: KernelHost, task: Task, solution: str, *, ours: bool, note: str) -> str:
    if not ours:
        return "they accepted: " + note[:120]
    reference = cast(Mapping[str, Any], task.reference)
    program = program_text(solution)
    asked = tuple(reference.get("asked") or (reference["name"],))
    # Theirs was the solution followed by the tests, and nothing of the task's own code.
    bare = await examined(kernels, Program(program), Examination(tuple(reference["tests"]), asked))
    failed = next((verdict.why for verdict in bare if not verdict.passed), None)
    if failed is not None:
        return f"theirs ran without the code that the task gives: {failed}"
    return "unexplained: we accepted"


# -- printing ----------------------------------------------------------------------------------


def _metrics(name: str, table: Table) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        f"{name}: {what}": {"ours": good, "other": of, "ratio": good / of if of else None, "unit": "count"}
        for what, (good, of) in table.counts.items()
    }
    if table.tests:
        each = 1000 * table.seconds / table.tests
        found[f"{name}: a test"] = {"ours": each, "other": None, "ratio": None, "unit": "ms"}
    return found


def _print(name: str, table: Table) -> None:
    print(f"\n{name}", flush=True)
    for what, (good, of) in table.counts.items():
        print(f"  {good:5} of {of:<5} {what}")
    if table.tests:
        print(f"  {table.tests} tests in {table.seconds:.1f} s: {1000 * table.seconds / table.tests:.1f} ms each")
    for line in table.lines:
        print(f"  - {line}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
