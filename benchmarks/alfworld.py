"""What a household costs, and whether it is the one that was recorded.

`python -m benchmarks.alfworld [--json] [--quick]`. Costs are measured on games made here, in turns: an episode's
start in the forked process beside a cold process that calls `textworld.start` and `reset`. With the recorded data
(ERRATA_DATA) every solvable game is started, the 41 verified runs are played again as cells that call our functions,
and the runs of three models are played: their code, on our functions, so that what they had from the original
(success) stands beside what their household says (won). All code runs in isolated kernels.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from environments.alfworld import Alfworld, Household
from environments.alfworld_games import MadeGame, as_call, make_games
from environments.environment import Row
from environments.kernels import KernelHost, KernelSession
from environments.protocol.render import cell_text
from environments.sources import load_tasks
from environments.types import Task

DATA = Path(os.environ.get("ERRATA_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
MODELS = ("gpt-4-0613", "claude-2", "gpt-3.5-turbo-0613")
SIDE_BY_SIDE = 8

LONGEST = 100_000
"""Characters of a cell's output that are compared."""

NO_KERNELS: Any = None

COLD = """
import json, pathlib, sys, time
_, file, walk, began = sys.argv
import textworld
from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
infos = textworld.EnvInfos(won=True, admissible_commands=True, extras=["gamefile"])
game = textworld.start(file, infos, wrappers=[AlfredDemangler(), AlfredInfos])
game.reset()
told = {"start": time.time() - float(began), "start_cpu": time.process_time()}
for command in json.loads(walk):
    state, *_ = game.step(command)
rollup = pathlib.Path("/proc/self/smaps_rollup").read_text()
pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
print(json.dumps({**told, "cpu": time.process_time(), "memory": int(pss.split()[1]) / 1024, "won": state["won"]}))
"""


# -- what it costs -------------------------------------------------------------------------------


@dataclass(slots=True)
class Costs:
    """Of each game, ours and cold: seconds, CPU seconds, megabytes of PSS."""

    ours: list[dict[str, float]] = field(default_factory=list)
    cold: list[dict[str, float]] = field(default_factory=list)
    together: float = 0.0
    in_turn: float = 0.0


async def costs(environment: Alfworld, tasks: Sequence[tuple[Task, Sequence[str]]]) -> Costs:
    found = Costs()
    with tempfile.TemporaryDirectory() as folder:
        for number, (task, walk) in enumerate(tasks):
            found.cold.append(_cold(_file(task, Path(folder) / f"{number}.tw-pddl"), walk))
            found.ours.append(await _ours(environment, task, walk))
    chosen = [tasks[number % len(tasks)] for number in range(SIDE_BY_SIDE)]
    began = time.perf_counter()
    for task, walk in chosen:
        await _whole(environment, task, walk)
    found.in_turn = time.perf_counter() - began
    began = time.perf_counter()
    await asyncio.gather(*(_whole(environment, task, walk) for task, walk in chosen))
    found.together = time.perf_counter() - began
    return found


def _cold(file: Path, walk: Sequence[str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", COLD, file, json.dumps(walk), str(time.time())],
        check=True, capture_output=True, text=True, env=_environ(),
    )  # fmt: skip
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert told["won"]
    return told


async def _ours(environment: Alfworld, task: Task, walk: Sequence[str]) -> dict[str, float]:
    began = time.perf_counter()
    async with environment.episode(task, NO_KERNELS) as household:
        await household._starting
        start = time.perf_counter() - began
        (process,) = _server(environment).children()
        start_cpu = _cpu(process)
        await _played(household, walk)
        assert household.won
        memory = process.memory_full_info().pss / 2**20
        return {"start": start, "start_cpu": start_cpu, "cpu": _cpu(process), "memory": memory}


async def _whole(environment: Alfworld, task: Task, walk: Sequence[str]) -> None:
    async with environment.episode(task, NO_KERNELS) as household:
        await _played(household, walk)
        assert household.won


async def _played(household: Household, commands: Sequence[str]) -> list[str]:
    """What is said to the commands, as calls of our functions."""
    functions = household.functions()
    said = []
    for command in commands:
        name, given = as_call(command)
        said.append(await functions[name](*given))
    return said


def _server(environment: Alfworld) -> psutil.Process:
    assert environment._games is not None
    assert environment._games.pid is not None
    return psutil.Process(environment._games.pid)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _environ() -> dict[str, str]:
    return {**os.environ, "ALFWORLD_DATA": tempfile.gettempdir(), "OMP_NUM_THREADS": "1"}


def _file(task: Task, path: Path) -> Path:
    """The task as a game file of ALFWorld's."""
    domain, grammar = task.inputs["domain"], task.inputs["grammar"]
    if domain is None:
        # By its folder, not by an import: nothing here is to load the engine.
        from importlib.util import find_spec

        spec = find_spec("alfworld")
        assert spec is not None
        assert spec.origin is not None
        logic = Path(spec.origin).parent / "data"
        domain, grammar = (logic / "alfred.pddl").read_text(), (logic / "alfred.twl2").read_text()
        grammar = grammar.replace("UNKNOWN GOAL", str(task.inputs["goal"]))
    path.write_text(json.dumps({"pddl_domain": domain, "grammar": grammar, "pddl_problem": task.inputs["problem"]}))
    return path


# -- whether it is the recorded one --------------------------------------------------------------


@dataclass(slots=True)
class Agreement:
    games: int = 0
    started: int = 0
    replays: int = 0
    replays_won: int = 0
    observations: int = 0
    same: int = 0
    runs: Counter[tuple[str, bool, bool]] = field(default_factory=Counter)
    """By model, the original's success, and whether the household was won."""
    outputs: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)


async def agreement(environment: Alfworld, *, quick: bool) -> Agreement:
    found = Agreement()
    loaded = load_tasks(environment, DATA / "alfworld" / "index.jsonl")
    tasks = {task.id.removeprefix("alfworld/"): task for task in loaded.tasks}
    found.games = len(tasks)
    replays = [json.loads(line) for line in (DATA / "alfworld" / "verified_replays.jsonl").read_text().splitlines()]
    replays.sort(key=lambda replay: len(replay["steps"]))
    await _each(_start(found, environment, task) for task in list(tasks.values())[: 6 if quick else None])
    async with KernelHost(None) as kernels:
        seats = Seats(environment, kernels)
        await _each(_replay(found, seats, tasks[one["game"]], one) for one in replays[: 6 if quick else None])
        await _each(_rerun(found, seats, *run) for run in _recorded(tasks, 4 if quick else None))
    return found


@dataclass(frozen=True, slots=True)
class Seats:
    """Where runs are played."""

    environment: Alfworld
    kernels: KernelHost

    @asynccontextmanager
    async def seat(self, task: Task) -> AsyncIterator[tuple[Household, KernelSession]]:
        async with self.environment.episode(task, self.kernels) as household:
            assert isinstance(household, Household)
            async with await self.kernels.session(functions=household.functions()) as session:
                yield household, session


async def _each(works: Any) -> None:
    """As many at a time as there are cores."""
    room = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(work: Any) -> None:
        async with room:
            await work

    await asyncio.gather(*map(one, works))


async def _start(found: Agreement, environment: Alfworld, task: Task) -> None:
    async with environment.episode(task, NO_KERNELS) as household:
        _, scene = await household._starting
        found.started += "Your task is to: " in scene.text


async def _replay(found: Agreement, seats: Seats, task: Task, replay: Mapping[str, Any]) -> None:
    async with seats.seat(task) as (household, session):
        for step in replay["steps"]:
            name, given = as_call(step["action"])
            said = (await session.run(f"print({name}({', '.join(map(repr, given))}))")).stdout.removesuffix("\n")
            found.observations += 1
            found.same += said == step["recorded_in_mint"]
            if said != step["recorded_in_mint"]:
                then = step["recorded_in_mint"]
                found.lines.append(f"other observation: {replay['game']}: {step['action']}: {said!r}, not {then!r}")
        found.replays += 1
        found.replays_won += household.won
        if not household.won:
            found.lines.append(f"not won: {replay['game']}")


def _recorded(tasks: Mapping[str, Task], limit: int | None) -> list[tuple[str, Task, Mapping[str, Any]]]:
    runs = []
    for model in MODELS:
        file = DATA / "mint_results" / model / "decision_making" / "alfworld" / "results.jsonl.gz"
        with gzip.open(file, "rt") as lines:
            held = [record for record in map(json.loads, lines) if record["task"]["task_id"] in tasks]
        runs += [(model, tasks[record["task"]["task_id"]], record) for record in held[:limit]]
    return runs


async def _rerun(found: Agreement, seats: Seats, model: str, task: Task, record: Mapping[str, Any]) -> None:
    """Play the cells of a run until it is won or the recording ends."""
    history = record["state"]["history"]
    success = bool(record["state"]["success"])
    calls = 0
    async with seats.seat(task) as (household, session):
        for number, message in enumerate(history):
            code = _code(message["content"]) if message["role"] == "assistant" and not household.won else None
            if code is None:
                continue
            result = await session.run(code)
            calls += len(result.calls)
            if number + 1 < len(history) and not household.won:
                found.outputs[_compared(cell_text(result, LONGEST), history[number + 1]["content"])] += 1
    found.runs[model, success, household.won] += 1
    if success != household.won:
        kind = "false success" if success else "won, and recorded as a failure"
        found.lines.append(f"{kind}: {model}: {task.id}: {calls} commands in {len(history) // 2} turns")


def _code(reply: str) -> str | None:
    """The original's rule: a solution wins, several blocks are one cell."""
    if "<solution>" in reply:
        return None
    blocks = re.findall(r"<execute>(.*?)</execute>", reply, re.DOTALL)
    return "\n".join(block.strip("\n") for block in blocks) or None


def _compared(shown: str, recorded: str) -> str:
    said = recorded.removeprefix("Observation:").partition("\nYou have ")[0].strip()
    if shown.strip() == said:
        return "same output"
    return "traceback" if "Traceback" in said else "other output"


# -- the report ----------------------------------------------------------------------------------


def metrics(found: Costs) -> dict[str, dict[str, Any]]:
    told = {}
    for name, key, unit in (
        ("start of an episode", "start", "s"),
        ("CPU of a start", "start_cpu", "s"),
        ("CPU of an episode, won", "cpu", "s"),
        ("memory of an episode (PSS)", "memory", "MB"),
    ):
        ours, cold = (statistics.median(one[key] for one in measured) for measured in (found.ours, found.cold))
        told[name] = {"ours": ours, "other": cold, "ratio": ours / cold, "unit": unit}
    together = {"ours": found.together, "other": found.in_turn, "ratio": found.together / found.in_turn, "unit": "s"}
    return {**told, f"{SIDE_BY_SIDE} episodes side by side, against in turn": together}


async def main() -> None:
    quick = "--quick" in sys.argv
    environment = Alfworld()
    made: list[MadeGame] = list(make_games(6 if quick else 12, 1))
    own = [(environment.task(Row(game.row(), "made")), game.walkthrough) for game in made]
    async with environment:
        await _start(Agreement(), environment, own[0][0])  # what it imports is not an episode's
        told = metrics(await costs(environment, own))
        if "--json" in sys.argv:
            print(json.dumps(told))
            return
        for name, one in told.items():
            print(
                f"{name}: {one['ours']:.3f} {one['unit']}, other {one['other']:.3f} ({one['ratio']:.2f}×)", flush=True
            )
        if DATA.is_dir():
            _print(await agreement(environment, quick=quick))


def _print(found: Agreement) -> None:
    print(f"solvable games: {found.games}, started {found.started}")
    print(f"verified runs: {found.replays}, won {found.replays_won}")
    print(f"their observations: {found.observations}, as recorded {found.same}")
    for model in MODELS:
        cells = {
            pair: found.runs[model, *pair] for pair in ((True, True), (False, False), (True, False), (False, True))
        }
        total = sum(cells.values())
        print(
            f"{model}: {total} runs; agreed {cells[True, True]} won and {cells[False, False]} not; "
            f"success but never won {cells[True, False]}; won but no success {cells[False, True]}"
        )
    print(f"cells that were not the last: {dict(found.outputs)}")
    print(*sorted(found.lines), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
