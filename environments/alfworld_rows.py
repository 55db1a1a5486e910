"""Rows of games as tasks: ALFWorld's own game folders, and the games we have made.

A row of ours holds its problem. A row with `game` names a folder of ALFWorld's data (`…/trial_T2019…`), of which
`game.tw-pddl` and `traj_data.json` are read. Games that cannot be won are refused: they would count against teachers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from environments.alfworld_games import TASK_TYPES
from environments.alfworld_rooms import names
from environments.environment import BadRow, Row
from environments.sources import text_of
from environments.types import Json, Task, clean

TASK_TYPE = "task_type"

GAME, TRAJECTORY = "game.tw-pddl", "traj_data.json"

LAYOUT = "json_*/*"
"""Where games stand below the folder of ALFWorld's data: `json_2.1.1/train`."""

_RECEPTACLE = re.compile(r"\(\s*receptacleAtLocation\s+(\S+)\s+\S+\s*\)", re.IGNORECASE)
_INIT = re.compile(r"\(\s*:init\b(.*)\(\s*:goal\b", re.IGNORECASE | re.DOTALL)
_OBJECT = re.compile(r"\w+_bar_\w+")
_GOAL = re.compile(r"Your task is to: ([^\"]*?)\.?\"")
_PUTS = re.compile(r"template\s*::\s*\"(put \{o\} in/on \{r\}|move \{o\} to \{r\})\"")


def game_task(row: Row, environment: str) -> Task:
    """Raises `BadRow`."""
    return _own(row, environment) if "problem" in row.data else _packaged(row, environment)


def _own(row: Row, environment: str) -> Task:
    problem, goal = clean(text_of(row, "problem")), clean(text_of(row, "goal"))
    return Task(
        clean(f"{environment}/{text_of(row, 'id')}"),
        environment,
        _prompt(goal, None, _receptacles(problem)),
        None,
        inputs={"problem": problem, "goal": goal, "domain": None, "grammar": None},
        metadata={TASK_TYPE: _task_type(row.data.get(TASK_TYPE))},
    )


def _packaged(row: Row, environment: str) -> Task:
    folder = _folder(row)
    game, trajectory = _read(folder / GAME), _read(folder / TRAJECTORY)
    task_type = _task_type(trajectory.get(TASK_TYPE))
    problem, domain, grammar = (_text(game, name) for name in ("pddl_problem", "pddl_domain", "grammar"))
    _refuse_unsolvable(game, trajectory)
    if not _PUTS.search(grammar):
        raise BadRow(f"the grammar in its {GAME} says neither 'put … in/on …' nor 'move … to …'")
    said = _GOAL.search(grammar)
    if said is None:
        raise BadRow(f"the grammar in its {GAME} does not say what the task is")
    return Task(
        clean(f"{environment}/{folder.parent.name}/{folder.name}"),
        environment,
        _prompt(clean(said[1]), _human_goal(trajectory), _receptacles(problem)),
        None,
        inputs={"problem": clean(problem), "goal": clean(said[1]), "domain": clean(domain), "grammar": clean(grammar)},
        metadata={TASK_TYPE: task_type},
    )


def _prompt(goal: str, human: str | None, around: list[str]) -> str:
    lines = [f"Your task is to: {goal}."]
    if human is not None:
        lines.append(f"Somebody who saw it done called it: {human} (Where the two differ, the first counts.)")
    room = f"You are in the middle of a room. Around you are: {', '.join(around)}."
    return "\n".join([*lines, "", room])


def _task_type(value: Json) -> str:
    if value not in TASK_TYPES:
        raise BadRow(f"its task type {value!r} is none of {', '.join(TASK_TYPES)}")
    return str(value)


def _receptacles(problem: str) -> list[str]:
    """By the names they have in the game, in order."""
    facts = _INIT.search(problem)
    if facts is None:
        raise BadRow("its problem is not PDDL with an :init and a :goal")
    here = set(_RECEPTACLE.findall(facts[1]))
    if not here:
        raise BadRow("no receptacle stands anywhere in its problem")
    called = names({*_OBJECT.findall(facts[1])})
    kinds = [(called[one].rpartition(" ")[0], int(called[one].rpartition(" ")[2])) for one in here]
    return [f"{kind} {number}" for kind, number in sorted(kinds)]


# -- ALFWorld's folders --------------------------------------------------------------------------


def game_folders(folder: Path) -> Iterator[str]:
    """The games below a folder, as rows of a file in it name them."""
    yield from sorted(str(path.parent.relative_to(folder)) for path in folder.rglob(GAME))


def _folder(row: Row) -> Path:
    named = Path(text_of(row, "game").removesuffix(f"/{GAME}"))
    if row.folder is None or named.is_absolute() or ".." in named.parts:
        raise BadRow(f"no game {named}: a file names it, as a path from its own folder")
    beginnings = [row.folder, *sorted(row.folder.glob(LAYOUT))]
    found = next((folder / named for folder in beginnings if (folder / named / GAME).is_file()), None)
    if found is None:
        raise BadRow(f"no {GAME} in {row.folder / named}")
    return found.resolve()


def _read(path: Path) -> Mapping[str, Json]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRow(f"no {path.name} in its folder") from None
    except (OSError, ValueError) as error:
        raise BadRow(f"its {path.name} cannot be read: {error}") from error
    if not isinstance(held, dict):
        raise BadRow(f"its {path.name} is no JSON object")
    return held


def _text(game: Mapping[str, Json], name: str) -> str:
    value = game.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"no '{name}' in its {GAME}")
    return value


def _refuse_unsolvable(game: Mapping[str, Json], trajectory: Mapping[str, Json]) -> None:
    if "solvable" not in game:
        raise BadRow(f"its {GAME} does not say whether it is solvable")
    if game["solvable"] is not True:
        raise BadRow(f"its {GAME} says that it is not solvable")
    wanted = trajectory.get("pddl_params")
    if isinstance(wanted, Mapping) and wanted.get("object_sliced"):
        raise BadRow("something has to be sliced in it, for which there is no function")


def _human_goal(trajectory: Mapping[str, Json]) -> str:
    """What the first of those who described the recorded solution called the task."""
    said = trajectory.get("turk_annotations")
    told = said.get("anns") if isinstance(said, Mapping) else None
    first = told[0] if isinstance(told, list) and told else None
    goal = first.get("task_desc") if isinstance(first, Mapping) else None
    if not isinstance(goal, str) or not goal.strip():
        raise BadRow(f"no goal text ('task_desc') in its {TRAJECTORY}")
    return clean(" ".join(goal.split()).rstrip(".") + ".")
