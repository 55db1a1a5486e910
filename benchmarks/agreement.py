"""How far Errata, given the replies of recorded runs, comes to the same observations and verdicts.

`python -m benchmarks.agreement [--json] [--quick]` plays the recorded MATH and GSM8K runs of three models
through `replay:`: the code of the replies really runs, isolated, the answers are really graded. Every disagreement
is printed with what was said on both sides and its cause. Needs the recorded data (ERRATA_DATA).
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.collecting import carry_out
from cli.plan import Plan
from environments.protocol.compare import normalise
from environments.protocol.render import SILENT
from environments.types import Trajectory, Turn
from store.load import load_trajectories
from store.store import open_store

DATA = Path(os.environ.get("ERRATA_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
MODELS = ("gpt-4-0613", "claude-2", "gpt-3.5-turbo-0613")
ENVIRONMENTS = ("math", "gsm8k")
LIMITS = {"max_turns": 5, "max_solutions": 2, "policy": "mint"}


@dataclass(slots=True)
class Agreement:
    """Counts for one model, and a line for every disagreement."""

    runs: int = 0
    observations: int = 0
    same_observation: int = 0
    verdicts: int = 0
    same_verdict: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)


async def main() -> None:
    quick = "--quick" in sys.argv
    report = {model: await measure(model, 10 if quick else None) for model in MODELS}
    if "--json" in sys.argv:
        print(json.dumps({f"{m} {k}": v for m, a in report.items() for k, v in _metrics(a).items()}))
        return
    for model, agreement in report.items():
        _print(model, agreement)


async def measure(model: str, limit: int | None = None) -> Agreement:
    """Play one model's recorded runs, and compare."""
    agreement = Agreement()
    for environment in ENVIRONMENTS:
        file = DATA / "mint_results" / model / "reasoning" / environment / "results.jsonl.gz"
        recorded = {f"{environment}/mint-{r['task']['task_id']}": r for r in _records(file)}
        async for trajectory in _play(environment, file, limit):
            _compare(agreement, trajectory, recorded[trajectory.task.id])
    return agreement


async def _play(environment: str, file: Path, limit: int | None) -> Any:
    values = {
        "env": environment, "teachers": [f"replay:{file}"], "data": str(file), "run": environment,
        "isolation": "auto", "limit": limit, "concurrency": 4, "rules": LIMITS,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        address = f"sqlite:///{folder}/errata.db"
        await carry_out(Plan.make(values, address))
        async with open_store(address) as store:
            async for trajectory in load_trajectories(store):
                yield trajectory


def _records(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _compare(agreement: Agreement, trajectory: Trajectory, record: dict[str, Any]) -> None:
    agreement.runs += 1
    answers = [message["content"] for message in record["state"]["history"][2::2]]
    session_lost = False
    uses_sympy = any("sympy" in turn.action.content for turn in trajectory.turns)
    for turn, theirs in zip(trajectory.turns, answers, strict=False):
        agreement.observations += 1
        if _says_the_same(turn, theirs):
            agreement.same_observation += 1
        else:
            cause = _observation_cause(turn, theirs, session_lost, uses_sympy)
            agreement.causes[f"observation: {cause}"] += 1
            ours, other = _body(turn.observation.text)[-160:], _body(theirs)[-160:]
            where = f"{trajectory.task.id} turn {turn.index + 1}"
            agreement.lines.append(f"{where}: {cause}\n    ours:   {ours!r}\n    theirs: {other!r}")
        session_lost = session_lost or bool(turn.observation.result and turn.observation.result.timed_out)
    agreement.verdicts += 1
    if trajectory.solved == record["state"]["success"]:
        agreement.same_verdict += 1
    else:
        cause = _verdict_cause(trajectory, record)
        agreement.causes[f"verdict: {cause}"] += 1
        proposed = [turn.action.content for turn in trajectory.turns if turn.grade]
        agreement.lines.append(
            f"{trajectory.task.id} verdict: {cause}\n    reference {trajectory.task.reference!r}, proposed {proposed!r}"
        )


# -- observations ----------------------------------------------------------------------------


def _says_the_same(turn: Turn, theirs: str) -> bool:
    if turn.action.kind == "malformed":
        return "I don't understand your input" in theirs
    if turn.action.kind == "solution":
        return "Your answer is wrong." in theirs
    return _same_output(_body(turn.observation.text), _body(theirs))


def _same_output(ours: str, theirs: str) -> bool:
    if ours == SILENT:
        return theirs in ("", "[Executed Successfully with No Output]")
    error, their_error = _error(ours), _error(theirs)
    if error or their_error:
        return error == their_error
    return _plain(ours) == _plain(theirs)


def _body(observation: str) -> str:
    """An observation without its title and its countdown."""
    text = re.sub(r"^\s*Observation:\n?", "", observation)
    text = re.split(r"\n?You have \d+ steps left and", text)[0]
    return normalise(text)


def _plain(output: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"Out\[…\]: ?", "", output)).strip()


def _error(output: str) -> str | None:
    """`Name: first line` of the exception an output ends in."""
    found = re.findall(
        r"^(\w*(?:Error|Exception|Interrupt|Warning|Failed|SystemExit)\w*)(?::[^\S\n]*(.*))?$", output, re.M
    )
    return f"{found[-1][0]}: {found[-1][1]}".strip() if found else None


def _observation_cause(turn: Turn, theirs: str, session_lost: bool, uses_sympy: bool) -> str:
    ours, body, code = _body(turn.observation.text), _body(theirs), turn.action.content
    result = turn.observation.result
    error, their_error = _error(ours) or "", _error(body) or ""
    same_name = error.split(":")[0] == their_error.split(":")[0] != ""
    rules = {
        "we graded it correct and they did not": bool(turn.grade and turn.grade.correct),
        "their wikipedia_search is not there": "wikipedia_search" in code,
        "our limit of 30 s": bool(result and result.timed_out),
        "a session of ours was renewed after its limit of 30 s": session_lost,
        "their cut at 2,000 characters": "[Output Truncated]" in theirs,
        f"not installed here: {error.rpartition(' ')[2]}": error.startswith("ModuleNotFoundError"),
        "math.gcd took two arguments in their Python 3.8": "gcd expected 2 arguments" in their_error,
        "numpy 2 shows a number's type": "np.float64" in ours,
        "the same exception, in other words in our release of sympy": same_name,
        "another result of our release of sympy": uses_sympy,
    }
    return next((cause for cause, holds in rules.items() if holds), f"unexplained ({turn.action.kind})")


# -- verdicts --------------------------------------------------------------------------------


def _verdict_cause(trajectory: Trajectory, record: dict[str, Any]) -> str:
    reference = str(record["task"]["reference"])
    proposed = [turn.action.content for turn in trajectory.turns if turn.action.kind == "solution"]
    answer = proposed[-1] if proposed else ""
    if record["state"]["success"]:
        rules = {
            "their 5 % tolerance": _within_5_percent(reference, answer),
            "their substring rule": reference.lower() in answer.lower(),
        }
        return next((cause for cause, holds in rules.items() if holds), "unexplained: they accepted")
    rules = {
        "their rule never accepts a negative reference": reference.startswith("-"),
        "their rule reads no words, units or formulas": bool(re.search(r"[A-Za-z%$+]", answer)),
        "their rule reads no thousands separator": "," in answer,
    }
    return next((cause for cause, holds in rules.items() if holds), "unexplained: we accepted")


def _within_5_percent(reference: str, answer: str) -> bool:
    try:
        off = abs(float(answer) - float(reference))
    except ValueError:
        return False
    return 0 < off <= 0.05 * abs(float(reference))


# -- printing ----------------------------------------------------------------------------------


def _metrics(agreement: Agreement) -> dict[str, dict[str, Any]]:
    pairs = {
        "same observation": (agreement.same_observation, agreement.observations),
        "same verdict": (agreement.same_verdict, agreement.verdicts),
    }
    return {k: {"ours": a, "other": b, "ratio": a / b if b else None, "unit": "count"} for k, (a, b) in pairs.items()}


def _print(model: str, agreement: Agreement) -> None:
    print(
        f"\n{model}: {agreement.runs} runs; the same observation {agreement.same_observation} of "
        f"{agreement.observations}; the same verdict {agreement.same_verdict} of {agreement.verdicts}"
    )
    for cause, count in agreement.causes.most_common():
        print(f"  {count:4} {cause}")
    for line in agreement.lines:
        print(f"  - {line}")


if __name__ == "__main__":
    asyncio.run(main())
