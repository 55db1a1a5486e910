"""One piece of work: from its row in the store, through a rollout, to its outcome."""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from collectors.resume import Resumed
from collectors.rollout import Ask, Rollout
from collectors.teachers.retry import RetryPolicy, ask
from collectors.teachers.teacher import Teacher
from environments.environment import Environment
from environments.faults import ErrataError, InfrastructureFault, StoreFault
from environments.kernels import KernelHost
from environments.types import Call, Json, Outcome, Prompt, Reply, Request, Rules, Task, Trajectory, Work
from store.load import load_partial
from store.log import Beginning, TrajectoryLog, begin_trajectory
from store.store import Store


class Observer(Protocol):
    """Who watches a run: a display, a test."""

    def planned(self, total: int, finished: int) -> None: ...

    def called(self, teacher: str, call: Call) -> None: ...

    def replied(self, reply: Reply) -> None: ...

    def ended(self, trajectory: Trajectory) -> None: ...

    def warned(self, message: str) -> None: ...


class Stopped(Exception):
    """The run is being stopped. The trajectory stays unfinished, and is gone on with next time."""


@dataclass(frozen=True, slots=True)
class Item:
    """A piece of work with what it needs."""

    task: Task
    task_row: int
    teacher: Teacher
    attempt: int

    @property
    def work(self) -> Work:
        return Work(self.task.id, self.teacher.name, self.attempt)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all attempts of one run share."""

    run: str
    run_id: int
    store: Store
    environment: Environment
    kernels: KernelHost
    prompts: Mapping[str, Prompt]
    """By task."""
    rules: Rules
    seed: int
    provenance: Mapping[str, Json]
    retries: RetryPolicy
    observer: Observer
    stopping: asyncio.Event

    async def attempt(self, item: Item) -> None:
        """Play one trajectory to its end and write its outcome.

        Raises `Stopped`; `StoreFault`; `InfrastructureFault` after the trajectory was marked failed.
        """
        seed = _seed(self.seed, item.work)
        prompt = self.prompts[item.task.id]
        beginning = Beginning(item.work, item.task_row, prompt, self.kernels.isolation, seed, self.provenance)
        trajectory_id = await begin_trajectory(self.store, self.run_id, beginning)
        log = TrajectoryLog(self.store, trajectory_id)
        try:
            with _boundary():
                rollout, outcome = await self._play(item, trajectory_id, log)
        except InfrastructureFault as fault:
            await log.end(Outcome("failed", str(fault)))
            raise
        await log.end(outcome)
        self.observer.ended(
            Trajectory(
                trajectory_id, self.run, item.task, item.teacher.name, item.attempt, rollout.prompt, self.rules,
                rollout.turns, outcome, self.kernels.isolation, seed, self.provenance,
            )
        )  # fmt: skip

    async def _play(self, item: Item, trajectory_id: int, log: TrajectoryLog) -> tuple[Rollout, Outcome]:
        partial = await load_partial(self.store, trajectory_id)
        resumed = Resumed(self._asker(item, log), log, partial)
        async with AsyncExitStack() as stack:
            episode = await stack.enter_async_context(self.environment.episode(item.task, self.kernels))
            setup = self.environment.setup(item.task)
            session = await stack.enter_async_context(
                await self.kernels.session(
                    setup=setup,
                    preload=self.environment.preload,
                    seed=partial.seed,
                    functions=episode.functions(),
                )
            )
            await resumed.restore(episode)
            rollout = Rollout(
                episode, session, resumed.ask, resumed, partial.prompt, self.rules, item.attempt, resumed.done
            )
            return rollout, await rollout.play()

    def _asker(self, item: Item, log: TrajectoryLog) -> Ask:
        async def logged(call: Call) -> None:
            await log.call(call)
            self.observer.called(item.teacher.name, call)

        async def ask_teacher(request: Request) -> Reply:
            if self.stopping.is_set():
                raise Stopped
            self.store.require_room()
            reply = await ask(item.teacher, request, self.retries, logged, sleep=self._pause)
            self.observer.replied(reply)
            return reply

        return ask_teacher

    async def _pause(self, seconds: float) -> None:
        """Between two attempts at a provider. Raises `Stopped` as soon as the run is being stopped."""
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            return
        raise Stopped


@contextmanager
def _boundary() -> Iterator[None]:
    """A fault in an environment, ours or a third party's, ends its own trajectory and no other."""
    try:
        yield
    except (InfrastructureFault, StoreFault, Stopped):
        raise
    except ErrataError as error:
        raise InfrastructureFault(str(error)) from error
    except Exception as error:
        raise InfrastructureFault(_where(error)) from error


def _seed(run_seed: int, work: Work) -> int:
    """31 bits that depend on the run's seed and the work alone, so a resumed session draws the same numbers."""
    digest = hashlib.sha256(f"{run_seed}\0{work.task_id}\0{work.attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _where(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{frame.filename}:{frame.lineno}"
    return f"{type(error).__name__}: {error} ({place}). This is a fault in Errata or the environment."
