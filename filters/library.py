"""The filters that come with Errata. One that is kept says so too: a verdict without a reason cannot be read."""

from __future__ import annotations

from typing import get_args

from environments.protocol.compare import COMPARE_VERSION
from environments.types import Json, RecoveryLevel, Trajectory, Verdict
from filters.filter import Reading, named, reads_errors

_LEVELS: tuple[RecoveryLevel, ...] = get_args(RecoveryLevel)


@named("solved", version=1)
def solved(trajectory: Trajectory, reading: Reading) -> Verdict:
    """Keeps what was solved, by the outcome and by the grade it rests on."""
    if not trajectory.solved:
        return Verdict(False, f"not solved: {trajectory.outcome.stop if trajectory.outcome else 'under way'}")
    grade = trajectory.turns[-1].grade if trajectory.turns else None
    if grade is None or not grade.correct:
        return Verdict(False, "solved by its outcome, not by its last grade")
    return Verdict(True, "solved")


@named("verified", version=COMPARE_VERSION)
def verified(trajectory: Trajectory, reading: Reading) -> Verdict:
    """Keeps what came to the same when `errata verify` ran it again; what it has not run is dropped."""
    if trajectory.verified is None:
        return Verdict(False, "not verified")
    return Verdict(trajectory.verified, "verified" if trajectory.verified else "no longer holds")


@named("errors_recovered", version=reads_errors(1))
def errors_recovered(
    trajectory: Trajectory, reading: Reading, *, min_level: RecoveryLevel = "R2", beyond_form: bool = True
) -> Verdict:
    """Keeps what reached a recovery level; `beyond_form` asks for a fixed error that is more than form (E3)."""
    found = reading.recovery
    spans = [list(span) for span in found.spans]
    evidence: dict[str, Json] = {
        "level": found.level, "spans": spans, "classes": list(found.classes), "unfixed": found.unfixed,
    }  # fmt: skip
    if _LEVELS.index(found.level) < _LEVELS.index(min_level):
        return Verdict(False, f"{found.level}: {_MEANING[found.level]}", evidence)
    if beyond_form and not set(found.classes) - {"E3"}:
        return Verdict(False, f"{found.level}: nothing fixed but form" if found.classes else "nothing fixed", evidence)
    return Verdict(True, f"{found.level}: {_MEANING[found.level]}", evidence)


_MEANING: dict[RecoveryLevel, str] = {
    "U": "not solved",
    "R0": "no error",
    "R1": "errors bypassed",
    "R2": "an error fixed",
    "R3": "an error fixed, and the fix used",
    "R4": "several fixed and used",
}


@named("published_rule", version=1)
def published_rule(trajectory: Trajectory, reading: Reading) -> Verdict:
    """The rule of the published CodeActInstruct as it was coded, so that both can be compared.

    It looks for `Error` in the text and asks only that not every earlier turn was one: a run without
    any error passes.
    """
    *earlier, _last = trajectory.turns or (None,)
    malformed = sum(turn.action.kind == "malformed" for turn in trajectory.turns)
    if not trajectory.solved:
        return Verdict(False, "not solved")
    if len(trajectory.turns) <= 2:
        return Verdict(False, "at most two turns")
    if trajectory.task.environment.partition(":")[0] == "strategyqa":
        return Verdict(False, "a yes/no task")
    if malformed == len(trajectory.turns) - 1:
        return Verdict(False, "every earlier action malformed")
    if all(_looks_wrong(turn.spoken, turn.observation.text) for turn in earlier if turn):
        return Verdict(False, "every earlier turn an error")
    return Verdict(True, "solved in more than two turns")


def _looks_wrong(said: str, told: str) -> bool:
    return "<solution>" in said or ("<execute>" in said and "Error" in told)
