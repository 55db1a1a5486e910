"""The run and its resuming: real kernels, real stores, a teacher at the seam."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collectors.config import RunConfig
from collectors.run import Collection
from collectors.teachers.retry import RetryPolicy
from collectors.teachers.teacher import RecordingEnded
from environments.environment import Episode, make_environment
from environments.faults import StoreFault, TeacherFault, UsageError
from environments.gsm8k import Gsm8k
from environments.kernels import KernelHost
from environments.tools import BadCall
from environments.types import Assessment, Call, Most, Reply, Request, Rules, Task, Trajectory, Usage, Work
from filters.filter import assess
from store.load import load_partial, load_trajectories
from store.store import Store, open_store

TASKS = tuple(Task(f"gsm8k/{n}", "gsm8k", f"What is twice {n}?", str(2 * n)) for n in (1, 2, 3))
CELL, RIGHT = "<execute>{}</execute>", "<solution>2</solution>"


class Taught:
    """Replies by turn; what is no text is called or raised. Counts what it was asked."""

    name = "taught:x"

    def __init__(self, *replies: str | Exception | Callable[[], str]) -> None:
        self.replies = list(replies)
        self.asked: list[Request] = []

    async def reply(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.turn >= len(self.replies):
            raise RecordingEnded("no more")
        said = self.replies[request.turn]
        if isinstance(said, Exception):
            raise said
        text = said if isinstance(said, str) else said()
        return Reply(text, self.name, "x", "stop", Usage(1, 1), 0.0, Decimal(1), {"text": text})

    def most(self, request: Request) -> Most | None:
        return Most(2, Decimal(1))

    async def aclose(self) -> None:
        return None


class Watcher:
    def __init__(self) -> None:
        self.trajectories: list[Trajectory] = []
        self.warnings: list[str] = []

    def planned(self, total: int, finished: int) -> None: ...

    def begun(self, trajectory_id: int, work: Work) -> None: ...

    def called(self, trajectory_id: int, teacher: str, call: Call) -> None: ...

    def replied(self, trajectory_id: int, reply: Reply) -> None: ...

    def ended(self, trajectory: Trajectory, assessment: Assessment) -> None:
        self.trajectories.append(trajectory)

    def ended_elsewhere(self, work: Work) -> None: ...

    def waiting(self, count: int) -> None: ...

    def warned(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(str(tmp_path / "e.db"), create=True) as opened:
        yield opened


@asynccontextmanager
async def collection(store: Store, *teachers: Taught, tasks: tuple[Task, ...] = TASKS[:1], **more: Any) -> Any:
    rules = more.pop("rules", Rules(cell_timeout=2.0))
    environment = more.pop("environment", None) or make_environment("gsm8k")
    config = RunConfig("gsm8k", tuple(teacher.name for teacher in teachers), rules=rules)
    async with environment, KernelHost("none") as kernels:
        yield Collection(
            "r", config, store=store, environment=environment, tasks=tasks, teachers=teachers, kernels=kernels,
            observer=more.pop("observer", Watcher()), assess=assess, **more,
        )  # fmt: skip


async def collect(store: Store, *teachers: Taught, **more: Any) -> Watcher:
    watcher = Watcher()
    async with collection(store, *teachers, observer=watcher, **more) as made:
        await made.collect(2)
    return watcher


async def interrupted(store: Store, *replies: str, **more: Any) -> Taught:
    """A trajectory that was stopped before its next reply."""
    teacher = Taught(*replies)
    async with collection(store, teacher, **more) as made:
        teacher.replies.append(lambda: made.stop() or CELL.format("print('last')"))
        await made.collect(1)
    return teacher


async def test_a_run_gone_on_with_asks_only_for_what_it_does_not_have(store: Store) -> None:
    first = await interrupted(store, CELL.format("import random\nx = random.random()\nprint(x)"))
    assert len(first.asked) == 2
    teacher = Taught("not asked", "not asked", CELL.format("print(x)"), RIGHT)
    (trajectory,) = (await collect(store, teacher)).trajectories
    assert [request.turn for request in teacher.asked] == [2, 3]
    assert trajectory.solved
    assert trajectory.turns[0].observation.text.split("\n")[1] == trajectory.turns[2].observation.text.split("\n")[1]
    async for stored in load_trajectories(store):
        assert stored.turns == trajectory.turns


@pytest.mark.parametrize(
    "code",
    [
        "import warnings\nwarnings.warn('careful')",
        "import numpy as np\nprint(np.array([1.0]) / 0)",
        "async def f(): pass\nf()",
        "%time x = 1",
        "print(object(), id)",
        "import os, tempfile; print(os.getcwd(), tempfile.mkdtemp())",
    ],
)
async def test_what_says_the_same_is_not_bought_again(store: Store, code: str) -> None:
    await interrupted(store, CELL.format(code))
    teacher = Taught("not asked", "not asked", RIGHT)
    await collect(store, teacher)
    assert [request.turn for request in teacher.asked] == [2]


async def test_after_a_cell_that_hit_its_limit_a_run_goes_on_from_the_fresh_session(store: Store) -> None:
    noisy = "import itertools\nfor n in itertools.count(): print(n)"
    await interrupted(store, CELL.format(noisy), CELL.format("y = 41"))
    began = asyncio.get_running_loop().time()
    teacher = Taught("not asked", "not asked", "not asked", CELL.format("print(y + 1)"), RIGHT)
    (trajectory,) = (await collect(store, teacher)).trajectories
    assert [request.turn for request in teacher.asked] == [3, 4]
    assert "42" in trajectory.turns[3].observation.text
    assert trajectory.turns[0].observation.result is not None
    assert trajectory.turns[0].observation.result.timed_out
    assert asyncio.get_running_loop().time() > began


class Stairs(Episode):
    """Holds a state that cells change by calls."""

    stateful = True
    height = 0

    def climb(self, steps: int) -> int:
        if steps > 10:
            raise BadCall("too many at once")
        self.height += steps
        return self.height


class Climbing(Gsm8k):
    functions = (Stairs.climb,)

    @asynccontextmanager
    async def episode(self, task: Task, kernels: KernelHost) -> AsyncIterator[Episode]:
        yield Stairs(self, task, kernels)


async def test_a_state_of_the_hosts_is_what_it_was_when_a_run_goes_on(store: Store) -> None:
    cells = ("climb(1)\nclimb(99)", "climb(2)\nimport os; os._exit(1)", "climb(4)")
    await interrupted(store, *map(CELL.format, cells), environment=Climbing())
    teacher = Taught(*["not asked"] * 4, CELL.format("print(climb(8))"))
    (trajectory,) = (await collect(store, teacher, environment=Climbing())).trajectories
    assert [request.turn for request in teacher.asked] == [4]
    assert [call.value for turn in trajectory.turns[:3] for call in turn.observation.result.calls] == [1, None, 3, 7]  # type: ignore[union-attr]
    assert "15" in trajectory.turns[4].observation.text


async def test_where_an_observation_differs_the_teacher_is_asked_anew(store: Store, tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("before")
    await interrupted(store, CELL.format(f"print(open({str(note)!r}).read())"), CELL.format("print(1)"))
    note.write_text("after")
    teacher = Taught("not asked", CELL.format("print(2)"), RIGHT)
    (trajectory,) = (await collect(store, teacher)).trajectories
    assert [request.turn for request in teacher.asked] == [1, 2]
    assert "after" in trajectory.turns[0].observation.text
    assert "after" in teacher.asked[0].messages[-1].content
    assert (await load_partial(store, trajectory.id)).turns == trajectory.turns


async def test_a_trajectory_ends_with_the_prompt_it_began_with(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await interrupted(store, CELL.format("print(1)"))
    monkeypatch.setattr(Gsm8k, "tools", property(lambda _: "Other tools."))
    teacher = Taught("not asked", "not asked", RIGHT)
    (trajectory,) = (await collect(store, teacher)).trajectories
    assert "Other tools." not in teacher.asked[0].messages[0].content
    assert "Other tools." not in trajectory.prompt.system


async def test_a_fault_of_an_environment_ends_its_own_trajectory_alone(store: Store) -> None:
    class Faulty(Gsm8k):
        def setup(self, task: Task) -> str:
            if task.id == "gsm8k/2":
                raise UsageError("gsm8k/2: its [/table] is missing \ud800")
            if task.id == "gsm8k/3":
                raise ZeroDivisionError("in the environment")
            return ""

    watcher = await collect(store, Taught(RIGHT), tasks=TASKS, environment=Faulty())
    assert [trajectory.task.id for trajectory in watcher.trajectories] == ["gsm8k/1"]
    assert len(watcher.warnings) == 2
    stops = {each.task.id: each.outcome.stop async for each in load_trajectories(store) if each.outcome}
    assert stops == {"gsm8k/1": "solved", "gsm8k/2": "failed", "gsm8k/3": "failed"}


async def test_a_teacher_whose_key_is_refused_is_asked_no_more_and_the_other_goes_on(store: Store) -> None:
    refused, other = Taught(TeacherFault("bad key", kind="denied", status=401)), Taught(RIGHT)
    refused.name = "refused:x"
    watcher = await collect(store, refused, other, tasks=TASKS * 1)
    assert len(refused.asked) <= 2
    assert len(watcher.trajectories) == 3
    assert any("bad key" in warning for warning in watcher.warnings)


async def test_stopping_does_not_wait_for_a_provider_that_asked_for_patience(store: Store) -> None:
    teacher = Taught(TeacherFault("slow down", kind="rate_limited", status=429, retry_after=60.0))
    async with collection(store, teacher, retries=RetryPolicy()) as made:
        working = asyncio.create_task(made.collect(1))
        while not teacher.asked:
            await asyncio.sleep(0.01)
        made.stop()
        await asyncio.wait_for(working, 20)
    assert len(teacher.asked) == 1


async def test_nothing_is_bought_on_a_disk_that_runs_low(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.store.LEAST_ROOM", 2**62)
    teacher = Taught(RIGHT)
    with pytest.raises(StoreFault, match="nothing more is bought"):
        await collect(store, teacher)
    assert teacher.asked == []


async def test_a_store_that_breaks_ends_the_run_in_one_word_after_what_is_under_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise StoreFault("the disk is gone")

    monkeypatch.setattr("store.log.TrajectoryLog.turn", broken)
    teacher = Taught(CELL.format("print(1)"))
    with pytest.raises(StoreFault, match="the disk is gone"):
        await collect(store, teacher, tasks=TASKS)
    assert len(teacher.asked) <= 2


async def test_attempts_go_round_by_round_and_have_seeds_of_their_own(store: Store) -> None:
    watcher = Watcher()
    teacher = Taught(CELL.format("import random; print(random.random())"), RIGHT)
    async with collection(store, teacher, tasks=TASKS[:1], observer=watcher) as made:
        made.config = replace(made.config, attempts=3)
        await made.collect(1)
    assert [trajectory.attempt for trajectory in watcher.trajectories] == [0, 1, 2]
    assert len({trajectory.turns[0].observation.text for trajectory in watcher.trajectories}) == 3
    assert len({trajectory.seed for trajectory in watcher.trajectories}) == 3
