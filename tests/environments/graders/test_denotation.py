"""The denotation grader against the data set's own readings, and the ways solutions are split."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from environments.graders.denotation import grade_denotation, normalise, readings
from environments.sources import load_tasks
from environments.tables import Tables
from environments.types import Task


def _correct(targets: Sequence[str], solution: str, canon: Sequence[str] | None = None) -> bool:
    return grade_denotation(targets, canon, solution).correct


RIGHT = [
    (["France"], "france"),
    (["France"], "**France**"),
    (["France"], "The answer is France."),
    (["France"], "['France']"),
    (["France"], "[('France',)]"),
    (["Samuel Sánchez (ESP)"], "Samuel Sanchez"),
    (["East Gippsland United¹"], "East Gippsland United1"),
    (['"Loose Ends"'], "Loose Ends"),
    (['"Wild Boy" (Remix)[27]'], "Wild Boy (Remix)"),
    (["2007–08"], "2007-08"),
    (["Belgrade, Serbia"], "Belgrade, Serbia"),
    (["Result: 2-1"], "Result: 2-1"),
    (["41,040"], "41040"),
    (["41040"], "41,040"),
    (["41040"], "41040.0"),
    (["2 years"], "2"),
    (["2 years"], "2 years"),
    (["4.0 million"], "4000000"),
    (["2nd"], "2"),
    (["28 November 1984"], "1984-11-28"),
    (["28 November 1984"], "November 28, 1984"),
    (["July 31"], "31 July"),
    (["April 1997"], "Apr 1997"),
    (["June"], "june"),
    (["Morocco", "Turkey", "Tunisia"], "Tunisia|Morocco|Turkey"),
    (["Morocco", "Turkey", "Tunisia"], "Tunisia\nMorocco\nTurkey"),
    (["Morocco", "Turkey", "Tunisia"], "- Tunisia\n- Morocco\n- Turkey"),
    (["Morocco", "Turkey", "Tunisia"], "Tunisia, Morocco, Turkey"),
    (["Morocco", "Turkey", "Tunisia"], "Tunisia, Morocco, and Turkey"),
    (["Morocco", "Turkey"], "Turkey and Morocco"),
    (["Morocco", "Turkey"], "['Turkey', 'Morocco']"),
    (["Music and Lyrics", "Dan in Real Life"], "Dan in Real Life, Music and Lyrics"),
    (["Belgrade, Serbia", "Paris, France"], "Paris, France | Belgrade, Serbia"),
    (["1985", "1986"], "1985, 1986"),
    (["1985", "1986"], "(1986, 1985)"),
    (["1985", "1985"], "1985"),
]

WRONG = [
    (["France"], "Francesca"),
    (["France"], "Paris, France"),
    (["France"], "France|Spain"),
    (["France"], "['France', 'Spain']"),
    (["France"], "I think it is France, but it could be Spain"),
    (["France"], ""),
    (["no"], "unknown"),
    (["No"], "yes"),
    (["1952"], "1985"),
    (["1952"], "1953"),
    (["-5"], "5"),
    (["13"], "13 years"),
    (["13 weeks"], "13 years"),
    (["2 years"], "3"),
    (["4.0 million"], "4"),
    (["41,040"], "41"),
    (["41,040"], "41, 040"),
    (["2.44"], "2.441"),
    (["28 November 1984"], "27 November 1984"),
    (["28 November 1984"], "November 1984"),
    (["June"], "July"),
    (["2007-08"], "2007"),
    (["Morocco", "Turkey", "Tunisia"], "Morocco|Turkey"),
    (["Morocco", "Turkey"], "Morocco|Turkey|Tunisia"),
    (["Morocco", "Turkey"], "Morocco|Spain"),
    (["Morocco", "Turkey"], "Morocco|Morocco"),
    (["Morocco", "Turkey"], "Morocco"),
    (["1985", "1986"], "1985-1986"),
    (["[1]"], "[2]"),
    (["+"], "*"),
]


@pytest.mark.parametrize(("targets", "solution"), RIGHT)
def test_the_same_denotation_is_right(targets: list[str], solution: str) -> None:
    assert _correct(targets, solution)


@pytest.mark.parametrize(("targets", "solution"), WRONG)
def test_another_denotation_is_wrong(targets: list[str], solution: str) -> None:
    assert not _correct(targets, solution)


def test_the_data_sets_own_reading_comes_before_ours() -> None:
    assert _correct(["106.3 FM"], "106.3", ["106.3"])
    assert _correct(["106.3 FM"], "106.3 fm", ["106.3"])
    assert not _correct(["106.3 FM"], "106.3")
    assert _correct(["Jun"], "June", ["xxxx-06-xx"])
    assert not _correct(["Jun"], "June 2001", ["xxxx-06-xx"])


def test_a_comma_splits_only_where_several_values_are_expected() -> None:
    assert ["Belgrade", "Serbia"] not in readings("Belgrade, Serbia", 1)
    assert ["Belgrade", "Serbia"] in readings("Belgrade, Serbia", 2)


@pytest.mark.parametrize(
    "solution",
    ["[" * 9_000, "[" + "-" * 9_000 + "1]", "x" * 10_000_000, "['\\d', 'x']", "{[1]}", "[1e999]", "|" * 9_000],
    ids=["deep", "signs", "10 MB", "escape", "unhashable", "infinite", "bars"],
)
def test_a_misshapen_solution_is_wrong(solution: str) -> None:
    assert not _correct(["France", "Spain"], solution)


@pytest.mark.parametrize(("text", "normal"), [("*", "*"), ("(a)", "(a)"), ("A.", "a"), ('"a"', "a"), ("a [1][2]", "a")])
def test_normalising_never_leaves_nothing(text: str, normal: str) -> None:
    assert normalise(text) == normal


# -- the tagged questions ------------------------------------------------------------------------


def _tagged(data: Path, name: str) -> tuple[Task, ...]:
    return load_tasks(Tables("sql"), data / "wtq" / "tagged" / "data" / f"{name}.tagged").tasks


def _targets(task: Task) -> tuple[list[str], list[str]]:
    reference = task.reference
    assert isinstance(reference, dict)
    return list(reference["targets"]), list(reference["canon"])


@pytest.mark.data
@pytest.mark.parametrize(("name", "count"), [("pristine-unseen-tables", 143), ("pristine-seen-tables", 85)])
def test_every_tagged_target_is_right_as_written_and_as_read_and_its_near_misses_wrong(
    name: str, count: int, data: Path
) -> None:
    tasks = _tagged(data, name)
    assert len(tasks) == count
    for task in tasks:
        targets, canon = _targets(task)
        assert _correct(targets, "|".join(targets), canon), task.id
        assert _correct(targets, "|".join(reversed(canon)), canon), task.id
        assert _correct(targets, repr(targets), canon), task.id
        for near in _near_misses(targets, canon):
            assert not _correct(targets, near, canon), (task.id, near)


def _near_misses(targets: list[str], canon: list[str]) -> list[str]:
    first, *others = canon
    changed = str(float(first) + 1) if first.replace(".", "", 1).isdigit() else f"{first} too"
    misses = ["|".join([changed, *others]), "|".join([*targets, "one more"]), "something else"]
    return misses + (["|".join(others)] if others else [])


@pytest.mark.data
def test_our_reading_of_a_target_agrees_with_the_data_sets_own(data: Path) -> None:
    """Training questions have no `targetCanon`; this is how far ours goes where both are known."""
    unlike = set()
    for name in ("pristine-unseen-tables", "pristine-seen-tables"):
        for task in _tagged(data, name):
            targets, canon = _targets(task)
            if not _correct(targets, "|".join(canon)):
                unlike.add(targets[0])
    assert unlike == {"106.3 FM"}
