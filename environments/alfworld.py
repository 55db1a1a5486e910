"""Household tasks (ALFWorld, Shridhar et al. 2021, on ALFRED's): a game of text, played by calling functions.

The game runs on the host, a process for each episode, and its state alone is judged: what is proposed as a solution
is not read. Solved is what has reached the game's goal (`won`) at some moment; the end of a game is not asked for,
since a game also ends by its number of commands.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from environments.alfworld_host import Game, Games, Scene
from environments.alfworld_rows import TASK_TYPE, game_task
from environments.environment import Environment, Episode, Row
from environments.faults import GraderFault, ToolFault, UsageError
from environments.kernels import KernelHost
from environments.texts import prompt_text
from environments.tools import Idle
from environments.types import Grade, Json, Task

PACKAGES = ("textworld", "fast_downward", "alfworld")

NOTHING = "Nothing happens."

_ARRIVAL = re.compile(r"^You arrive at .+?\. ")
"""Names a location of the engine's, which no command takes."""


class Household(Episode):
    """One game. It starts while the teacher is asked for its first reply."""

    stateful = True

    def __init__(self, environment: Environment, task: Task, kernels: KernelHost, games: Games) -> None:
        super().__init__(environment, task, kernels)
        self.won = False
        self._games = games
        self._starting: asyncio.Task[tuple[Game, Scene]] = asyncio.create_task(games.game(task.inputs))

    async def put(self, object: str, receptacle: str) -> str:  # noqa: A002  # as the published functions have it
        """Put the object you hold in or on a receptacle: put("mug 1", "desk 2")."""
        thing, where = _name(object), _name(receptacle)
        return await self._play(f"put {thing} in/on {where}", f"move {thing} to {where}")

    async def goto(self, receptacle: str) -> str:
        """Go to a receptacle: goto("drawer 1")."""
        return await self._play(f"go to {_name(receptacle)}")

    async def take_from(self, object: str, receptacle: str) -> str:  # noqa: A002
        """Take an object out of or off a receptacle: take_from("mug 1", "shelf 2")."""
        return await self._play(f"take {_name(object)} from {_name(receptacle)}")

    async def open_receptacle(self, receptacle: str) -> str:
        """Open a receptacle: open_receptacle("fridge 1")."""
        return await self._play(f"open {_name(receptacle)}")

    async def toggle(self, object_or_receptacle: str) -> str:
        """Switch something on or off: toggle("desklamp 1")."""
        return await self._play(f"toggle {_name(object_or_receptacle)}", f"use {_name(object_or_receptacle)}")

    async def close_receptacle(self, receptacle: str) -> str:
        """Close a receptacle: close_receptacle("microwave 1")."""
        return await self._play(f"close {_name(receptacle)}")

    async def clean(self, object: str, receptacle: str) -> str:  # noqa: A002
        """Clean the object you hold at a sink: clean("cloth 1", "sinkbasin 1")."""
        return await self._play(f"clean {_name(object)} with {_name(receptacle)}")

    async def heat(self, object: str, receptacle: str) -> str:  # noqa: A002
        """Heat the object you hold with a microwave: heat("egg 1", "microwave 1")."""
        return await self._play(f"heat {_name(object)} with {_name(receptacle)}")

    async def cool(self, object: str, receptacle: str) -> str:  # noqa: A002
        """Cool the object you hold with a fridge: cool("bottle 1", "fridge 1")."""
        return await self._play(f"cool {_name(object)} with {_name(receptacle)}")

    async def use(self, receptacle: str) -> str:
        """Use something that can be used where it stands, as a lamp: use("desklamp 1")."""
        return await self._play(f"use {_name(receptacle)}")

    async def look(self) -> str:
        """Look around."""
        return await self._play("look")

    async def grade(self, solution: str) -> Grade:
        return await self.judge_state()

    async def judge_state(self) -> Grade:
        return Grade(self.won, float(self.won), note="" if self.won else "the game's goal is not reached")

    async def _play(self, *commands: str) -> str:
        try:
            # Who is no longer waiting (a cell that was stopped) does not stop the start.
            game, _ = await asyncio.shield(self._starting)
            scene = await game.play(commands)
        except ToolFault as fault:
            raise ToolFault(f"{self.task.id}: {fault}") from fault
        self.won = self.won or scene.won
        return Idle(scene.text) if scene.text == NOTHING else _ARRIVAL.sub("", scene.text)

    async def close(self) -> None:
        self._starting.cancel()
        # Whatever went wrong with the start was told to whoever called a function.
        with suppress(asyncio.CancelledError, Exception):
            game, _ = await self._starting
            await self._games.end(game)


class Alfworld(Environment):
    name = "alfworld"
    summary = "a household task, played as a game of text (ALFWorld)"
    grading = "the household: its goal is reached"
    data = "a file of `errata alfworld make`, or of ALFWorld's games"
    extra = "alfworld"
    demo = str(Path(__file__).parent / "demo" / "alfworld.jsonl")
    functions = (
        Household.put,
        Household.goto,
        Household.take_from,
        Household.open_receptacle,
        Household.toggle,
        Household.close_receptacle,
        Household.clean,
        Household.heat,
        Household.cool,
        Household.use,
        Household.look,
    )

    def __init__(self, variant: str | None = None) -> None:
        super().__init__(variant)
        self._games: Games | None = None

    @property
    def tools(self) -> str:
        return prompt_text("alfworld", "tools")

    @property
    def example(self) -> str:
        return prompt_text("alfworld", "pick_and_place_simple")

    def example_for(self, task: Task) -> str:
        return prompt_text("alfworld", str(task.metadata[TASK_TYPE]))

    def task(self, row: Row) -> Task:
        return game_task(row, self.name)

    async def grade(self, task: Task, solution: str) -> Grade:
        raise GraderFault(f"{task.id}: a game is judged by the state it is left in, and by nothing else.")

    @asynccontextmanager
    async def episode(self, task: Task, kernels: KernelHost) -> AsyncIterator[Household]:
        assert self._games is not None
        household = Household(self, task, kernels, self._games)
        try:
            yield household
        finally:
            await household.close()

    def ready(self, tasks: Sequence[Task]) -> Mapping[str, Json]:
        if missing := [name for name in PACKAGES if find_spec(name) is None]:
            raise UsageError(
                f"alfworld: {' and '.join(missing)} cannot be imported. Install what it plays with: "
                "pip install 'errata[alfworld]' (it compiles for some minutes, with a C++ compiler and cmake)."
            )
        return {name: version(name) for name in ("alfworld", "textworld")}

    async def __aenter__(self) -> Self:
        self.ready(())
        self._games = Games()
        self._games.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._games is not None:
            await self._games.close()


def _name(text: str) -> str:
    """In one line, as a command is. A name that is none is for the game to answer."""
    return " ".join(text.split())
