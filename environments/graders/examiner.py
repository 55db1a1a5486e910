"""Tests that are code, `assert f(1) == 2`, run apart from the program that they judge.

They hold the expected values, so they never meet the program: an examiner's kernel runs each test with stand-ins
for the program's functions, and the first call that has no answer yet ends it and is put to the program in a kernel
of its own. Then the test runs again with that answer. A test that calls in a loop of a hundred takes a hundred rounds.
"""

from __future__ import annotations

import ast
import builtins
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from environments.graders.programs import Allowance, Bench, Program, Ran, calling
from environments.kernels import KernelHost
from environments.types import Json

EXAMINERS = Allowance(seconds=4, wall=12)


@dataclass(frozen=True, slots=True)
class Examination:
    tests: tuple[str, ...]
    """Each a test of its own."""
    asked: tuple[str, ...]
    """The functions that the program is to define; what else a test uses and nobody defines is asked for as well."""
    preamble: tuple[str, ...] = ()
    """Imports and helpers for tests; a stub that it has of what is asked gives way."""


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: bool
    why: str = ""


async def examined(kernels: KernelHost, program: Program, examination: Examination) -> list[Verdict]:
    """A verdict for each test. Raises `KernelFault` where no kernel can be had."""
    found: dict[int, Verdict] = {}
    answers: list[dict[str, Json]] = [{} for _ in examination.tests]
    known: dict[str, Ran] = {}
    async with Bench(kernels, EXAMINERS) as examiner, Bench(kernels) as bench:
        while pending := [number for number in range(len(answers)) if number not in found]:
            said = await examiner.run(
                Program("", examination.preamble), [_test(examination, number, answers[number]) for number in pending]
            )
            calls: dict[int, str] = {}
            for number, ran in zip(pending, said, strict=True):
                call = (ran.told() or {}).get("call")
                if call is None:
                    found[number] = _verdict(ran)
                else:
                    calls[number] = json.dumps(call)
            new = list(dict.fromkeys(call for call in calls.values() if call not in known))
            known |= zip(new, await bench.run(program, [calling(*json.loads(call)) for call in new]), strict=True)
            for number, call in calls.items():
                answer = known[call].told()
                if answer is None:
                    found[number] = Verdict(False, known[call].why or "returned what cannot be read")
                else:
                    answers[number][call] = answer
    return [found[number] for number in range(len(answers))]


def _test(examination: Examination, number: int, answers: Mapping[str, Json]) -> dict[str, Json]:
    test = examination.tests[number]
    undefined = free_names("\n".join([*examination.preamble, test])) - set(examination.asked)
    return {"unit": test, "names": sorted(undefined), "asked": examination.asked, "answers": answers}


def _verdict(ran: Ran) -> Verdict:
    told = ran.told()
    if told is None or not isinstance(told.get("passed"), bool):
        return Verdict(False, f"the test itself {ran.why or 'gave no verdict'}")
    return Verdict(told["passed"] is True, str(told.get("why", "")))


# -- tests out of a source -----------------------------------------------------------------------


def parsed(source: str) -> ast.Module:
    """Of a task's code, whose style is not ours to warn of. Raises `SyntaxError`, `ValueError`, `RecursionError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def single_tests(source: str) -> list[str]:
    """The source once for each of its asserts, without the others. Raises `SyntaxError`, `RecursionError`.

    An assert of a constant tests nothing and is left out.
    """
    count = _Asserts(keep=None).count_in(source)
    return [_Asserts(keep=number).cut(source) for number in range(count)]


class _Asserts(ast.NodeTransformer):
    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        self._seen = 0

    def count_in(self, source: str) -> int:
        self.visit(parsed(source))
        return self._seen

    def cut(self, source: str) -> str:
        return ast.unparse(ast.fix_missing_locations(self.visit(parsed(source))))

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        if not isinstance(node.test, ast.Constant):
            self._seen += 1
            if self._seen - 1 == self._keep:
                return node
        return ast.Pass()


def free_names(source: str) -> set[str]:
    """What is used, bound nowhere, and no built-in."""
    used: set[str] = set()
    bound = set(dir(builtins))
    for node in ast.walk(parsed(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add((other or name).split(".")[0])
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
    return used - bound


def functions_asked(tests: Sequence[str]) -> list[str]:
    """The functions that tests are about: called and defined nowhere; or, for lack of any, built-ins written anew."""
    free = {name for test in tests for name in _called(test) & free_names(test)}
    return sorted(free or {name for test in tests for name in _called(test) & set(dir(builtins))})


def _called(test: str) -> set[str]:
    calls = (node.func for node in ast.walk(parsed(test)) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}


def asserted(source: str, name: str) -> Sequence[tuple[list[Json], dict[str, Json], Json]] | None:
    """Of each assert arguments, named ones and expected value; None unless all are `name(…) == value`, of literals."""
    try:
        return [_asserted(node, name) for node in ast.walk(parsed(source)) if isinstance(node, ast.Assert)]
    except ValueError:
        return None


def _asserted(node: ast.Assert, name: str) -> tuple[list[Json], dict[str, Json], Json]:
    match node.test:
        case ast.Compare(
            left=ast.Call(func=ast.Name(id=called), args=arguments, keywords=named),
            ops=[ast.Eq()],
            comparators=[expected],
        ) if called == name:
            given = [_literal(one) for one in arguments]
            return given, {str(one.arg): _literal(one.value) for one in named}, _literal(expected)
    raise ValueError("of another form")


def _literal(node: ast.expr) -> Json:
    value = ast.literal_eval(node)
    # What JSON would change is no plain case.
    if json.loads(json.dumps(value)) != value:
        raise ValueError("not JSON")
    return value  # type: ignore[no-any-return]
