"""Programming problems (APPS, Hendrycks et al. 2021): programs that read stdin, or functions that are called.

The tests stay on the host with all they expect; an episode's session sees the question and its examples only.
Rows of LeetCodeDataset, whose tests are asserts, are read too.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from environments.environment import BadRow, Row
from environments.graders.examiner import Examination, Verdict, asserted, examined, parsed, single_tests
from environments.graders.outputs import same_print, same_value
from environments.graders.programs import Allowance, Bench, Program, Ran, calling, on_stdin
from environments.kernels import KernelHost
from environments.programs import Programs, text_or_none
from environments.sources import text_of
from environments.texts import prompt_text
from environments.types import Json, Task, clean

IDS = ("problem_id", "task_id", "id")


class Apps(Programs):
    name = "apps"
    summary = "a programming problem: a program that reads its input, or a function (APPS)"
    data = "hf:codeparrot/apps, or files in its form; rows of LeetCodeDataset"
    demo = str(Path(__file__).parent / "demo" / "apps.jsonl")

    def __init__(self, variant: str | None = None, *, allowance: Allowance | None = None) -> None:
        super().__init__(variant)
        self._allowance = allowance

    def task(self, row: Row) -> Task:
        question = text_of(row, "question", "problem_description")
        tests = _asserts(row) if row.data.get("test") and row.data.get("entry_point") else _tests(row)
        starter = text_or_none(row, "starter_code")
        metadata: dict[str, Json] = {"form": tests["form"]}
        for field in ("difficulty", "url"):
            if (value := text_or_none(row, field)) is not None:
                metadata[field] = clean(value.lower() if field == "difficulty" else value)
        prompt = "\n\n".join([question.strip(), *_beginning(starter), _wanted(tests)])
        return Task(clean(f"apps/{text_of(row, *IDS)}"), self.name, clean(prompt), _clean(tests), metadata=metadata)

    async def verdicts(self, task: Task, program: str, kernels: KernelHost) -> Sequence[Verdict]:
        tests, program = cast(Mapping[str, Json], task.reference), textwrap.dedent(program)
        match tests["form"]:
            case "stdin":
                return await _printed(tests, program, self._bench(kernels))
            case "call":
                return await _returned(tests, program, self._bench(kernels))
        preamble = (str(tests["preamble"]),)
        examination = Examination(_texts(tests["tests"]), (str(tests["name"]),), preamble)
        return await examined(kernels, Program(program, preamble), examination)

    def _bench(self, kernels: KernelHost) -> Bench:
        return Bench(kernels, self._allowance)


def _clean(value: Json) -> Json:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(key): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, Sequence) else value


def _beginning(starter: str | None) -> list[str]:
    return [] if starter is None else [f"Begin with this:\n\n{starter.strip()}"]


def _wanted(tests: Mapping[str, Json]) -> str:
    if tests["form"] == "stdin":
        return "The solution is a program that reads from standard input and prints to standard output."
    return f"The solution is code that defines `{tests['name']}`, which is called."


# -- grading -------------------------------------------------------------------------------------


async def _printed(tests: Mapping[str, Json], program: str, bench: Bench) -> list[Verdict]:
    expected = _texts(tests["outputs"])
    async with bench:
        found = await bench.run(Program(program), [on_stdin(text) for text in _texts(tests["inputs"])])
    return [
        Verdict(ran.ended == "well" and same_print(wanted, ran.output), ran.why)
        for wanted, ran in zip(expected, found, strict=True)
    ]


async def _returned(tests: Mapping[str, Json], program: str, bench: Bench) -> list[Verdict]:
    """A test passes when one of the readings of its arguments gives what is expected."""
    name, outputs, wrapped = str(tests["name"]), _items(tests["outputs"]), tests["wrapped"] is True
    asked = [
        (number, calling(name, [_encoded(one) for one in reading], _named(call)))
        for number, call in enumerate(_items(tests["calls"]))
        for reading in _readings(_items(_items(call)[0]))
    ]
    source = Program(program, (str(tests["preamble"]),))
    async with bench:
        found = await bench.run(source, [call for _, call in asked])
    readings: list[list[Ran]] = [[] for _ in outputs]
    for (number, _), ran in zip(asked, found, strict=True):
        readings[number].append(ran)
    return [_of_readings(wanted, runs, wrapped=wrapped) for wanted, runs in zip(outputs, readings, strict=True)]


def _of_readings(wanted: Json, runs: Sequence[Ran], *, wrapped: bool) -> Verdict:
    passed = any(_is_expected(wanted, ran, wrapped=wrapped) for ran in runs)
    told = runs[0].told() or {}
    raised = f"raised {told['raised']}" if "raised" in told else ""
    return Verdict(passed, "" if passed else runs[0].why or raised)


def _is_expected(wanted: Json, ran: Ran, *, wrapped: bool) -> bool:
    told = ran.told()
    if told is None or "value" not in told:
        return False
    return same_value(wanted, told["value"]) or (wrapped and same_value(_items(wanted)[0], told["value"]))


def _readings(arguments: Sequence[Json]) -> list[list[Json]]:
    """As given, and as the data may have meant it: text that was quoted twice, numbers that JSON made keys."""
    readings = [list(arguments), [_unquoted(one) for one in arguments], [_numbered(one) for one in arguments]]
    return [reading for at, reading in enumerate(readings) if at == 0 or reading != readings[0]]


def _unquoted(value: Json) -> Json:
    if not (isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"'):
        return value
    try:
        inner: Json = json.loads(value)
    except ValueError:
        return value
    return inner if isinstance(inner, str) else value


def _numbered(value: Json) -> Json:
    """A mapping whose keys are all whole numbers, in the form of `_encoded`."""
    if not isinstance(value, Mapping) or not value or not all(key.lstrip("-").isdecimal() for key in value):
        return value
    return {_NUMBERED: [[int(key), item] for key, item in value.items()]}


_NUMBERED = "\0numbered"


def _encoded(value: Json) -> Json:
    """As the bench decodes it."""
    if isinstance(value, Mapping):
        pairs = value[_NUMBERED] if _NUMBERED in value else [[key, item] for key, item in value.items()]
        return {"dict": [[_items(pair)[0], _encoded(_items(pair)[1])] for pair in _items(pairs)]}
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    return [_encoded(item) for item in value]


def _named(call: Json) -> dict[str, Json]:
    return {name: _encoded(value) for name, value in cast(Mapping[str, Json], _items(call)[1]).items()}


def _items(value: Json) -> Sequence[Json]:
    return cast(Sequence[Json], value)


def _texts(value: Json) -> tuple[str, ...]:
    return tuple(str(one) for one in _items(value))


# -- reading rows --------------------------------------------------------------------------------


def _tests(row: Row) -> dict[str, Json]:
    """The tests of an APPS row. Raises `BadRow`."""
    told = _input_output(row)
    inputs, outputs = (_listed(told, name) for name in ("inputs", "outputs"))
    if len(inputs) != len(outputs):
        raise BadRow(f"'input_output' has {len(inputs)} inputs and {len(outputs)} outputs")
    if not inputs:
        raise BadRow("'input_output' holds no test")
    name = told.get("fn_name")
    if name is None or name == "":
        return {"form": "stdin", "inputs": [_text(one) for one in inputs], "outputs": [_text(one) for one in outputs]}
    if not isinstance(name, str) or not name.isidentifier():
        raise BadRow("'fn_name' is no name of a function")
    return {
        "form": "call",
        "name": name,
        "calls": [[_arguments(one), {}] for one in inputs],
        "outputs": outputs,
        # Most rows hold a result in a list, as if it were one of several; a result that is a list may be one, too.
        "wrapped": all(isinstance(one, list) and len(one) == 1 for one in outputs),
        "preamble": prompt_text("apps", "preamble"),
    }


def _input_output(row: Row) -> Mapping[str, Json]:
    told: Json = row.data.get("input_output")
    if isinstance(told, str) and told.strip():
        try:
            told = json.loads(told)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"'input_output' cannot be read as JSON: {error}") from error
    if not told:
        raise BadRow("no 'input_output'")
    if not isinstance(told, Mapping):
        raise BadRow(f"'input_output' is a {type(told).__name__}, where an object with 'inputs' and 'outputs' is meant")
    return told


def _listed(told: Mapping[str, Json], name: str) -> list[Json]:
    value = told.get(name)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise BadRow(f"no list '{name}' in 'input_output'")
    return list(value)


def _text(value: Json) -> str:
    """An input or output: its text, or its lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(line, (str, int, float)) for line in value):
        return "\n".join(str(line) for line in value)
    raise BadRow("an input or output in 'input_output' is no text")


def _arguments(value: Json) -> list[Json]:
    if isinstance(value, str):
        try:
            return [json.loads(line) for line in value.splitlines() if line.strip()]
        except ValueError as error:
            raise BadRow("arguments in 'input_output' are neither a list nor JSON by the line") from error
    if not isinstance(value, Sequence):
        raise BadRow("arguments in 'input_output' are no list")
    return list(value)


def _asserts(row: Row) -> dict[str, Json]:
    """The tests of a row of LeetCodeDataset: `def check(candidate): assert candidate(…) == …`. Raises `BadRow`."""
    source, entry = text_of(row, "test"), text_of(row, "entry_point")
    name = entry.rpartition(".")[2].strip()
    if not name.isidentifier():
        raise BadRow("'entry_point' does not end in the name of a function")
    preamble = text_or_none(row, "prompt") or prompt_text("apps", "preamble")
    try:
        parsed(preamble)
        found = asserted(source, "candidate")
        tests = single_tests(f"{source}\ncheck({name})") if found is None else []
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BadRow(f"'test' or 'prompt' cannot be read as Python: {error}") from error
    if not found and not tests:
        raise BadRow("'test' asserts nothing")
    if found is None:
        return {"form": "asserts", "name": name, "tests": tests, "preamble": preamble}
    return {
        "form": "call",
        "name": name,
        "calls": [[list(arguments), dict(named)] for arguments, named, _ in found],
        "outputs": [expected for *_, expected in found],
        "wrapped": False,
        "preamble": preamble,
    }
