"""Where the answer stands in a solution."""

import pytest

from environments.graders.answers import last_boxed, math_answer
from environments.graders.mathematics import MAX_SOLUTION


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"first \boxed{1}, then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\fbox{7}", "7"),
        (r"\boxed 5", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        ("**The final answer is:** 42", "42"),
        ("Answer: 42.", "42"),
        ("It took long.\n\nThe total is $36$.", "$36$"),
        ("`sqrt(2)`", "sqrt(2)"),
        ("```\n5\n```", "5"),
        ("$$\n5\n$$", "5"),
        ("\\[\n x^2 \n\\]", "x^2"),
        ("The answer is:\n$$\n5\n$$", "5"),
        ("$$5$$ or $$6$$", "$$5$$ or $$6$$"),
        ("x = 5", "x = 5"),
        ("East and west", "East and west"),
    ],
)
def test_an_answer_is_taken_from_its_sentence(solution: str, answer: str) -> None:
    assert math_answer(solution) == answer


@pytest.mark.parametrize("text", [r"no box", r"\boxed{1", r"\boxed{"])
def test_a_box_that_is_not_whole_is_none(text: str) -> None:
    assert last_boxed(text) is None


def test_a_solution_of_the_greatest_length_is_still_read() -> None:
    assert math_answer("very " * ((MAX_SOLUTION - 20) // 5) + "long, so it is 5.") == "5"
