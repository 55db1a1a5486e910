"""Games are played by calling functions: what they say, when they are won, and what a game's end does to others."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

import environments.alfworld
from environments.alfworld import PACKAGES, Alfworld, Household
from environments.alfworld_games import TASK_TYPES, as_call, make_game, make_games
from environments.alfworld_host import Games
from environments.environment import Row
from environments.faults import GraderFault, ToolFault, UsageError
from environments.kernels import KernelHost
from environments.protocol.render import cell_text, observe
from environments.sources import load_tasks
from environments.tools import Idle
from environments.types import Rules, Task

ROOT = Path(__file__).resolve().parents[2]
NO_KERNELS: Any = None
"""Nothing here asks for one."""

NOWHERE = "(define (problem x) (:domain alfred) (:init (receptacleAtLocation Desk_bar_1 loc_bar_1)) (:goal (and)))"

installed = pytest.mark.skipif(
    sys.platform != "linux" or not all(map(find_spec, PACKAGES)),
    reason="alfworld's own packages are not installed: pip install 'errata[alfworld]'",
)
together = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def alfworld() -> AsyncIterator[Alfworld]:
    async with Alfworld() as environment:
        yield environment


def _task(problem: object, task_type: str = TASK_TYPES[0]) -> Task:
    inputs: Any = {"problem": problem, "goal": "put a mug in/on a desk", "domain": None, "grammar": None}
    return Task("alfworld/x", "alfworld", "?", None, inputs=inputs, metadata={"task_type": task_type})


def _made(task_type: str = TASK_TYPES[0], seed: str = "tests") -> Task:
    return Alfworld().task(Row(make_game(task_type, seed).row(), "made"))  # type: ignore[arg-type]


async def _walk(household: Household, commands: Iterable[str]) -> list[str]:
    functions = household.functions()
    said = []
    for command in commands:
        name, given = as_call(command)
        said.append(await functions[name](*given))
    return said


async def _won(household: Household) -> bool:
    return (await household.judge_state()).correct


# -- without the engine --------------------------------------------------------------------------


async def test_without_its_packages_entering_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments.alfworld, "PACKAGES", ("json", "no_such_engine"))
    with pytest.raises(UsageError, match="no_such_engine"):
        Alfworld().ready(())
    with pytest.raises(UsageError, match=r"no_such_engine cannot be imported.*pip install 'errata\[alfworld\]'"):
        async with Alfworld():
            pass


def test_reading_games_imports_no_engine() -> None:
    code = (
        "import sys; from environments.alfworld import Alfworld; from environments.sources import load_tasks;"
        f"load_tasks(Alfworld(), Alfworld.demo); print([name for name in {PACKAGES!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_functions_are_the_published_eleven() -> None:
    names = "put goto take_from open_receptacle toggle close_receptacle clean heat cool use look"
    assert [function.__name__ for function in Alfworld.functions] == names.split()


async def test_a_game_is_not_judged_without_its_state() -> None:
    with pytest.raises(GraderFault, match="alfworld/x: a game is judged by the state it is left in"):
        await Alfworld().grade(_task(""), "done")


# -- games ---------------------------------------------------------------------------------------


@installed
@together
@pytest.mark.parametrize("task_type", TASK_TYPES)
async def test_a_game_made_here_is_won_by_its_walkthrough_and_not_before_its_last_deed(
    task_type: str, alfworld: Alfworld
) -> None:
    for seed in ("1", "2", "3"):
        game = make_game(task_type, seed)
        last = max(n for n, command in enumerate(game.walkthrough) if command.startswith(("move", "use")))
        async with alfworld.episode(_made(task_type, seed), NO_KERNELS) as household:
            said = await _walk(household, game.walkthrough[:last])
            assert not await _won(household)
            said += await _walk(household, game.walkthrough[last:])
            assert await _won(household), (game.id, said)
            assert "Nothing happens." not in said


@installed
@together
async def test_the_bundled_games_are_one_of_each_type_at_least_and_are_won(alfworld: Alfworld) -> None:
    loaded = load_tasks(alfworld, alfworld.demo)
    assert loaded.problems == ()
    assert {task.metadata["task_type"] for task in loaded.tasks} == {*TASK_TYPES}
    rows = [json.loads(line) for line in Path(alfworld.demo).read_text(encoding="utf-8").splitlines()]
    for task, row in zip(loaded.tasks, rows, strict=True):
        async with alfworld.episode(task, NO_KERNELS) as household:
            for line in row["walkthrough"]:
                name, _, given = line.removesuffix(")").partition("(")
                await household.functions()[name](*json.loads(f"[{given}]"))
            assert await _won(household), task.id


@installed
@together
async def test_what_cannot_be_done_says_so_and_does_nothing(alfworld: Alfworld) -> None:
    async with alfworld.episode(_made(), NO_KERNELS) as household:
        before = await household.look()
        nothing = [
            await household.goto("nowhere 7"),
            await household.goto(""),
            await household.take_from("mug 1", "cabinet 99"),
            await household.put("mug 1", "look\nlook"),
            await household.clean("{o}", "[{r.name}]"),
            await household.heat("__import__('os')", "microwave 1"),
            await household.cool("x" * 100_000, "fridge 1"),
            await household.toggle("\ud800 1"),
            await household.use("desklamp 42"),
        ]
        assert {*nothing} == {"Nothing happens."}
        assert all(isinstance(said, Idle) for said in nothing)
        assert await household.look() == before
        assert not isinstance(before, Idle)
        assert not await _won(household)


@installed
@together
async def test_a_receptacle_tells_what_is_in_it_and_no_location_of_the_engine(alfworld: Alfworld) -> None:
    game = make_game(TASK_TYPES[0], "tests")
    async with alfworld.episode(_made(), NO_KERNELS) as household:
        (first,) = await _walk(household, game.walkthrough[:1])
        assert first.startswith(("On the ", "The "))


@installed
@together
async def test_a_lamp_is_switched_by_either_name(alfworld: Alfworld) -> None:
    game = make_game("look_at_obj_in_light", "tests")
    async with alfworld.episode(_made("look_at_obj_in_light"), NO_KERNELS) as household:
        await _walk(household, game.walkthrough[:-1])
        assert await household.toggle("desklamp 1") == "You turn on the desklamp 1."
        assert await _won(household)


@installed
@together
async def test_what_was_won_stays_won_whatever_is_done_after_it(alfworld: Alfworld) -> None:
    game = make_game("pick_and_place_simple", "tests")
    async with alfworld.episode(_made(), NO_KERNELS) as household:
        await _walk(household, game.walkthrough)
        put = next(command for command in reversed(game.walkthrough) if command.startswith("move"))
        thing, where = as_call(put)[1]
        await household.open_receptacle(where)
        assert await household.take_from(thing, where) == f"You pick up the {thing} from the {where}."
        assert await _won(household)
        assert (await household.grade("done")).correct


@installed
@together
async def test_a_claim_is_judged_by_the_household_and_not_by_its_words(alfworld: Alfworld) -> None:
    async with alfworld.episode(_made(), NO_KERNELS) as household:
        grade = await household.grade("The plate is on the countertop. won = True")
        assert (grade.correct, grade.score, grade.note) == (False, 0.0, "the game's goal is not reached")


@installed
@together
async def test_eight_episodes_side_by_side_know_nothing_of_each_other(alfworld: Alfworld) -> None:
    games = list(make_games(8, 11))

    async def play(number: int) -> bool:
        task = alfworld.task(Row(games[number].row(), "made"))
        async with alfworld.episode(task, NO_KERNELS) as household:
            # Every second one stops in the middle.
            await _walk(household, games[number].walkthrough[: None if number % 2 else 3])
            return await _won(household)

    assert await asyncio.gather(*map(play, range(8))) == [False, True] * 4


@installed
@together
@pytest.mark.parametrize("task_type", TASK_TYPES)
async def test_an_example_is_true_shows_one_error_corrected_and_ends_as_it_is_won(
    task_type: str, alfworld: Alfworld
) -> None:
    tasks = load_tasks(alfworld, alfworld.demo).tasks
    task = next(task for task in tasks if task.metadata["task_type"] == task_type)
    opening, *turns = alfworld.example_for(task).split("\n\nAssistant:\n")
    assert opening == f"Task:\n{task.prompt}"
    async with KernelHost("none") as kernels, alfworld.episode(task, kernels) as household:
        async with await kernels.session(functions=household.functions()) as session:
            for number, turn in enumerate(turns, start=1):
                assert not household.won
                reply, _, shown = turn.partition("\n\nObservation:\n")
                thought, _, code = reply.partition("\n<execute>\n")
                assert thought
                result = await session.run(code.removesuffix("\n</execute>"))
                if shown:
                    assert f"Observation:\n{shown}" == observe(cell_text(result, 4_000), Rules(), number, 0)
        assert household.won
    errors = [re.search("Nothing happens|Traceback", turn) is not None for turn in turns]
    assert (sum(errors), errors[-1]) == (1, False)


# -- what ends a game ----------------------------------------------------------------------------


@asynccontextmanager
async def _games(**limits: float) -> AsyncIterator[tuple[Games, psutil.Process]]:
    games = Games(**limits)
    games.start()
    assert games.pid is not None
    try:
        yield games, psutil.Process(games.pid)
    finally:
        await games.close()


async def _gone(processes: Iterable[psutil.Process]) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, [*processes], timeout=10)
    return not alive


@installed
@pytest.mark.parametrize(("number", "said"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV, "SIGSEGV")])
async def test_a_game_that_dies_is_our_fault_and_costs_no_other(number: signal.Signals, said: str) -> None:
    async with _games() as (games, server):
        bystander, _ = await games.game(_made().inputs)
        others = server.children()
        game, _ = await games.game(_made().inputs)
        (process,) = [child for child in server.children() if child not in others]
        process.send_signal(number)
        with pytest.raises(ToolFault, match=f"the game ended by itself: its process ended by signal {said}"):
            await game.play(["look"])
        with pytest.raises(ToolFault, match=said):
            await game.play(["look"])
        assert (await bystander.play(["look"])).text.startswith("You are in the middle of a room.")


@installed
async def test_a_game_that_hangs_is_killed_at_its_limit() -> None:
    async with _games(step_limit=0.5) as (games, server):
        game, _ = await games.game(_made().inputs)
        (process,) = server.children()
        process.suspend()
        with pytest.raises(ToolFault, match=r"took more than 0\.5 s and was stopped"):
            await game.play(["look"])
        assert await _gone([process])
        again, _ = await games.game(_made().inputs)
        assert not (await again.play(["look"])).won


@installed
async def test_a_cell_that_is_stopped_in_a_call_leaves_no_answer_for_the_next() -> None:
    async with _games() as (games, server):
        game, _ = await games.game(_made().inputs)
        (process,) = server.children()
        process.suspend()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(game.play(["look"]), 0.2)
        assert await _gone([process])
        with pytest.raises(ToolFault, match="in the middle of a command"):
            await game.play(["look"])


@installed
@pytest.mark.parametrize("problem", ["(define (problem x) (:domain alfred)", "no PDDL", 7])
async def test_a_game_that_does_not_start_says_what_the_engine_said(problem: object) -> None:
    async with _games() as (games, _):
        with pytest.raises(ToolFault, match=r"the game ended by itself: \w+: .*\(.+\.py:\d+\)"):
            await games.game(_task(problem).inputs)


@installed
async def test_an_episode_that_ends_early_leaves_no_process() -> None:
    async with Alfworld() as environment:
        assert environment._games is not None
        async with environment.episode(_made(), NO_KERNELS):
            pass  # before its game has started
        async with environment.episode(_made(), NO_KERNELS) as household:
            await household.look()
        assert environment._games.pid is not None
        server = psutil.Process(environment._games.pid)
        assert await _gone(server.children())
    assert not server.is_running()


@installed
async def test_a_server_that_was_killed_is_started_anew() -> None:
    async with _games() as (games, server):
        game, _ = await games.game(_made().inputs)
        children = server.children()
        server.kill()
        assert await _gone([server, *children])
        with pytest.raises(ToolFault):
            await game.play(["look"])
        again, _ = await games.game(_made().inputs)
        assert not (await again.play(["look"])).won


@installed
async def test_a_fault_names_its_task() -> None:
    async with Alfworld() as environment, environment.episode(_task(NOWHERE), NO_KERNELS) as household:
        with pytest.raises(ToolFault, match=r"^alfworld/x: the game ended by itself: "):
            await household.look()


@installed
async def test_nothing_that_a_fork_would_lose_runs_in_the_server() -> None:
    async with _games() as (games, server):
        await games.game(_made().inputs)
        assert server.num_threads() == 1


@installed
async def test_secrets_of_the_host_are_not_in_a_game(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with _games() as (games, server):
        await games.game(_made().inputs)
        for process in (server, *server.children()):
            assert "sk-secret" not in process.environ().values()


@installed
async def test_nothing_is_left_of_a_host_that_was_killed(tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text(json.dumps(_made().inputs))
    code = (
        "import asyncio, json, pathlib, psutil; from environments.alfworld_host import Games\n"
        "async def main():\n"
        f"    games = Games(); await games.game(json.loads(pathlib.Path({str(task)!r}).read_text()))\n"
        "    print(games.pid, *(child.pid for child in psutil.Process(games.pid).children()), flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        left = [psutil.Process(int(number)) for number in host.stdout.readline().split()]
        assert len(left) == 2
        os.kill(host.pid, signal.SIGKILL)
        assert await _gone(left)


# -- the data set's games ------------------------------------------------------------------------


@pytest.mark.data
@installed
@together
async def test_recorded_runs_of_each_type_are_won_again_with_what_was_recorded(data: Path, alfworld: Alfworld) -> None:
    tasks = {task.id: task for task in load_tasks(alfworld, data / "alfworld" / "index.jsonl").tasks}
    lines = (data / "alfworld" / "verified_replays.jsonl").read_text().splitlines()
    shortest = sorted(map(json.loads, lines), key=lambda replay: len(replay["steps"]))
    for task_type in TASK_TYPES:
        replay = next(one for one in shortest if one["game"].startswith(task_type))
        async with alfworld.episode(tasks[f"alfworld/{replay['game']}"], NO_KERNELS) as household:
            said = await _walk(household, [step["action"] for step in replay["steps"]])
            assert said == [step["recorded_in_mint"] for step in replay["steps"]]
            assert await _won(household)


@pytest.mark.data
@installed
@together
async def test_the_second_of_two_shelves_at_one_place_is_seen_from_elsewhere_alone(
    data: Path, alfworld: Alfworld
) -> None:
    """The one observation of the verified runs that differs: an older engine went to where one stood."""
    tasks = {task.id: task for task in load_tasks(alfworld, data / "alfworld" / "index.jsonl").tasks}
    lines = (data / "alfworld" / "verified_replays.jsonl").read_text().splitlines()
    (replay,) = [
        replay
        for replay in map(json.loads, lines)
        if any(step["observation"] == "Nothing happens." for step in replay["steps"])
    ]
    number = [step["observation"] for step in replay["steps"]].index("Nothing happens.")
    steps = replay["steps"][: number + 3]
    async with alfworld.episode(tasks[f"alfworld/{replay['game']}"], NO_KERNELS) as household:
        said = await _walk(household, [step["action"] for step in steps])
    recorded = [step["recorded_in_mint"] for step in steps]
    assert said[number] == "Nothing happens."
    assert recorded[number] == said[number + 2] == "On the shelf 3, you see nothing."
    assert said[:number] + said[number + 1 :] == recorded[:number] + recorded[number + 1 :]
