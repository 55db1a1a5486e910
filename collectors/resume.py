"""Going on with a trajectory that an earlier process left unfinished.

After a timeout or a death its session was a fresh one anyway, so the turns up to there are taken as they
are; only where the host holds a state, as a game does, their calls are made again. The recorded replies
after that are handed back and their cells run again with the same seed. As long as the observations agree,
the recorded turns stand and nothing is bought; where one differs, the new observation takes its place and
the teacher is asked anew from there.
"""

from __future__ import annotations

from contextlib import suppress

from collectors.rollout import Ask
from environments.environment import Episode
from environments.protocol.compare import same_observation
from environments.tools import BadCall, called
from environments.types import CellResult, Reply, Request, Turn
from store.load import Partial
from store.log import TrajectoryLog


class Resumed:
    """Stands between a rollout and both its teacher and its log."""

    def __init__(self, ask: Ask, log: TrajectoryLog, partial: Partial) -> None:
        self._ask = ask
        self._log = log
        self._turns = partial.turns
        self._pending = partial.pending
        self.done = partial.turns[: _fresh_from(partial.turns)]
        """Turns that need not be run again."""

    async def restore(self, episode: Episode) -> None:
        """Bring the host's state to where the turns that are not run again have left it."""
        if not episode.stateful:
            return
        functions = episode.functions()
        for call in [call for turn in self.done for call in (turn.observation.result or CellResult()).calls]:
            # What was refused then is refused now.
            with suppress(BadCall):
                await called(functions[call.function], call.arguments)

    async def ask(self, request: Request) -> Reply:
        return self._recorded_reply(request.turn) or await self._ask(request)

    async def reply(self, index: int, reply: Reply) -> None:
        if self._recorded_reply(index) is None:
            await self._log.reply(index, reply)

    async def turn(self, turn: Turn) -> Turn:
        if turn.index >= len(self._turns):
            self._pending = None
            return await self._log.turn(turn)
        recorded = self._turns[turn.index]
        if same_observation(recorded.observation, turn.observation):
            return recorded
        self._turns, self._pending = self._turns[: turn.index + 1], None
        return await self._log.branch(turn, recorded)

    def _recorded_reply(self, index: int) -> Reply | None:
        if index < len(self._turns):
            return self._turns[index].reply
        return self._pending if index == len(self._turns) else None


def _fresh_from(turns: tuple[Turn, ...]) -> int:
    """The index of the first turn whose session was fresh and has lasted since."""
    results = ((turn.index, turn.observation.result) for turn in turns)
    return max((index + 1 for index, result in results if result and (result.timed_out or result.died)), default=0)
