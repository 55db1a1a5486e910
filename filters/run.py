"""Judging a store by a recipe: what was judged before is not judged again, and memory stays flat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from environments.types import Assessment, Json, Trajectory
from filters.filter import Reading, reads_errors
from filters.recipe import Recipe, Step, judge
from store import ledger
from store.ledger import Judgement
from store.load import load_trajectories
from store.store import Store


@dataclass(frozen=True, slots=True)
class StepCount:
    """What one step kept and, by reason, dropped."""

    step: Step
    kept: int
    dropped: Counter[str]


@dataclass(frozen=True, slots=True)
class Funnel:
    """How many trajectories there were and what each step left of them."""

    recipe: Recipe
    seen: int
    steps: tuple[StepCount, ...]

    @property
    def kept(self) -> int:
        return self.steps[-1].kept

    def as_json(self) -> Json:
        steps: list[Json] = [
            {"filter": one.step.filter.name, "parameters": dict(one.step.parameters), "kept": one.kept,
             "dropped": dict(one.dropped.most_common())}
            for one in self.steps
        ]  # fmt: skip
        return {"recipe": self.recipe.name, "seen": self.seen, "kept": self.kept, "steps": steps}


async def filter_store(store: Store, recipe: Recipe, *, run: str | None = None) -> Funnel:
    """Judge every ended trajectory, of one run or of all, and write verdicts and error events to the ledger."""
    async for ids in ledger.unsettled_ids(store, recipe.keys, reads_errors(0), run):
        judgements: list[Judgement] = []
        assessments: dict[int, Assessment] = {}
        async for trajectory in load_trajectories(store, ids=ids):
            reading = Reading(trajectory)
            judgements += _judgements(recipe, trajectory, reading)
            assessments[trajectory.id] = reading.assessment
        await ledger.record_page(store, judgements, assessments)
    return await read_funnel(store, recipe, run=run)


def _judgements(recipe: Recipe, trajectory: Trajectory, reading: Reading) -> list[Judgement]:
    verdicts = judge(recipe, trajectory, reading)
    return [Judgement(trajectory.id, step.key, verdict) for step, verdict in verdicts]


async def read_funnel(store: Store, recipe: Recipe, *, run: str | None = None) -> Funnel:
    """The funnel as the ledger has it; what was not judged yet is only counted as seen."""
    seen, tallies = await ledger.tally(store, recipe.keys, run)
    steps = zip(recipe.steps, tallies, strict=True)
    return Funnel(recipe, seen, tuple(StepCount(step, one.kept, one.dropped) for step, one in steps))
