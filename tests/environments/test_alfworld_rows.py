"""Games as tasks: ours are made again from their seed, ALFWorld's are read, and what cannot be won is refused."""

import json
import re
from pathlib import Path

import pytest

from environments.alfworld import Alfworld
from environments.alfworld_games import TASK_TYPES, as_call, make_games
from environments.alfworld_rooms import names
from environments.alfworld_rows import game_folders
from environments.environment import BadRow, Row
from environments.sources import load_tasks
from environments.types import Json

GRAMMAR = '"rhs": "Your task is to: put a mug in desk."\ntemplate :: "put {o} in/on {r}";'
PROBLEM = "(:init (receptacleAtLocation Desk_bar_1 loc_bar_1)) (:goal (and))"
GAME: dict[str, Json] = {"pddl_domain": "(define)", "grammar": GRAMMAR, "pddl_problem": PROBLEM, "solvable": True}
TRAJECTORY: dict[str, Json] = {
    "task_type": "pick_and_place_simple",
    "turk_annotations": {"anns": [{"task_desc": " Bring a mug\nto the desk."}]},
    "pddl_params": {"object_sliced": False},
}


def _written(folder: Path, game: object = GAME, trajectory: object = TRAJECTORY) -> Row:
    (folder / "mug" / "trial").mkdir(parents=True)
    (folder / "mug" / "trial" / "game.tw-pddl").write_text(json.dumps(game))
    (folder / "mug" / "trial" / "traj_data.json").write_text(json.dumps(trajectory))
    return Row({"game": "mug/trial"}, "games.jsonl:1", folder)


def test_a_game_of_alfworld_is_a_task_with_its_own_grammar(tmp_path: Path) -> None:
    task = Alfworld().task(_written(tmp_path))
    assert task.id == "alfworld/mug/trial"
    assert task.prompt == (
        "Your task is to: put a mug in desk.\n"
        "Somebody who saw it done called it: Bring a mug to the desk. (Where the two differ, the first counts.)\n\n"
        "You are in the middle of a room. Around you are: desk 1."
    )
    assert task.metadata == {"task_type": "pick_and_place_simple"}
    assert (task.inputs["grammar"], task.inputs["domain"], task.reference) == (GRAMMAR, "(define)", None)


def test_a_game_is_named_from_the_root_of_the_data_too(tmp_path: Path) -> None:
    _written(tmp_path / "json_2.1.1" / "train")
    assert Alfworld().task(Row({"game": "mug/trial"}, "games.jsonl:1", tmp_path)).id == "alfworld/mug/trial"
    assert list(game_folders(tmp_path)) == ["json_2.1.1/train/mug/trial"]


@pytest.mark.parametrize(
    ("game", "trajectory", "said"),
    [
        ({"solvable": False}, {}, "says that it is not solvable"),
        ({"solvable": None}, {}, "says that it is not solvable"),
        ({"solvable": ...}, {}, "does not say whether it is solvable"),
        ({"pddl_domain": ...}, {}, "no 'pddl_domain'"),
        ({"grammar": ""}, {}, "no 'grammar'"),
        ({"grammar": GRAMMAR.replace("put {o}", "lay {o}")}, {}, "neither 'put … in/on …' nor 'move … to …'"),
        ({"grammar": GRAMMAR.replace("Your task", "Our task")}, {}, "does not say what the task is"),
        ({"pddl_problem": 7}, {}, "no 'pddl_problem'"),
        ({"pddl_problem": "(define (problem x))"}, {}, "not PDDL with an :init and a :goal"),
        ({"pddl_problem": "(:init ) (:goal (and))"}, {}, "no receptacle stands anywhere"),
        (
            {},
            {"task_type": "pick_and_place_with_movable_recep"},
            "task type 'pick_and_place_with_movable_recep' is none",
        ),
        ({}, {"task_type": ...}, "task type None is none"),
        ({}, {"turk_annotations": {"anns": []}}, "no goal text"),
        ({}, {"turk_annotations": ["?"]}, "no goal text"),
        ({}, {"pddl_params": {"object_sliced": True}}, "has to be sliced"),
    ],
)
def test_a_game_that_is_no_task_says_why(
    game: dict[str, object], trajectory: dict[str, object], said: str, tmp_path: Path
) -> None:
    changed = [
        {name: value for name, value in {**whole, **part}.items() if value is not ...}
        for whole, part in ((GAME, game), (TRAJECTORY, trajectory))
    ]
    with pytest.raises(BadRow, match=said):
        Alfworld().task(_written(tmp_path, *changed))


def test_files_that_are_none_are_told(tmp_path: Path) -> None:
    row = _written(tmp_path, game=["a list"])
    with pytest.raises(BadRow, match=r"game\.tw-pddl is no JSON object"):
        Alfworld().task(row)
    (tmp_path / "mug" / "trial" / "game.tw-pddl").write_text('{"pddl_domain": "(def')
    with pytest.raises(BadRow, match=r"game\.tw-pddl cannot be read"):
        Alfworld().task(row)
    (tmp_path / "mug" / "trial" / "traj_data.json").unlink()
    (tmp_path / "mug" / "trial" / "game.tw-pddl").write_text(json.dumps(GAME))
    with pytest.raises(BadRow, match=r"no traj_data\.json"):
        Alfworld().task(row)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "no 'game'"),
        ({"game": "mug/nowhere"}, r"no game\.tw-pddl in .*mug/nowhere"),
        ({"game": "../mug"}, "a path from its own folder"),
        ({"game": "/mug"}, "a path from its own folder"),
        ({"problem": PROBLEM, "id": "x", "task_type": "look_at_obj_in_light"}, "no 'goal'"),
        ({"problem": PROBLEM, "goal": "y", "task_type": "look_at_obj_in_light"}, "no 'id'"),
        ({"problem": PROBLEM, "goal": "y", "id": "x", "task_type": "dance"}, "task type 'dance' is none"),
        ({"problem": "", "goal": "y", "id": "x"}, "no 'problem'"),
        ({"problem": "(define)", "goal": "y", "id": "x"}, "not PDDL"),
    ],
)
def test_a_row_that_is_no_task_says_why(data: dict[str, Json], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadRow, match=said):
        Alfworld().task(Row(data, "games.jsonl:1", tmp_path))


# -- our own -------------------------------------------------------------------------------------


def test_games_are_made_the_same_again_and_a_larger_count_begins_with_the_smaller() -> None:
    few, many = list(make_games(7, 3)), list(make_games(30, 3))
    assert many[:7] == few
    assert [game.task_type for game in many] == [*TASK_TYPES] * 5
    assert len({game.id for game in many} | {game.id for game in make_games(30, 4)}) == 60


def test_a_game_made_here_is_a_task_and_does_not_begin_where_it_should_end() -> None:
    for number, game in enumerate(make_games(120, 0)):
        task = Alfworld().task(Row(json.loads(json.dumps(game.row())), f"made:{number}"))
        assert task.prompt.startswith(f"Your task is to: {game.goal}.\n\nYou are in the middle of a room.")
        assert task.metadata == {"task_type": game.task_type}
        _, wanted, destination, _ = game.id.partition("/")[0].split("-")
        places = re.findall(rf"\(inReceptacle {wanted}_bar_\d+ (\w+?)_bar_", game.problem)
        assert len(places) == (2 if game.task_type == "pick_two_obj_and_place" else 1)
        assert destination not in places
        assert len(game.problem) < 12_000


def test_things_are_called_as_the_engine_calls_them() -> None:
    called = names(["Desk_bar_1", "Desk_bar_2", "Sink_bar_1_bar_SinkBasin", "Sink_bar_1", "Mug_bar_7"])
    assert called == {
        "Desk_bar_1": "desk 2",
        "Desk_bar_2": "desk 1",
        "Sink_bar_1_bar_SinkBasin": "sinkbasin 1",
        "Sink_bar_1": "sink 1",
        "Mug_bar_7": "mug 1",
    }


def test_a_command_is_a_call_in_either_grammar() -> None:
    assert as_call("put mug 1 in/on desk 2") == as_call("move mug 1 to desk 2") == ("put", ("mug 1", "desk 2"))
    assert as_call("go to sinkbasin 1") == ("goto", ("sinkbasin 1",))
    with pytest.raises(ValueError, match="no function says 'dance'"):
        as_call("dance")


# -- the data set's games ------------------------------------------------------------------------


@pytest.mark.data
def test_every_solvable_game_is_a_task_and_the_others_say_why_not(data: Path) -> None:
    index = data / "alfworld" / "index.jsonl"
    entries = [json.loads(line) for line in index.read_text().splitlines()]
    solvable = {f"alfworld/{entry['game']}" for entry in entries if entry["solvable"] is True}
    loaded = load_tasks(Alfworld(), index)
    assert {task.id for task in loaded.tasks} == solvable
    assert len(solvable) == 48
    reasons = sorted(problem.partition(": ")[2] for problem in loaded.problems)
    assert [reason.partition(" is none")[0] for reason in reasons] == [
        "its game.tw-pddl does not say whether it is solvable",
        *["its game.tw-pddl says that it is not solvable"] * 5,
        "its task type 'pick_and_place_with_movable_recep'",
    ]


@pytest.mark.data
def test_a_prompt_names_the_receptacles_that_the_game_itself_names(data: Path) -> None:
    prompts = {task.id: task.prompt for task in load_tasks(Alfworld(), data / "alfworld" / "index.jsonl").tasks}
    replays = [json.loads(line) for line in (data / "alfworld" / "verified_replays.jsonl").read_text().splitlines()]
    for replay in replays:
        prompt = prompts[f"alfworld/{replay['game']}"]
        shown = re.findall(r"an? ([a-z]+ \d+)", replay["intro"].split("you see ")[1].split("\n")[0])
        assert sorted(shown) == sorted(prompt.rpartition("Around you are: ")[2].rstrip(".").split(", "))
        assert prompt.startswith(replay["intro"].rpartition("\n\n")[2] + "\n")
