"""The host's side of ALFWorld: the process that forks games, and a game as an episode plays it.

Whatever ends a game that the host has not ended is `ToolFault`: no argument of a teacher's can do so, for the engine
only compares a command with those it admits.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from environments.faults import ToolFault, UsageError
from environments.kernels.environment import common_environment

if TYPE_CHECKING:
    from environments.types import Json

PROGRAM = "environments.alfworld_process"
PROJECT = Path(__file__).resolve().parents[1]

START_LIMIT = 120.0
STEP_LIMIT = 60.0
"""Seconds a game may take to start and to carry out a command; waiting for its turn is not counted."""

LONGEST_ANSWER = 1 << 20
"""Bytes."""

FAREWELL = 10.0
"""Seconds the server may take to end."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a game says, and whether its goal is reached at this moment."""

    text: str
    won: bool


class Games:
    """The server and its games. As many work at a time as there are cores; the others wait for their turn."""

    def __init__(self, *, start_limit: float = START_LIMIT, step_limit: float = STEP_LIMIT) -> None:
        self.start_limit, self.step_limit = start_limit, step_limit
        self.turn = asyncio.Semaphore(os.cpu_count() or 1)
        self._server: Server | None = None
        self._open: set[Game] = set()

    def start(self) -> None:
        """Start the server, unless there is one. What it has to import delays its first game only."""
        if sys.platform != "linux":
            raise UsageError("alfworld: games are forked from one process, which is safe on Linux only.")
        if self._server is not None and not self._server.running:
            self._server.close()
            self._server = None
        if self._server is None:
            self._server = Server()

    async def game(self, game: Mapping[str, Json]) -> tuple[Game, Scene]:
        """Start a game, and what it opens with. Raises `ToolFault`."""
        self.start()
        assert self._server is not None
        async with self.turn:
            reader, writer = await asyncio.open_unix_connection(sock=self._server.fork(), limit=LONGEST_ANSWER)
            started = Game(self, reader, writer)
            self._open.add(started)
            return started, await started.say(game, self.start_limit)

    async def end(self, game: Game) -> None:
        self._open.discard(game)
        await game.close()

    @property
    def pid(self) -> int | None:
        """The server's, where there is one."""
        return self._server.pid if self._server is not None else None

    async def close(self) -> None:
        """End the server, and any game that is left."""
        for game in [*self._open]:
            await self.end(game)
        if self._server is not None:
            server, self._server = self._server, None
            await asyncio.to_thread(server.close)


class Server:
    def __init__(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own file
                [sys.executable, "-m", PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                cwd=PROJECT,
                # What is imported would make a folder of its own for data, unless it is given one that is there.
                env=common_environment(os.environ) | {"HOME": os.devnull, "ALFWORLD_DATA": tempfile.gettempdir()},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def fork(self) -> socket.socket:
        """Ask for a process; its channel. Raises `ToolFault`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._requests, [b"g"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise ToolFault(f"no game can be started: {self._last_words()}.") from error
        return ours

    def close(self) -> None:
        self._requests.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(FAREWELL)
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next(filter(None, reversed(lines)), "its server ended without a word")


class Game:
    """One game's process. What goes wrong with it ends it, and is said again by every later call."""

    def __init__(self, games: Games, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._games, self._reader, self._writer = games, reader, writer
        self._over: str | None = None

    async def play(self, commands: Sequence[str]) -> Scene:
        """Carry out the first of the commands that the game admits. Raises `ToolFault`."""
        async with self._games.turn:
            return await self.say({"commands": commands}, self._games.step_limit)

    async def say(self, request: Mapping[str, Json], limit: float) -> Scene:
        if self._over is not None:
            raise ToolFault(self._over)
        try:
            answer = await self._answer(json.dumps(request).encode() + b"\n", limit)
        except BaseException:
            # An answer that comes later would be taken for the next one's.
            self._end("the game was stopped in the middle of a command")
            raise
        if answer.keys() != {"text", "won"}:
            raise self._end(f"the game ended by itself: {answer.get('fault', 'its server is gone')}")
        return Scene(answer["text"], answer["won"])

    async def _answer(self, request: bytes, limit: float) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(limit):
                self._writer.write(request)
                await self._writer.drain()
                line = await self._reader.readline()
        except TimeoutError:
            raise self._end(f"the game took more than {limit:g} s and was stopped") from None
        except (OSError, ValueError) as error:
            raise self._end(f"the game cannot be reached: {error}") from error
        answer: Mapping[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        return answer

    def _end(self, why: str) -> ToolFault:
        self._over = self._over or f"{why}."
        self._writer.transport.abort()  # the server kills it
        return ToolFault(self._over)

    async def close(self) -> None:
        self._end("the game was closed")
        with suppress(OSError):
            await self._writer.wait_closed()
