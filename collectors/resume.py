"""Going on with a trajectory that an earlier process left unfinished.

After a timeout or a death its session was a fresh one anyway, so the turns up to there are taken as they
are; only where the host holds a state, as a game does, their calls are made again. The recorded replies
after that are handed back and their cells run again with the same seed, and what a function of the host's has
answered them is handed back likewise: Wikipedia may say something else today. As long as the observations agree,
the recorded turns stand and nothing is bought; where one differs, the new observation takes its place and
the teacher is asked anew from there, or the trajectory ends, as the run is told to do.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any, Literal, TypeAlias

from collectors.rollout import Ask
from environments.environment import Episode
from environments.kernels.calls import Calls, Question, checked
from environments.protocol.compare import apart, same_observation
from environments.tools import BadCall, Function, Idle, Missed, called
from environments.types import CellResult, Json, Reply, Request, ToolCall, Turn
from store.load import Partial
from store.log import TrajectoryLog

OnDivergence: TypeAlias = Literal["branch", "stop"]
"""What becomes of a trajectory whose code did something else this time: it branches there, or it ends."""


class Diverged(Exception):
    """A trajectory that is gone on with has come to something else than is recorded, and is not to branch there."""

    def __init__(self, turn: int, recorded: str, found: str) -> None:
        said, says = apart(recorded, found)
        super().__init__(f"turn {turn + 1} came to something else when it was run again: {said!r} was {says!r}")


class Resumed:
    """Stands between a rollout and both its teacher and its log."""

    def __init__(self, ask: Ask, log: TrajectoryLog, partial: Partial, on_divergence: OnDivergence = "branch") -> None:
        self._ask = ask
        self._log = log
        self._turns = partial.turns
        self._pending = partial.pending
        self._on_divergence = on_divergence
        self._answers = RecordedAnswers()
        self.done = partial.turns[: _fresh_from(partial.turns)]
        """Turns that need not be run again."""

    def functions(self, episode: Episode) -> Mapping[str, Function]:
        """What cells are to find: the episode's functions; while recorded turns are run again, as they answered."""
        functions = episode.functions()
        return functions if episode.stateful else self._answers.before(functions)

    async def restore(self, episode: Episode) -> None:
        """Bring the host's state to where the turns that are not run again have left it. Raises `Diverged`."""
        if not episode.stateful:
            return
        functions = episode.functions()
        for turn in self.done:
            calls = Calls(functions)
            for call in calls_of(turn):
                again = await calls.carry_out(Question(0, call.function, call.arguments))
                # There is no branching within a turn that is not run.
                if (again.value, again.error) != (call.value, call.error):
                    raise Diverged(turn.index, str(call.error or call.value), str(again.error or again.value))

    async def ask(self, request: Request) -> Reply:
        recorded = self._turns[request.turn] if request.turn < len(self._turns) else None
        self._answers.are_of(recorded)
        return self._recorded_reply(request.turn) or await self._ask(request)

    async def reply(self, index: int, reply: Reply) -> None:
        if self._recorded_reply(index) is None:
            await self._log.reply(index, reply)

    async def turn(self, turn: Turn) -> Turn:
        if turn.index >= len(self._turns):
            self._pending = None
            return await self._log.turn(turn)
        recorded = self._turns[turn.index]
        if _same(recorded, turn, [one.action.content for one in self._turns[: turn.index + 1]]):
            return recorded
        if self._on_divergence == "stop":
            raise Diverged(turn.index, recorded.observation.text, turn.observation.text)
        self._turns, self._pending = self._turns[: turn.index + 1], None
        return await self._log.branch(turn, recorded)

    def _recorded_reply(self, index: int) -> Reply | None:
        if index < len(self._turns):
            return self._turns[index].reply
        return self._pending if index == len(self._turns) else None


class RecordedAnswers:
    """What functions of the host's have answered a turn's cell, in order, for as long as it asks the same again.

    From the first call that is another, the functions themselves are asked.
    """

    def __init__(self) -> None:
        self._functions: Mapping[str, Function] = {}
        self._left: deque[ToolCall] = deque()

    def before(self, functions: Mapping[str, Function]) -> Mapping[str, Function]:
        """The functions, to look at just the same, each with the recorded answers before its own."""
        self._functions = functions
        return {name: self._answering(name, function) for name, function in functions.items()}

    def are_of(self, turn: Turn | None) -> None:
        """The turn that is run next; None for one that was not run before."""
        self._left = deque(call for call in calls_of(turn) if self._reached(call)) if turn else deque()

    def _reached(self, call: ToolCall) -> bool:
        """Whether it came to the function at all, and was not refused before."""
        try:
            return call.function in self._functions and bool([checked(self._functions[call.function], call.arguments)])
        except BadCall:
            return False

    def _answering(self, name: str, function: Function) -> Function:
        @wraps(function)
        async def answer(**arguments: Json) -> Any:
            call = self._next(name, arguments)
            return await called(function, arguments) if call is None else _answer(call)

        return answer

    def _next(self, function: str, arguments: Mapping[str, Json]) -> ToolCall | None:
        if self._left and (self._left[0].function, _key(self._left[0].arguments)) == (function, _key(arguments)):
            return self._left.popleft()
        self._left.clear()
        return None


def calls_of(turn: Turn) -> tuple[ToolCall, ...]:
    return (turn.observation.result or CellResult()).calls


def _answer(call: ToolCall) -> Json:
    """Raises `BadCall` for a call that was refused."""
    if call.error is not None:
        raise BadCall(call.error)
    if isinstance(call.value, str) and call.event is not None:
        return Idle(call.value) if call.event == "E5" else Missed(call.value)
    return call.value


def _key(arguments: Mapping[str, Json]) -> str:
    """Not what Python calls equal: 1, 1.0 and True are three arguments, and nan is one."""
    return json.dumps(arguments, sort_keys=True)


def _same(recorded: Turn, turn: Turn, cells: Sequence[str]) -> bool:
    """A state of the host's is judged after every cell, and its grade stands in no observation."""
    was, is_now = (one.grade.correct if one.grade else None for one in (recorded, turn))
    return same_observation(recorded.observation, turn.observation, cells) and was == is_now


def _fresh_from(turns: tuple[Turn, ...]) -> int:
    """The index of the first turn whose session was fresh and has lasted since."""
    results = ((turn.index, turn.observation.result) for turn in turns)
    return max((index + 1 for index, result in results if result and (result.timed_out or result.died)), default=0)
