"""A recipe: an ordered list of filters with their parameters, from a TOML file or a preset.

[[steps]]
filter = "errors_recovered"
min_level = "R2"
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments.faults import UsageError
from environments.types import Json, Trajectory, Verdict, clean
from filters.filter import Filter, Reading, find_filter
from store import ledger

_PRESETS = Path(__file__).parent / "recipes"
_LONGEST_PARAMETERS = 1000  # what the ledger's column holds


@dataclass(frozen=True, slots=True)
class Step:
    """A filter with all its parameters."""

    filter: Filter
    parameters: Mapping[str, Json]

    @property
    def key(self) -> ledger.Step:
        """How the ledger knows it."""
        parameters = json.dumps(self.parameters, sort_keys=True, separators=(",", ":"))
        return ledger.Step(self.filter.name, self.filter.version, parameters)

    def judge(self, trajectory: Trajectory, reading: Reading) -> Verdict:
        """The filter's verdict. A filter that fails drops the trajectory and says why."""
        try:
            verdict = self.filter.judge(trajectory, reading, **self.parameters)
            json.dumps(verdict.evidence)
            return Verdict(bool(verdict.keep), clean(verdict.reason), verdict.evidence)
        except Exception as error:  # noqa: BLE001 - a filter may be anyone's; one trajectory must not end the run
            return Verdict(False, clean(f"{ledger.FAILED}{type(error).__name__}: {error}"))


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    steps: tuple[Step, ...]

    @property
    def keys(self) -> tuple[ledger.Step, ...]:
        return tuple(step.key for step in self.steps)

    def as_json(self) -> Json:
        """Whole, as an export and its card name it."""
        steps: list[Json] = [
            {"filter": step.filter.name, "version": step.filter.version, "parameters": dict(step.parameters)}
            for step in self.steps
        ]
        return {"name": self.name, "steps": steps}


def judge(recipe: Recipe, trajectory: Trajectory, reading: Reading | None = None) -> list[tuple[Step, Verdict]]:
    """The verdicts in the order of the steps, up to the first that drops the trajectory."""
    reading = reading or Reading(trajectory)
    verdicts: list[tuple[Step, Verdict]] = []
    for step in recipe.steps:
        verdicts.append((step, step.judge(trajectory, reading)))
        if not verdicts[-1][1].keep:
            break
    return verdicts


def preset_names() -> list[str]:
    return sorted(path.stem for path in _PRESETS.glob("*.toml"))


def load_recipe(name_or_path: str) -> Recipe:
    """A preset by its name, or a TOML file by its path. Raises `UsageError`."""
    path = _PRESETS / f"{name_or_path}.toml" if name_or_path in preset_names() else Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
        return _recipe(tomllib.loads(text), path.stem)
    except FileNotFoundError as error:
        presets = ", ".join(preset_names())
        raise UsageError(f"there is no recipe '{name_or_path}'. Give a TOML file, or one of: {presets}.") from error
    except OSError as error:
        raise UsageError(f"cannot read recipe {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"recipe {path} is not TOML: {error}.") from error
    except UsageError as error:
        raise UsageError(f"recipe {path}: {error}") from error


def _recipe(content: dict[str, Any], stem: str) -> Recipe:
    unknown = sorted(content.keys() - {"name", "description", "steps"})
    if unknown:
        raise UsageError(f"it does not know '{unknown[0]}'; there are name, description and [[steps]].")
    name, steps = content.get("name", stem), content.get("steps")
    if not isinstance(name, str) or not name:
        raise UsageError("its name must be a text.")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise UsageError('it has no steps; write [[steps]] and under it filter = "solved".')
    return Recipe(name, tuple(_step(dict(step), place) for place, step in enumerate(steps, start=1)))


def _step(given: dict[str, Any], place: int) -> Step:
    name = given.pop("filter", None)
    if not isinstance(name, str):
        raise UsageError(f'step {place} names no filter; write filter = "solved".')
    found = find_filter(name)
    step = Step(found, found.settings(given))
    if len(step.key.parameters) > _LONGEST_PARAMETERS:
        raise UsageError(f"step {place}: the parameters of '{name}' are longer than {_LONGEST_PARAMETERS} characters.")
    return step
