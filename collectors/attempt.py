"""One piece of work: from its row in the store, through a rollout, to its outcome."""

from __future__ import annotations

import asyncio
import hashlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from collectors.gate import Aside, Gate
from collectors.pairing import who_answers
from collectors.purse import BudgetSpent, Purse
from collectors.resume import Diverged, OnDivergence, Resumed
from collectors.rollout import Ask, Rollout
from collectors.teachers.retry import RetryPolicy, ask
from collectors.teachers.teacher import Teacher
from environments.environment import Environment
from environments.faults import ErrataError, InfrastructureFault, StoreFault
from environments.kernels import KernelHost
from environments.protocol.render import make_prompt
from environments.types import Assessment, Call, Json, Outcome, Reply, Request, Rules, Task, Trajectory, Work
from store.lease import Lease, LeaseLost
from store.load import load_partial
from store.log import Beginning, Taken, TrajectoryLog, claim
from store.store import Store


class Observer(Protocol):
    """Who watches a run: a display, a log file, a test. Trajectories are told by their ids in the store."""

    def planned(self, total: int, finished: int) -> None: ...

    def begun(self, trajectory_id: int, work: Work) -> None: ...

    def called(self, trajectory_id: int, teacher: str, call: Call) -> None: ...

    def replied(self, trajectory_id: int, reply: Reply) -> None: ...

    def ended(self, trajectory: Trajectory, assessment: Assessment) -> None: ...

    def ended_elsewhere(self, work: Work) -> None:
        """Another process has done it."""

    def waiting(self, count: int) -> None:
        """For so many that other processes are at."""

    def warned(self, message: str) -> None: ...


Assess = Callable[[Trajectory], Assessment]
"""Reads a trajectory that has ended: handed in from above, where filters are known."""


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
    store: Store
    lease: Lease
    environment: Environment
    kernels: KernelHost
    rules: Rules
    seed: int
    provenance: Mapping[str, Json]
    retries: RetryPolicy
    on_divergence: OnDivergence
    gates: Mapping[str, Gate]
    """By teacher."""
    purse: Purse | None
    """None for a run without a budget."""
    assess: Assess
    observer: Observer
    stopping: asyncio.Event

    async def attempt(self, item: Item) -> Assessment | Taken:
        """Play one trajectory to its end and write its outcome, if nobody else does.

        Raises `Stopped`; `BudgetSpent`; `LeaseLost`; `StoreFault`; `InfrastructureFault` after the trajectory was
        marked failed.
        """
        seed = _seed(self.seed, item.work)
        with _boundary():
            prompt = make_prompt(self.environment, self.rules, item.task)
        beginning = Beginning(
            item.work, item.task_row, item.task.environment, prompt, self.kernels.isolation, seed, self.provenance
        )
        claimed = await claim(self.store, self.lease, beginning)
        if isinstance(claimed, Taken):
            return claimed
        self.observer.begun(claimed.id, item.work)
        log = TrajectoryLog(self.store, self.lease, claimed.id, self.purse.changed if self.purse else None)
        try:
            with _boundary():
                rollout, outcome = await self._play(item, claimed.id, log)
        except InfrastructureFault as fault:
            await log.end(Outcome("failed", str(fault)))
            raise
        finally:
            if self.purse:
                self.purse.leave(log)
        trajectory = Trajectory(
            claimed.id, self.run, item.task, item.teacher.name, item.attempt, rollout.prompt, self.rules,
            rollout.turns, outcome, self.kernels.isolation, seed, self.provenance,
        )  # fmt: skip
        try:
            with _boundary():
                assessment = self.assess(trajectory)
        except InfrastructureFault:
            await log.end(outcome)  # it was played all the same, and can be read later
            raise
        await log.end(outcome, assessment)
        self.observer.ended(trajectory, assessment)
        return assessment

    async def _play(self, item: Item, trajectory_id: int, log: TrajectoryLog) -> tuple[Rollout, Outcome]:
        partial = await load_partial(self.store, trajectory_id)
        resumed = Resumed(self._asker(item, trajectory_id, log), log, partial, on_divergence=self.on_divergence)
        async with AsyncExitStack() as stack:
            episode = await stack.enter_async_context(self.environment.episode(item.task, self.kernels))
            setup = self.environment.setup(item.task)
            session = await stack.enter_async_context(
                await self.kernels.session(
                    setup=setup,
                    preload=self.environment.preload,
                    seed=partial.seed,
                    functions=resumed.functions(episode),
                )
            )
            rollout = Rollout(
                episode, session, resumed.ask, resumed, partial.prompt, self.rules, item.attempt, resumed.done
            )
            try:
                await resumed.restore(episode)
                return rollout, await rollout.play()
            except Diverged as diverged:
                return rollout, Outcome("diverged", str(diverged))

    def _asker(self, item: Item, trajectory_id: int, log: TrajectoryLog) -> Ask:
        async def ask_teacher(request: Request) -> Reply:
            if self.stopping.is_set():
                raise Stopped
            self.store.require_room()
            teacher = who_answers(item.teacher, request)

            async def reserve(aside: Aside) -> None:
                if self.purse:
                    await self.purse.take(log, teacher, request, aside)

            async def logged(call: Call) -> None:
                await log.call(call)
                self.observer.called(trajectory_id, teacher.name, call)

            reply = await ask(
                teacher, request, self.retries, logged, gate=self.gates[teacher.name], before=reserve, sleep=self._pause
            )
            self.observer.replied(trajectory_id, reply)
            return reply

        return ask_teacher

    async def _pause(self, seconds: float) -> None:
        await pause(self.stopping, seconds)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait, between two attempts at something. Raises `Stopped` as soon as the run is being stopped."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
    raise Stopped


@contextmanager
def _boundary() -> Iterator[None]:
    """A fault in an environment, ours or a third party's, ends its own trajectory and no other."""
    try:
        yield
    except (InfrastructureFault, StoreFault, LeaseLost, BudgetSpent, Stopped):
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
