"""Makers of trajectories for tests: from replies and what came of them, and back out of a real store."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from environments.protocol.parse import POLICIES
from environments.protocol.render import cell_text, correct_text, observe, wrong_text
from environments.types import (
    CellResult,
    Grade,
    Observation,
    Outcome,
    Prompt,
    Reply,
    Rules,
    Run,
    Task,
    Trajectory,
    Turn,
    Usage,
    Work,
)
from store.lease import Lease
from store.load import load_trajectory
from store.log import Beginning, Claimed, TrajectoryLog, add_prompt, add_tasks, claim, ensure_run
from store.store import Store

PROMPT = Prompt("You solve tasks.", "Task:\nAn example.\n\nAssistant:\n<solution> 1 </solution>")


class Session(Protocol):
    async def run(self, code: str) -> CellResult: ...


def make_reply(text: str) -> Reply:
    return Reply(text, "scripted:tape", "tape-1", "stop", Usage(10, 5), 0.1, Decimal("0.001"), {"text": text})


def make_turn(
    index: int, text: str, result: CellResult | None = None, grade: Grade | None = None, rules: Rules | None = None
) -> Turn:
    """A turn whose action is what the protocol reads in the reply."""
    rules = rules or Rules()
    action = POLICIES[rules.policy](text)
    body = cell_text(result, rules.observation_limit) if result else "…"
    body = body if grade is None else correct_text() if grade.correct else wrong_text()
    observation = Observation(observe(body, rules, index + 1, 0), result)
    return Turn(index, make_reply(text), action, observation, grade)


def make_trajectory(turns: Sequence[Turn], *, number: int = 1, rules: Rules | None = None) -> Trajectory:
    """Solved when its last grade says so."""
    solved = bool(turns) and turns[-1].grade is not None and turns[-1].grade.correct
    task = Task(f"math/{number}", "math", "What is 1+1?", "2")
    return Trajectory(
        number, "r", task, "scripted:tape", 0, PROMPT, rules or Rules(), tuple(turns),
        Outcome("solved" if solved else "max_turns"), "none", 0,
    )  # fmt: skip


def execute(code: str) -> str:
    return f"<thought> Let me see. </thought>\n<execute>\n{code}\n</execute>"


def solve(answer: str) -> str:
    return f"The answer is <solution> {answer} </solution>"


async def play(session: Session, *replies: str, answer: str = "2") -> Trajectory:
    """The replies carried out in a real Python session and graded against `answer`."""
    turns: list[Turn] = []
    for index, text in enumerate(replies):
        action = POLICIES["first-action"](text)
        result = await session.run(action.content) if action.kind == "code" else None
        correct = action.content == answer
        grade = Grade(correct, float(correct)) if action.kind == "solution" else None
        turns.append(make_turn(index, text, result, grade))
    return make_trajectory(turns)


async def put(store: Store, trajectory: Trajectory, outcome: Outcome | None = None) -> Trajectory:
    """The trajectory written to the store by the log, and read back."""
    run_id = await ensure_run(store, Run(trajectory.run, {"environment": "math"}), trajectory.rules)
    await add_prompt(store, trajectory.prompt)
    tasks = await add_tasks(store, [trajectory.task])
    work = Work(trajectory.task.id, trajectory.teacher, trajectory.attempt)
    task = trajectory.task
    beginning = Beginning(work, tasks[task.id], task.environment, trajectory.prompt, "none", 0, {})
    lease = Lease(run_id, 1)
    claimed = await claim(store, lease, beginning)
    assert isinstance(claimed, Claimed)
    log = TrajectoryLog(store, lease, claimed.id)
    for turn in trajectory.turns:
        await log.reply(turn.index, turn.reply)
        await log.turn(turn)
    await log.end(outcome or trajectory.outcome or Outcome("max_turns"))
    return await load_trajectory(store, claimed.id)
