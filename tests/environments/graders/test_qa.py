"""Exact match and F1 as the official script has them, the strict rule above them, and the original one beside them."""

import gzip
import json
from pathlib import Path

import pytest

from environments.graders.qa import MAX_SOLUTION, RULES, exact_match, f1, normalise, original, strict
from environments.protocol.parse import mint


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The  Beatles!", "beatles"),
        ("An apple, a pear & the nut", "apple pear nut"),
        ("U.S.A.", "usa"),
        ("theatre", "theatre"),
        ("1986–2013", "1986–2013"),
        ("1986-2013", "19862013"),
        ("the", ""),
        ("A-ha", "aha"),
    ],
)
def test_an_answer_is_normalised_as_the_official_script_does(text: str, plain: str) -> None:
    assert normalise(text) == plain


@pytest.mark.parametrize(
    ("prediction", "gold", "score"),
    [
        ("Terry Richardson", "terry richardson", 1.0),
        ("Annie Morton", "Terry Richardson", 0.0),
        ("the photographer Terry Richardson", "Terry Richardson", 0.8),
        ("new new york", "new york york", 2 / 3),
        ("yes", "yes", 1.0),
        ("yes, both", "yes", 0.0),
        ("no", "no way", 0.0),
        ("noanswer", "no", 0.0),
        ("", "x", 0.0),
    ],
)
def test_f1_counts_common_words_and_gives_nothing_for_half_a_yes(prediction: str, gold: str, score: float) -> None:
    assert f1(prediction, gold) == pytest.approx(score)


@pytest.mark.parametrize(
    ("gold", "solution"),
    [
        ("Terry Richardson", "Terry Richardson"),
        ("Terry Richardson", "terry richardson."),
        ("Terry Richardson", "The answer is **Terry Richardson**."),
        ("the late 12th century", "late 12th century"),
        ("1,462", "1462"),
        ("1986-2013", "1986–2013"),
        ("Rock 'n' Roll", "Rock ’n’ Roll"),
        ("yes", "Yes"),
        ("!!!", "!!!"),
        ("The The", "the the"),
        ("3.5 million", "3.5 million"),
        ("-5 °C", "-5 °C"),
    ],
)
def test_the_strict_rule_takes_the_same_answer_in_other_dress(gold: str, solution: str) -> None:
    assert strict([gold], solution).correct


@pytest.mark.parametrize(
    ("gold", "solution"),
    [
        ("1952", "1985"),
        ("no", "unknown"),
        ("yes", "yes, they are"),
        ("3.5 million", "35 million"),
        ("1.5", "15"),
        ("-5", "5"),
        ("Terry Richardson", "Terry Richardson or Annie Morton"),
        ("Paris", "Paris, France"),
        ("!!!", "?"),
        ("The The", ""),
        ("x", ""),
        ("1986-2013", "1986"),
        ("12 May 1952", "May 12 1952"),
    ],
)
def test_the_strict_rule_takes_nothing_else(gold: str, solution: str) -> None:
    assert not strict([gold], solution).correct


def test_an_alias_is_as_right_as_the_answer() -> None:
    assert strict(["River Orrin", "Orrin"], "Orrin").correct
    assert strict(["River Orrin", "Orrin"], "the Orrin river").score == pytest.approx(1.0)
    assert not strict(["River Orrin", "Orrin"], "the Orrin river").correct


def test_a_solution_that_is_a_page_is_wrong_unread() -> None:
    grade = strict(["x"], "x " * MAX_SOLUTION)
    assert not grade.correct
    assert "longer" in grade.note


@pytest.mark.parametrize(
    ("gold", "solution", "correct"),
    [
        ("1952", "1985", True),
        ("no", "unknown", True),
        ("Paris", "It is Paris, France.", True),
        ("100", "106", False),
        ("-5", "-5", False),
        ("Paris", "London", False),
    ],
)
def test_the_original_rule_is_as_lenient_as_it_was(gold: str, solution: str, correct: bool) -> None:
    assert original([gold], solution).correct is correct


def test_the_rules_are_there_by_name() -> None:
    verdicts = {name: rule(["1952"], "1985").correct for name, rule in RULES.items()}
    assert verdicts == {"strict": False, "official": False, "original": True}


# -- over the recorded data ------------------------------------------------------------------------


def _answers(data: Path) -> list[str]:
    found = []
    for name in ("distractor_questions.jsonl", "dev_simplified_noctx.jsonl", "hf_form_hard.jsonl"):
        with (data / "hotpotqa" / name).open(encoding="utf-8") as file:
            found += [json.loads(line)["answer"] for line in file]
    return found


@pytest.mark.data
def test_every_gold_answer_is_right_and_no_other_is(data: Path) -> None:
    answers = _answers(data)
    assert len(answers) == 207 + 556 + 67
    for gold, other in zip(answers, [*answers[1:], answers[0]], strict=True):
        assert strict([gold], gold).correct
        assert strict([gold], f"The answer is {gold}.").correct
        assert strict([gold], other).correct == exact_match(gold, other)
        assert original([gold], gold).correct


@pytest.mark.data
@pytest.mark.parametrize("model", ["gpt-4-0613", "claude-2", "gpt-3.5-turbo-0613"])
def test_the_original_rule_agrees_with_the_verdicts_that_were_recorded(model: str, data: Path) -> None:
    path = data / "mint_results" / model / "reasoning" / "hotpotqa" / "results.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        runs = [json.loads(line) for line in file]
    differing = []
    for run in runs:
        replies = [turn["content"] for turn in run["state"]["history"] if turn["role"] == "assistant"]
        actions = [mint(reply) for reply in replies]
        solutions = [action.content for action in actions if action.kind == "solution"]
        accepted = any(original([run["task"]["reference"]], solution).correct for solution in solutions)
        if accepted != run["state"]["success"]:
            differing.append((run["task"]["task_id"], run["task"]["reference"], solutions))
    assert differing == []
