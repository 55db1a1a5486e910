"""Recipes: what a file may say, and the clear line where it says something else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from environments.faults import UsageError
from environments.types import CellError, CellResult, Grade, Trajectory, Verdict
from filters import filter as filters
from filters.filter import Filter, Reading, filter_names, find_filter, named
from filters.recipe import Recipe, Step, judge, load_recipe, preset_names
from tests.factory import execute, make_trajectory, make_turn, solve

RIGHT, WRONG = Grade(True, 1.0), Grade(False, 0.0)
NAME_ERROR = CellResult(error=CellError("NameError", "name 'x' is not defined", "Cell In[1], line 1\n----> 1 y = x\n"))


def recovered() -> Trajectory:
    turns = [make_turn(0, execute("y = x"), NAME_ERROR), make_turn(1, execute("x = 2\ny = x"), CellResult())]
    return make_trajectory([*turns, make_turn(2, solve("2"), grade=RIGHT)])


def of_form() -> Trajectory:
    return make_trajectory([make_turn(0, "no tag"), make_turn(1, solve("2"), grade=RIGHT)])


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[[str], Recipe]:
    def load(text: str) -> Recipe:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(str(path))

    return load


def test_every_preset_loads_under_its_own_name() -> None:
    assert preset_names() == ["codeact-original", "recovered"]
    assert [load_recipe(name).name for name in preset_names()] == preset_names()


def test_every_built_in_filter_is_found_by_its_name() -> None:
    assert all(find_filter(name).name == name for name in filter_names())
    assert set(filter_names()) >= {"solved", "errors_recovered", "published_rule"}


def test_a_recipe_stops_at_the_first_step_that_drops() -> None:
    recipe = load_recipe("recovered")
    assert [verdict.keep for _, verdict in judge(recipe, recovered())] == [True, True]
    unsolved = make_trajectory([make_turn(0, solve("3"), grade=WRONG)])
    ((step, verdict),) = judge(recipe, unsolved)
    assert (step.filter.name, verdict.keep, verdict.reason) == ("solved", False, "not solved: max_turns")


def test_a_correction_of_form_is_kept_only_on_request(recipe_file: Callable[[str], Recipe]) -> None:
    assert [verdict.reason for _, verdict in judge(load_recipe("recovered"), of_form())] == [
        "solved",
        "R2: nothing fixed but form",
    ]
    lenient = recipe_file('[[steps]]\nfilter = "errors_recovered"\nbeyond_form = false\n')
    assert judge(lenient, of_form())[-1][1].keep


def test_the_evidence_holds_the_level_the_spans_and_the_classes() -> None:
    verdict = judge(load_recipe("recovered"), recovered())[-1][1]
    assert verdict.evidence == {"level": "R2", "spans": [[0, 1]], "classes": ["E1"], "unfixed": 0}


def test_solved_is_not_taken_from_the_outcome_alone() -> None:
    turn = make_turn(0, solve("2"), grade=RIGHT)
    claimed = make_trajectory([turn])
    ungraded = Trajectory(
        1, "r", claimed.task, "t", 0, claimed.prompt, claimed.rules, (make_turn(0, "2"),), claimed.outcome, "none", 0
    )
    solved = find_filter("solved")
    assert solved.judge(claimed, Reading(claimed)).keep
    assert not solved.judge(ungraded, Reading(ungraded)).keep


def test_a_default_spelt_out_is_the_same_step(recipe_file: Callable[[str], Recipe]) -> None:
    spelt = recipe_file('[[steps]]\nfilter = "errors_recovered"\nbeyond_form = true\nmin_level = "R2"\n')
    bare = recipe_file('[[steps]]\nfilter = "errors_recovered"\n')
    assert spelt.keys == bare.keys
    assert bare.keys[0].parameters == '{"beyond_form":true,"min_level":"R2"}'
    assert bare.name == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[steps]\n", "is not TOML"),
        ("name = 'x'\n", "has no steps"),
        ("steps = []\n", "has no steps"),
        ("[[steps]]\nmin_level = 'R2'\n", "step 1 names no filter"),
        (
            "[[steps]]\nfilter = 'resolved'\n",
            "no filter 'resolved'. There are: errors_recovered, published_rule, solved",
        ),
        ("[[steps]]\nfilter = 'solved'\nlevel = 1\n", "'solved' has no parameter 'level'. It has none."),
        ("[[steps]]\nfilter = 'errors_recovered'\nlevel = 1\n", "It has: beyond_form, min_level."),
        ("[[steps]]\nfilter = 'errors_recovered'\nmin_level = 'R9'\n", "'min_level' = 'R9': Input should be 'U', 'R0'"),
        ("[[steps]]\nfilter = 'errors_recovered'\nbeyond_form = 'yes'\n", "Input should be a valid boolean"),
        ("title = 'x'\n[[steps]]\nfilter = 'solved'\n", "does not know 'title'"),
        ("name = 3\n[[steps]]\nfilter = 'solved'\n", "its name must be a text"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said_in_a_line(
    recipe_file: Callable[[str], Recipe], text: str, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        recipe_file(text)
    assert said in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_an_unknown_recipe_lists_the_presets() -> None:
    with pytest.raises(UsageError, match=r"no recipe 'recoverd'.*codeact-original, recovered"):
        load_recipe("recoverd")


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read recipe"):
        load_recipe(str(tmp_path))


def failing(trajectory: Trajectory, reading: Reading) -> Verdict:
    raise ZeroDivisionError("3 \ud800 0")


def unspeakable(trajectory: Trajectory, reading: Reading) -> Verdict:
    return Verdict(True, "kept", {"who": {1, 2}})  # type: ignore[dict-item]


def nothing(trajectory: Trajectory, reading: Reading) -> None:
    return None


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (failing, "filter failed: ZeroDivisionError: 3 \\ud800 0"),
        (unspeakable, "filter failed: TypeError: Object of type set is not JSON serializable"),
        (nothing, "filter failed: AttributeError: "),
    ],
)
def test_a_filter_that_fails_drops_the_trajectory_and_says_why(function: Callable[..., Verdict], said: str) -> None:
    recipe = Recipe("r", (Step(Filter("mine", 1, function), {}),))
    ((_, verdict),) = judge(recipe, recovered())
    assert not verdict.keep
    assert verdict.reason.startswith(said)


def test_a_parameter_without_a_default_must_be_given() -> None:
    @named("longest", version=1)
    def longest(trajectory: Trajectory, reading: Reading, *, turns: int) -> Verdict:
        return Verdict(len(trajectory.turns) <= turns, "by length")

    assert longest.settings({"turns": 3}) == {"turns": 3}
    with pytest.raises(UsageError, match="'longest' needs a value for 'turns'"):
        longest.settings({})
    with pytest.raises(UsageError, match="valid integer"):
        longest.settings({"turns": 3.5})


def test_the_errors_of_a_trajectory_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = filters.error_events
    monkeypatch.setattr(filters, "error_events", lambda trajectory: read.append(trajectory.id) or real(trajectory))
    judge(load_recipe("recovered"), recovered())
    assert read == [1]
