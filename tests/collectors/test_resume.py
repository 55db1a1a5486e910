"""Going on with what an earlier process left: real kernels, real stores, functions that answer otherwise each time."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import cast

import pytest

from collectors.resume import Diverged, RecordedAnswers, Resumed
from environments.environment import Episode
from environments.gsm8k import Gsm8k
from environments.kernels import KernelHost
from environments.kernels.calls import event_of
from environments.protocol.compare import apart, same_observation
from environments.protocol.parse import POLICIES
from environments.protocol.render import cell_text, observe
from environments.tools import BadCall, Idle, Missed, stubs
from environments.types import CellResult, Observation, Reply, Request, Rules, Task, ToolCall, Trajectory
from store.load import Partial, load_partial, load_trajectories
from store.log import TrajectoryLog
from store.store import Store, open_store
from tests.collectors.test_run import CELL, RIGHT, TASKS, Climbing, Stairs, Taught, collect, interrupted
from tests.factory import PROMPT, execute, make_turn

RULES = Rules(cell_timeout=3.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(str(tmp_path / "e.db"), create=True) as opened:
        yield opened


class Oracle(Episode):
    """Never answers the same twice."""

    def consult(self, question: str) -> str:
        """Ask a question."""
        assert isinstance(self.environment, Consulting)
        self.environment.asked.append(question)
        if question == "forbidden":
            raise BadCall(f"refused {id(self)}")
        answer = f"{question} {id(self)}"
        return Missed(answer) if question == "nothing" else answer


class Consulting(Gsm8k):
    functions = (Oracle.consult,)

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    @asynccontextmanager
    async def episode(self, task: Task, kernels: KernelHost) -> AsyncIterator[Episode]:
        yield Oracle(self, task, kernels)


async def ended(store: Store) -> Trajectory:
    (trajectory,) = [one async for one in load_trajectories(store)]
    return trajectory


async def test_what_a_function_has_answered_is_handed_back_and_not_asked_again(store: Store) -> None:
    cells = (
        "print(consult('a'), consult('b'))",
        "consult(5)",
        "try: consult('forbidden')\nexcept ToolError as e: print(e)\nprint(consult('nothing'))",
    )
    await interrupted(store, *map(CELL.format, cells), environment=Consulting())
    environment = Consulting()
    teacher = Taught(*["not asked"] * 4, CELL.format("print(consult('new'))"))
    (trajectory,) = (await collect(store, teacher, environment=environment)).trajectories
    assert [request.turn for request in teacher.asked] == [4]
    assert environment.asked == ["new"]
    assert (await load_partial(store, trajectory.id)).turns == trajectory.turns


async def test_from_the_first_call_that_is_another_the_functions_themselves_are_asked(
    store: Store, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    note.write_text("before")
    cell = f"print(consult('first'))\nprint(consult(open({str(note)!r}).read()))\nprint(consult('last'))"
    await interrupted(store, CELL.format(cell), environment=Consulting())
    note.write_text("after")
    environment = Consulting()
    teacher = Taught("not asked", RIGHT)
    (trajectory,) = (await collect(store, teacher, environment=environment)).trajectories
    assert environment.asked == ["after", "last"]
    assert "after" in trajectory.turns[0].observation.text


async def test_recorded_answers_are_of_the_kinds_they_were() -> None:
    def look(where: str, far: float = 1.0) -> str:
        """Look."""
        return "asked anew"

    answers = RecordedAnswers()
    functions = answers.before({"look": look})
    assert stubs(functions.values()) == stubs([look])
    calls = (
        ToolCall("look", {"where": "there"}, "nothing there", event="E6"),
        ToolCall("nowhere", {}, error="there is no function nowhere"),
        ToolCall("look", {"where": 5}, error="look: where must be of type str, not int"),
        ToolCall("look", {"where": "up", "far": float("nan")}, "nothing done", event="E5"),
        ToolCall("look", {"where": "in"}, error="locked"),
        ToolCall("look", {"where": "in", "far": 1}, "the room"),
    )
    answers.are_of(make_turn(0, execute("…"), CellResult(calls=calls)))
    assert event_of(await functions["look"](where="there")) == event_of(Missed(""))
    assert event_of(await functions["look"](where="up", far=float("nan"))) == event_of(Idle(""))
    with pytest.raises(BadCall, match="locked"):
        await functions["look"](where="in")
    assert await functions["look"](where="in", far=1.0) == "asked anew"
    assert await functions["look"](where="in", far=1) == "asked anew"


async def test_a_run_that_is_not_to_branch_ends_where_it_diverged_and_buys_nothing(
    store: Store, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    note.write_text("before")
    await interrupted(store, CELL.format(f"print(open({str(note)!r}).read())"), CELL.format("print(1)"))
    note.write_text("after")
    teacher = Taught("not asked")
    await collect(store, teacher, on_divergence="stop")
    trajectory = await ended(store)
    assert teacher.asked == []
    assert trajectory.outcome is not None
    assert trajectory.outcome.stop == "diverged"
    assert trajectory.outcome.note == "turn 1 came to something else when it was run again: 'before' was 'after'"
    assert [turn.observation.text.split("\n")[1] for turn in trajectory.turns] == ["before", "1", "last"]


async def test_a_call_that_was_refused_is_refused_again_when_a_state_is_brought_back(store: Store) -> None:
    cell = "climb(1)\ntry: climb('high')\nexcept ToolError: climb(2)\nimport os; os._exit(1)"
    await interrupted(store, CELL.format(cell), environment=Climbing())
    teacher = Taught("not asked", "not asked", CELL.format("print(climb(4))"))
    (trajectory,) = (await collect(store, teacher, environment=Climbing())).trajectories
    assert teacher.asked[0].turn == 2
    assert "7" in trajectory.turns[2].observation.text


class Steeper(Stairs):
    def climb(self, steps: int) -> int:
        return super().climb(steps) * 2


async def test_a_state_that_cannot_be_brought_back_is_told() -> None:
    calls = (ToolCall("climb", {"steps": 3}, 3), ToolCall("climb", {"steps": 99}, error="too many at once"))
    died = make_turn(0, execute("…"), CellResult(died=True, calls=calls))
    resumed = Resumed(never, cast("TrajectoryLog", None), Partial(0, PROMPT, (died,)))
    kernels = KernelHost("none")
    await resumed.restore(Stairs(Climbing(), TASKS[0], kernels))
    steeper = Climbing()
    steeper.functions = (Steeper.climb,)
    with pytest.raises(Diverged, match="'3' was '6'"):
        await resumed.restore(Steeper(steeper, TASKS[0], kernels))


async def never(request: Request) -> Reply:
    raise AssertionError("nothing is asked")


# -- what counts as the same ---------------------------------------------------------------------------

NOISE = (
    "x = object(); print(id(x), x); x",
    "import os, tempfile; print(os.getcwd(), tempfile.mkdtemp(), tempfile.NamedTemporaryFile().name); os.getpid()",
    "class A: pass\nclass B: pass\nprint({A, B, 'a', 'bc', 1}); hash(None)",
    "%timeit -n 10 sum(range(10))\n%time sum(range(1000))",
    "import time\nbegan = time.time()\nsum(range(1000))\nprint(time.time() - began)",
    "import time\nbegan = time.perf_counter()\nprint(f'took {time.perf_counter() - began:.6f} seconds')",
    "from datetime import datetime\nprint(datetime.now(), datetime.today().strftime('%H:%M:%S'))\ndatetime.now()",
    "import time; print(time.ctime(), time.time(), time.time_ns())",
    "import threading\nprint(threading.get_ident()); threading.current_thread()",
    "import asyncio; print(asyncio.current_task()); asyncio.create_task(asyncio.sleep(0))",
    "import warnings; warnings.warn('careful')\nimport traceback\ntry: 1 / 0\nexcept Exception: traceback.print_exc()",
    "for number in range(500): print(number, object())",
    "!ls -la\n",
    "import logging; logging.basicConfig(format='%(asctime)s %(message)s'); logging.warning('x')",
    "import unittest as u\nclass T(u.TestCase):\n  def test(self): self.fail()\nu.main(argv=['x'], exit=False)",
    "def f(n): return 1 + max(f(n + 1), 2)\nf(0)",
    "import resource; resource.getrusage(resource.RUSAGE_SELF).ru_maxrss",
    "import sympy as sp\nx, y = sp.symbols('x y')\nprint({x, y}, sp.solve([x + y - 1, x - y - 3], [x, y]))",
)


async def played(cells: list[str]) -> list[tuple[str, Observation]]:
    """In a session of a host of its own: kernels of one host have all their addresses alike."""
    async with KernelHost(None) as kernels, await kernels.session(seed=7) as session:
        return [(code, await observed(session.run(code, RULES.cell_timeout))) for code in cells]


async def observed(running: object) -> Observation:
    result = await running  # type: ignore[misc]
    return Observation(observe(cell_text(result, RULES.observation_limit), RULES, 1, 0), result)


async def test_what_a_clock_the_machine_or_chance_has_said_is_no_divergence() -> None:
    first, second = await played(list(NOISE)), await played(list(NOISE))
    differing = [
        (code, apart(one.text, other.text))
        for (code, one), (_, other) in zip(first, second, strict=True)
        if not same_observation(one, other, [code])
    ]
    assert differing == []


@pytest.mark.parametrize(
    ("one", "other", "code"),
    [
        ("41", "42", ""),
        ("It takes 6 min", "It takes 7 min", "print(answer)"),
        ("0.1234567", "0.7654321", "import random, time\nrandom.seed(time.time())"),
        ("{'a', 'b'}", "{'b', 'a'}", "print({'a', 'b'})"),
        ("FileNotFoundError: /home/user/a.csv", "FileNotFoundError: /home/user/b.csv", "open(name)"),
        ("2020-05-01", "2020-06-01", "from datetime import datetime\ndatetime.strptime(text, form)"),
        ("12", "13", "import os; os.getpid()\0print(x)"),
        ("12 apples", "13 apples", "import time\ntime.sleep(1)\ntime.time()"),
    ],
)
def test_what_the_code_itself_has_said_is_a_divergence(one: str, other: str, code: str) -> None:
    assert not same_observation(Observation(one), Observation(other), code.split("\0"))


def test_a_long_output_is_the_same_wherever_noise_has_had_it_cut_and_no_forgery_is() -> None:
    lines = [f"{number} <object at 0x7f26f48c{number:04x}>" for number in range(500)]
    one = CellResult("\n".join(lines))
    other = CellResult("\n".join(line.replace("0x7f26", "0x55d7f26") for line in lines))
    shown = [Observation(observe(cell_text(result, 4000), RULES, 1, 0), result) for result in (one, other)]
    assert shown[0].text != shown[1].text
    assert same_observation(*shown, ["print(object())"])
    forged = Observation(shown[0].text.replace("\n3 <object", "\n4 <object"), one)
    assert not same_observation(forged, shown[1], ["print(object())"])


def recorded_cells(folder: Path) -> Iterator[list[str]]:
    for path in sorted(folder.glob("*/*/*/results.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                said = [m["content"] for m in json.loads(line)["state"]["history"] if m["role"] == "assistant"]
                actions = [POLICIES["mint"](text.removeprefix("Assistant:\n")) for text in said]
                yield [action.content for action in actions if action.kind == "code"]


@pytest.mark.data
async def test_code_of_recorded_teachers_says_the_same_twice(data: Path) -> None:
    found = [cells for cells in recorded_cells(data / "mint_results") if cells]
    differing = []
    async with KernelHost(None) as kernels, KernelHost(None) as others:
        for cells in islice(found, 0, None, 40):
            async with await kernels.session(seed=7) as one, await others.session(seed=7) as other:
                for number, code in enumerate(cells):
                    told = [await observed(session.run(code, RULES.cell_timeout)) for session in (one, other)]
                    if not same_observation(told[0], told[1], cells[: number + 1]):
                        differing.append((code, apart(told[0].text, told[1].text)))
    assert differing == []
