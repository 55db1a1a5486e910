"""The tape of `errata demo`: what stands on it is parsed, run and graded for real, and goes as it was written to go."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from cli.demo import ENVIRONMENTS
from cli.envs import listed
from collectors.rollout import Rollout
from collectors.teachers.scripted import DEMO_TAPE, ScriptedTeacher, read_tape
from collectors.teachers.teacher import Sampling, TeacherSpec
from environments.environment import Environment, make_environment
from environments.errors import error_events
from environments.kernels import KernelHost
from environments.protocol.parse import first_action
from environments.protocol.render import make_prompt
from environments.sources import load_tasks
from environments.types import Oddity, Outcome, Reply, Rules, StopReason, Task, Trajectory, Turn

PLAYED = ENVIRONMENTS
RULES = Rules()

# A word for each turn: the exception's name; `swallowed` (printed by a broad handler), `empty` (no rows, no page),
# `idle` (the household did nothing), `ran`, `won` (the game with it); `malformed`; `wrong`, `right` for solutions.
INTENDED: dict[str, str] = {
    # right at once
    "math/sine-plus-cosine": "right",
    "math/median-length": "ran right",
    "math/digit-sum-20": "ran right",
    "tables:sql/brannick-women-wins": "ran right",
    "tables:pandas/vell-largest-northhead": "ran right",
    "tables:sql/ferry-longest-service": "ran right",
    "hotpotqa/both-operas": "ran right",
    "hotpotqa/works-founder": "ran ran right",
    "apps/meeting-islands": "ran right",
    "gsm8k/bakery-trays": "ran right",
    "gsm8k/reading-pace": "ran right",
    "humaneval/demo-decode-steps": "ran ran right",
    "mbpp/swap-case-words": "ran right",
    "alfworld/pick_cool_then_place_in_recep-Plate-Microwave-kitchen/demo-11": "ran won",
    "alfworld/pick_and_place_simple-KeyChain-Drawer-livingroom/demo-10": "ran won",
    "tables:sql/vell-average-population": "ran ran right",
    "tables:sql/brannick-women-gap": "ran right",
    "tables:pandas/vell-lost-people": "ran right",
    "tables:pandas/brannick-women-wins": "ran right",
    # only the form put right
    "math/powers-mod-13": "malformed ran right",
    # the error left behind, and the answer found without that code
    "math/chord-length": "TypeError right",
    "tables:pandas/ferry-cars-difference": "KeyError right",
    # one error, corrected
    "math/multiples-6-14": "ran wrong ran right",
    "math/tangent-line": "SympifyError ran right",
    "tables:sql/ferry-largest-scrapped": "ran wrong ran right",
    "tables:sql/kestrel-losses-1992": "empty ran right",
    "tables:sql/kestrel-top-scorer": "OperationalError ran right",
    "tables:sql/kestrel-top-three": "swallowed ran right",
    "tables:sql/orrin-closed-1970": "OperationalError ran right",
    "tables:pandas/kestrel-scorers-goals": "IndexError ran right",
    "tables:pandas/vell-average-population": "ran wrong ran ran right",
    "tables:sql/ferry-cars-difference": "IndexError ran right",
    "tables:sql/vell-largest-northhead": "OperationalError ran right",
    "tables:sql/kestrel-scorers-goals": "empty ran right",
    "tables:sql/brannick-finishers": "ran wrong ran right",
    "tables:sql/orrin-shortest-open": "ran wrong ran right",
    "tables:pandas/ferry-largest-scrapped": "TypeError ran right",
    "tables:pandas/ferry-average-tonnage": "empty ran right",
    "tables:pandas/kestrel-losses-1992": "IndexError ran right",
    "tables:pandas/kestrel-top-scorer": "KeyError ran right",
    "tables:pandas/orrin-closed-1970": "TypeError ran right",
    "hotpotqa/lighthouse-architect": "IndexError ran right",
    "hotpotqa/orrin-mills": "ran wrong ran right",
    "hotpotqa/first-lit": "AttributeError ran right",
    "hotpotqa/oswin-born": "empty ran right",
    "hotpotqa/hymns-instrument": "TypeError ran ran right",
    "hotpotqa/cup-captain": "ran wrong ran right",
    "hotpotqa/more-passengers": "ran wrong ran right",
    "hotpotqa/both-tributaries": "ToolError ran right",
    "gsm8k/ferry-tickets": "NameError ran right",
    "gsm8k/garden-fence": "ran wrong ran right",
    "gsm8k/apple-crates": "ValueError ran right",
    "humaneval/demo-longest-gap": "IndexError ran right",
    "humaneval/demo-mix-paint": "ran wrong right",
    "humaneval/demo-safe-share": "wrong right",
    "mbpp/shared-divisors": "ZeroDivisionError ran right",
    "mbpp/circle-chord": "AttributeError ran right",
    "mbpp/tree-depth": "AttributeError ran right",
    "mbpp/running-median": "ran wrong ran right",
    "apps/ferry-queue": "ran wrong ran right",
    "apps/tide-table": "IndexError ran right",
    "apps/shared-boat": "TypeError ran right",
    "apps/mean-wind": "ran wrong right",
    "apps/knot-code": "ValueError ran right",
    "alfworld/pick_and_place_simple-Mug-Microwave-kitchen/demo-6": "ran idle ran won",
    "alfworld/look_at_obj_in_light-Pencil-DeskLamp-bedroom/demo-0": "FileNotFoundError idle won",
    "alfworld/pick_clean_then_place_in_recep-SoapBar-Cabinet-bathroom/demo-10": "ran idle won",
    "alfworld/pick_heat_then_place_in_recep-Apple-Fridge-kitchen/demo-5": "ran TypeError won",
    "alfworld/pick_two_obj_and_place-Watch-Drawer-livingroom/demo-3": "ran idle won",
    "alfworld/look_at_obj_in_light-KeyChain-DeskLamp-bedroom/demo-7": "ran idle won",
    # two errors, corrected
    "math/sum-of-cubes": "NameError TypeError ran right",
    "math/product-multiple-of-6": "NameError ran wrong ran right",
    "math/inverse-squares": "AttributeError ran wrong ran right",
    "tables:sql/vell-lost-people": "OperationalError ran wrong ran right",
    "tables:sql/orrin-last-opened": "ran wrong NameError ran right",
    "tables:pandas/ferry-longest-service": "TypeError ValueError ran right",
    "tables:pandas/kestrel-top-three": "TypeError ran wrong ran right",
    "tables:pandas/brannick-finishers": "ValueError ran malformed right",
    "tables:pandas/brannick-women-gap": "ran wrong KeyError ran right",
    "tables:pandas/orrin-shortest-open": "AttributeError NameError ran right",
    # never right
    "math/monotone-digits": "wrong ran wrong",
    "math/floor-quadratic": "NotImplementedError TypeError ValueError ValueError wrong",
    "tables:sql/ferry-average-tonnage": "ran wrong wrong",
    "tables:pandas/orrin-last-opened": "ran wrong ran wrong",
}

ODD: dict[tuple[str, int], tuple[Oddity, ...]] = {
    ("math/powers-mod-13", 0): ("no_tag", "markdown_fence"),
    ("math/digit-sum-20", 0): ("both_tags", "text_after_block", "invented_observation"),
    ("tables:pandas/brannick-finishers", 2): ("unclosed",),
}

WORDS = {"E1s": "swallowed", "E3": "malformed", "E4": "wrong", "E5": "idle", "E6": "empty"}
KINDS = {"right": "solution", "wrong": "solution", "malformed": "malformed"}


def intended_stop(words: str) -> StopReason:
    if words.endswith(("right", "won")):
        return "solved"
    return "max_solutions" if words.split().count("wrong") == RULES.max_solutions else "max_turns"


def replies() -> dict[str, list[str]]:
    return {task: list(texts) for (task, _), texts in read_tape(DEMO_TAPE).items()}


@pytest.mark.parametrize("name", PLAYED)
def test_every_bundled_row_is_a_task(name: str) -> None:
    environment = make_environment(name)
    loaded = load_tasks(environment, environment.demo)
    assert loaded.problems == ()
    assert len(loaded.tasks) >= 4


@pytest.mark.parametrize("name", ["math", "gsm8k", "tables:sql", "tables:pandas", "hotpotqa"])
async def test_every_bundled_reference_answers_its_own_task(name: str) -> None:
    async with make_environment(name) as environment:
        for task in tasks(environment):
            assert (await environment.grade(task, reference(task))).correct, task.id


def reference(task: Task) -> str:
    if isinstance(task.reference, str):
        return task.reference
    match task.reference:
        case {"targets": [str(only)]} | [str(only), *_]:
            return only
    raise AssertionError(f"{task.id}: one answer is expected, not {task.reference}")


def test_the_tape_plays_every_bundled_task_of_the_demo() -> None:
    bundled = {task.id for name in PLAYED for task in tasks(make_environment(name))}
    assert set(replies()) == bundled == set(INTENDED)


def test_every_reply_means_what_it_was_written_to_mean() -> None:
    for task, texts in replies().items():
        actions = [first_action(text) for text in texts]
        assert [action.kind for action in actions] == [KINDS.get(word, "code") for word in INTENDED[task].split()], task
        for index, action in enumerate(actions):
            assert action.oddities == ODD.get((task, index), ()), (task, index)


def test_an_observation_invented_on_the_tape_does_not_enter_the_conversation() -> None:
    text = replies()["math/digit-sum-20"][0]
    spoken = text[: first_action(text).end]
    assert "Observation:" in text
    assert spoken.endswith("</execute>")


def skip_what_is_not_installed(name: str) -> None:
    found = listed(name)
    if found and found.missing:
        pytest.skip(f"{name} needs {found.install}")


@pytest.mark.parametrize("name", PLAYED)
async def test_every_trajectory_of_the_demo_goes_as_intended(name: str) -> None:
    skip_what_is_not_installed(name)
    played = await play(name)
    assert {task: words(trajectory) for task, trajectory in played.items()} == intended(name)
    assert {task: stop(trajectory) for task, trajectory in played.items()} == {
        task: intended_stop(said) for task, said in intended(name).items()
    }


def intended(name: str) -> dict[str, str]:
    return {task: said for task, said in INTENDED.items() if task.startswith(f"{name}/")}


def words(trajectory: Trajectory) -> str:
    errors = defaultdict(list)
    for event in error_events(trajectory):
        errors[event.turn].append(WORDS.get(event.kind) or event.detail["name"])
    return " ".join("+".join(map(str, errors[turn.index])) or _unfailing(turn) for turn in trajectory.turns)


def _unfailing(turn: Turn) -> str:
    if turn.action.kind == "solution":
        return "right"
    return "won" if turn.grade and turn.grade.correct else "ran"


def stop(trajectory: Trajectory) -> str:
    assert trajectory.outcome
    return trajectory.outcome.stop


# -- playing it ----------------------------------------------------------------------------------


class Unwritten:
    """A log that keeps nothing."""

    async def reply(self, index: int, reply: Reply) -> None:
        return

    async def turn(self, turn: Turn) -> Turn:
        return turn


def tasks(environment: Environment) -> tuple[Task, ...]:
    return load_tasks(environment, environment.demo).tasks


async def play(name: str) -> dict[str, Trajectory]:
    environment, taped, two_at_once = make_environment(name), replies(), asyncio.Semaphore(2)

    async with environment, KernelHost("none") as kernels:

        async def one(task: Task) -> Trajectory:
            async with two_at_once:
                return await rollout(environment, kernels, task)

        done = await asyncio.gather(*[one(task) for task in tasks(environment) if task.id in taped])
    return {trajectory.task.id: trajectory for trajectory in done}


async def rollout(environment: Environment, kernels: KernelHost, task: Task) -> Trajectory:
    teacher = ScriptedTeacher(TeacherSpec.parse("scripted:demo"), Sampling())
    prompt = make_prompt(environment, RULES, task)
    async with (
        environment.episode(task, kernels) as episode,
        await kernels.session(
            setup=environment.setup(task), preload=environment.preload, functions=episode.functions()
        ) as session,
    ):
        run = Rollout(episode, session, teacher.reply, Unwritten(), prompt, RULES, attempt=0)
        outcome: Outcome = await run.play()
    return Trajectory(1, "demo", task, teacher.name, 0, prompt, RULES, run.turns, outcome, kernels.isolation, seed=0)
