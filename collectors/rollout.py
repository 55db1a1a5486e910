"""The loop: one teacher, one task, one Python session, until it is solved or its chances are used up.

It knows neither SQL nor providers. Whoever drives it hands in how to ask the teacher and where to log,
and the log is told of a reply before its code runs, so a reply that was paid for is never lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from collectors.teachers.teacher import RecordingEnded
from environments.environment import Episode
from environments.protocol import render
from environments.protocol.parse import POLICIES, STOP
from environments.types import (
    Action,
    CellResult,
    Grade,
    Message,
    Observation,
    Outcome,
    Prompt,
    Reply,
    Request,
    Rules,
    Turn,
)

Ask = Callable[[Request], Awaitable[Reply]]


class Log(Protocol):
    """Where a rollout is written down. Each call returns once it is durable."""

    async def reply(self, index: int, reply: Reply) -> None: ...

    async def turn(self, turn: Turn) -> Turn:
        """Write the turn; the one that counts is returned, which on a resume is the one recorded before."""
        ...


class Session(Protocol):
    """A Python session that outlives its cells, and after a timeout or death is a fresh one."""

    async def run(self, code: str, timeout: float | None = None) -> CellResult: ...  # noqa: ASYNC109 - it interrupts


class Rollout:
    """One attempt at one task. `turns` are those taken before, where it goes on from some."""

    def __init__(
        self,
        episode: Episode,
        session: Session,
        ask: Ask,
        log: Log,
        prompt: Prompt,
        rules: Rules,
        attempt: int,
        turns: tuple[Turn, ...] = (),
    ) -> None:
        self.episode, self.session, self.ask, self.log = episode, session, ask, log
        self.prompt, self.rules, self.attempt = prompt, rules, attempt
        self.parse = POLICIES[rules.policy]
        self.turns = turns

    async def play(self) -> Outcome:
        """Take turns until the end. Infrastructure faults pass through: they are nobody's outcome."""
        while (outcome := self._outcome()) is None:
            try:
                reply = await self.ask(self._request())
            except RecordingEnded as ended:
                return Outcome("recording_ended", str(ended))
            await self.log.reply(len(self.turns), reply)
            turn = await self.log.turn(await self._act(reply))
            self.turns += (turn,)
        return outcome

    def _outcome(self) -> Outcome | None:
        last = self.turns[-1] if self.turns else None
        if last and last.grade and last.grade.correct:
            return Outcome("solved")
        if self._solutions_used() >= self.rules.max_solutions:
            return Outcome("max_solutions")
        return Outcome("max_turns") if len(self.turns) >= self.rules.max_turns else None

    def _request(self) -> Request:
        messages: tuple[Message, ...] = render.conversation(self.prompt, self.episode.task, self.turns)
        return Request(self.episode.task.id, self.attempt, len(self.turns), messages, (STOP,), self.turns)

    async def _act(self, reply: Reply) -> Turn:
        """Carry out what the reply means, and put into words what came of it."""
        action = self.parse(reply.text)
        result, grade = await self._carry_out(action)
        body = self._words(action, result, grade)
        text = render.observe(
            body, self.rules, len(self.turns) + 1, self._solutions_used() + (action.kind == "solution")
        )
        return Turn(len(self.turns), reply, action, Observation(text, result), grade)

    async def _carry_out(self, action: Action) -> tuple[CellResult | None, Grade | None]:
        if action.kind == "code":
            return await self.session.run(action.content, self.rules.cell_timeout), await self.episode.judge_state()
        if action.kind == "solution":
            return None, await self.episode.grade(action.content)
        return None, None

    def _words(self, action: Action, result: CellResult | None, grade: Grade | None) -> str:
        if result is not None:
            return render.cell_text(result, self.rules.observation_limit)
        if grade is not None:
            return render.correct_text() if grade.correct else render.wrong_text()
        return render.not_understood_text(action)

    def _solutions_used(self) -> int:
        return sum(turn.action.kind == "solution" for turn in self.turns)
