"""Which errors were put right, and how far a trajectory got by that.

An error is fixed by a later *linked* action of the same intent that succeeds without its signature and
in which what failed has changed. Levels: U not solved, R0 no error, R1 solved and every error bypassed,
R2 at least one fixed. A doubt counts as not fixed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from environments.teacher_code import canonical, defines, literal_calls
from environments.types import ErrorClass, ErrorEvent, Recovery, RecoveryLevel, Trajectory, Turn
from filters.linking import doing, holds, linked, missing, names, similar

RECOVERY_VERSION = 2

_BREAKS: frozenset[ErrorClass] = frozenset({"E1", "E1s", "E2"})
_BARREN: frozenset[ErrorClass] = frozenset({*_BREAKS, "E5", "E6"})
_SYNTAX = frozenset({"SyntaxError", "IndentationError", "TabError"})


def recovery(trajectory: Trajectory, events: Sequence[ErrorEvent]) -> Recovery:
    """`events` are the trajectory's own. `classes` are those of its fixed errors."""
    course = _Course(trajectory.turns, tuple(events))
    fixes = [(event, course.fix(event)) for event in events]
    fixed = [(event, turn) for event, turn in fixes if turn is not None]
    return Recovery(
        _level(trajectory, events, bool(fixed)),
        spans=tuple(sorted({(event.turn, turn) for event, turn in fixed})),
        classes=tuple(sorted({event.kind for event, _ in fixed})),
        unfixed=len(fixes) - len(fixed),
    )


def _level(trajectory: Trajectory, events: Sequence[ErrorEvent], any_fixed: bool) -> RecoveryLevel:
    if not trajectory.solved:
        return "U"
    if not events:
        return "R0"
    return "R2" if any_fixed else "R1"


@dataclass(frozen=True, slots=True)
class _Course:
    """A trajectory's turns with their errors."""

    turns: tuple[Turn, ...]
    events: tuple[ErrorEvent, ...]

    def fix(self, event: ErrorEvent) -> int | None:
        """The first later turn that puts the error right."""
        if event.kind == "E7":
            return self._fix_of_repeated(event)
        is_fix = _RULES.get(event.kind)
        later = (turn for turn in self.turns if turn.index > event.turn)
        return next((turn.index for turn in later if is_fix and is_fix(self, event, turn)), None)

    def _fix_of_repeated(self, event: ErrorEvent) -> int | None:
        """An action repeated is put right where the error it repeated is."""
        again = (other for other in self.events if other.turn == event.turn and other.kind != "E7")
        return next((turn for other in again if (turn := self.fix(other)) is not None), None)

    def code(self, index: int) -> str:
        return next(turn.action.content for turn in self.turns if turn.index == index)

    def ran(self, turn: Turn, free_of: frozenset[ErrorClass]) -> bool:
        """Whether this turn ran code, and none of these errors came of it."""
        kinds = {event.kind for event in self.events if event.turn == turn.index}
        return turn.action.kind == "code" and not kinds & free_of


def _mends_statement(course: _Course, event: ErrorEvent, turn: Turn) -> bool:
    """E1 and E1s: later code takes up the failing statement, changed, and runs."""
    code = turn.action.content
    if not course.ran(turn, _BREAKS):
        return False
    if event.detail.get("name") in _SYNTAX:
        return similar(course.code(event.turn), code, 0.5)
    failing = str(event.detail.get("statement") or course.code(event.turn))
    if failing.startswith("assert"):  # The same holds of other code; one dropped or rewritten mends nothing.
        return holds(code, failing) and canonical(course.code(event.turn)) != canonical(code)
    if holds(code, failing):
        return _was_supplied(course, event, turn) and linked(failing, code)
    # To look elsewhere mends nothing, save where a misspelt name was only to be looked at.
    misspelt = event.detail.get("name") == "NameError" and not doing(failing)
    return linked(failing, code if misspelt else doing(code), missing(event))


def _was_supplied(course: _Course, event: ErrorEvent, turn: Turn) -> bool:
    """Whether a name that was missing has been defined since, so that the same line may stand."""
    if event.detail.get("name") not in ("NameError", "ImportError", "ModuleNotFoundError"):
        return False
    since = [other.action.content for other in course.turns if event.turn < other.index <= turn.index]
    return any(defines(code, name) for code in since for name in missing(event))


def _mends_limit(course: _Course, event: ErrorEvent, turn: Turn) -> bool:
    """E2: other code about the same names runs to its end."""
    failed, code = course.code(event.turn), turn.action.content
    changed = canonical(failed) != canonical(code)
    return course.ran(turn, _BREAKS) and changed and bool(names(failed) & names(code))


def _mends_form(course: _Course, event: ErrorEvent, turn: Turn) -> bool:
    return not any(other.turn == turn.index and other.kind == "E3" for other in course.events)


def _mends_answer(course: _Course, event: ErrorEvent, turn: Turn) -> bool:
    return turn.grade is not None and turn.grade.correct


def _mends_act(course: _Course, event: ErrorEvent, turn: Turn) -> bool:
    """E5: the same tool on one of the same things does something; what had to change may be the world, not the code."""
    failed = cast("Sequence[Sequence[str]]", event.detail.get("acts", ()))
    calls = _calls(turn)
    if not calls:
        return _same_act(failed, literal_calls(turn.action.content)) and course.ran(turn, _BARREN)
    return _same_act(failed, [act for act, came_to_nothing in calls if not came_to_nothing])


def _same_act(failed: Sequence[Sequence[str]], later: Sequence[Sequence[str]]) -> bool:
    return any(one[0] == other[0] and {*one[1:]} & {*other[1:]} for one in failed for other in later)


def _mends_search(course: _Course, event: ErrorEvent, turn: Turn) -> bool:
    """E6: another question about the same names finds something."""
    calls = _calls(turn)
    if calls and "acts" in event.detail:
        failed = cast("Sequence[Sequence[str]]", event.detail["acts"])
        found = [act for act, came_to_nothing in calls if not came_to_nothing]
        return any(
            one[0] == other[0] and one != other and _words(one) & _words(other) for one in failed for other in found
        )
    before, code = course.code(event.turn), turn.action.content
    return course.ran(turn, _BARREN) and canonical(before) != canonical(code) and linked(before, code)


def _calls(turn: Turn) -> list[tuple[tuple[str, ...], bool]]:
    """The functions of the host that a cell has called, with their arguments, and whether that came to nothing."""
    made = turn.observation.result.calls if turn.observation.result else ()
    return [
        ((call.function, *map(str, call.arguments.values())), call.error is not None or call.event is not None)
        for call in made
    ]


def _words(act: Sequence[str]) -> frozenset[str]:
    """Those of a question that tell something."""
    return frozenset(word for text in act[1:] for word in re.findall(r"\w{4,}", text.casefold()))


_RULES: MappingProxyType[ErrorClass, Callable[[_Course, ErrorEvent, Turn], bool]] = MappingProxyType(
    {
        "E1": _mends_statement,
        "E1s": _mends_statement,
        "E2": _mends_limit,
        "E3": _mends_form,
        "E4": _mends_answer,
        "E5": _mends_act,
        "E6": _mends_search,
    }
)
