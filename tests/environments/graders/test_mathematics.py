"""What the mathematics grader takes for the same answer, and what it does not."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from environments.graders import mathworker
from environments.graders.answers import last_boxed
from environments.graders.latex import tidy
from environments.graders.mathematics import MathGrader
from environments.graders.reading import read_shape
from environments.graders.scalars import Scalar
from environments.graders.shapes import Group, Matrix, Shape, Union, Words

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[MathGrader]:
    async with MathGrader() as grader:
        yield grader


SAME = [
    ("14", "Each person can have 14 slices."),
    ("130000", "She made a profit of $130,000 then."),
    ("1, 2", "x = 1\nx = 2"),
    ("[1, 2]", "[1,\n 2]"),
    (r"\frac{1}{2}", "1/2"),
    (r"\frac{1}{2}", "0.5"),
    (r"\frac 12", r"\dfrac{1}{2}"),
    (r"\frac97", r"\frac{9}{7}"),
    (r"\frac{1}{2}", "2/4"),
    (r"-\frac{1}{16}", r"\frac{-1}{16}"),
    (r"-\frac{1}{16}", "-0.0625"),
    (r"\frac{1}{3}", "0.3333333333333333"),
    (r"\sqrt{2}", "1.4142135623730951"),
    (r"\sqrt{2}", "sqrt(2)"),
    (r"2\sqrt{3}", "2*sqrt(3)"),
    (r"2\sqrt{3}", "2√3"),
    (r"22+12\sqrt{2}", "12*sqrt(2) + 22"),
    (r"\frac{\sqrt3}{2}", "sqrt(3)/2"),
    (r"\frac{3 \pi}{4}", "3*pi/4"),
    (r"4\pi", "4π"),
    (r"4\pi", "12.566370614359172"),
    ("8", "2**3"),
    ("x^2 + 10x + 25", "x**2 + 10*x + 25"),
    ("x^2 + 10x + 25", "(x+5)^2"),
    ("7x(x-1)(x-2)", "7*x*(x - 1)*(x - 2)"),
    (r"1,\!000,\!000", "1000000"),
    (r"1,\!000,\!000", "1,000,000"),
    ("5{,}040", "5040.0"),
    (r"10\%", "10"),
    (r"10\%", "10 percent"),
    (r"90^\circ", "90"),
    (r"90^\circ", r"90^{\circ}"),
    (r"90^\circ", "90 degrees"),
    (r"\$18", "18"),
    ("18", "$18"),
    ("18", r"\$18.00"),
    (r"\$18", "18 dollars"),
    (r"864 \mbox{ inches}^2", "864 square inches"),
    (r"12\text{ square units}", "12"),
    (r"12\text{ cm}", "12 centimeters"),
    ("36", "36 hours"),
    ("5", "x = 5"),
    ("b=0", "0"),
    ("y=2x+3", "2x+3"),
    ("13", "6 + 2 + 5 = 13"),
    ("10", "The answer is 10."),
    ("10", "**10**"),
    ("10", "$10$"),
    ("10", r"\(10\)"),
    ("10", r"so we get \boxed{10}."),
    ("10", r"\boxed 10"),
    ("3", "The value of x that satisfies the equation is 3."),
    ("-4", "The value of $ab$ is -4."),
    ("10", "10.0"),
    ("15.0", "15"),
    (r"6 \frac{3}{4}", "27/4"),
    (r"6 \frac{3}{4}", "6 3/4"),
    (r"6 \frac{3}{4}", "6.75"),
    ("120000", r"1.2 \times 10^5"),
    ("120000", "1.2e5"),
    ("1011_2", "1011_{2}"),
    ("1011_2", "1011"),
    ("1,2", "2, 1"),
    ("1,2", "[1, 2]"),
    ("1,2", "{2, 1}"),
    ("1,2", "(2, 1)"),
    ("1,2", "x = 1 or x = 2"),
    ("1,2", r"1 \text{ and } 2"),
    ("1,2", "FiniteSet(1, 2)"),
    (r"\{1,2\}", "{2, 1}"),
    ("3i,-3i", r"\pm 3i"),
    ("3i,-3i", "-3*I, 3*I"),
    (r"1+\sqrt{2},1-\sqrt{2}", r"1 \pm \sqrt{2}"),
    ("(10,2)", r"\left(10, 2\right)"),
    ("(10,2)", "(x, y) = (10, 2)"),
    ("(1, 4\\sqrt3)", "(1, 4*sqrt(3))"),
    ("(-2,5,-1)", "[-2, 5, -1]"),
    (r"(-\infty,3]", r"x \le 3"),
    (r"(-\infty,3]", "x <= 3"),
    (r"(-\infty,3]", "3 >= x"),
    (r"(-\infty,3]", "(-oo, 3]"),
    (r"(-\infty,3]", "Interval(-oo, 3)"),
    (r"x \le 3", r"(-\infty, 3]"),
    ("(1,3]", r"1 < x \le 3"),
    ("(1,3]", "(1 < x) & (x <= 3)"),
    (r"(-\infty,5) \cup (5,\infty)", r"x \ne 5"),
    (r"(-\infty,5) \cup (5,\infty)", "x < 5 or x > 5"),
    (r"(-\infty,5) \cup (5,\infty)", "Union(Interval.open(-oo, 5), Interval.open(5, oo))"),
    (r"\begin{pmatrix} 7 \\ -2 \end{pmatrix}", r"\begin{bmatrix}7\\-2\end{bmatrix}"),
    (r"\begin{pmatrix} 7 \\ -2 \end{pmatrix}", "Matrix([[7], [-2]])"),
    (r"\begin{pmatrix} 7 \\ -2 \end{pmatrix}", "(7, -2)"),
    (r"\begin{pmatrix} 0 & 0 \\ 0 & 1 \end{pmatrix}", "[[0, 0], [0, 1]]"),
    (r"\text{Evelyn}", "evelyn"),
    ("Evelyn", "The answer is Evelyn."),
    (r"\text{(C)}", "C"),
    (r"\text{(C)}", "(C)"),
    (r"\text{even}", "The function is even."),
    (r"\cos 13^\circ", "cos(13*pi/180)"),
    (r"\cos 13^\circ", "cos(13°)"),
    ("10x - 4y - 5z - 20 = 0", "10*x - 4*y - 5*z = 20"),
    ("x^2 + y^2 = 9", "x**2 + y**2 = 9"),
    (r"\binom{5}{2}", "10"),
    ("5!", "factorial(5)"),
    (r"\frac{2}{r}", "2/r"),
    ("ab", "b*a"),
]

DIFFERENT = [
    ("45", "18\n27"),
    ("45", "18 27"),
    ("486", "18 27"),
    ("27", "18\n27"),
    ("36", "Jim spends 36 hours on TV in 4 weeks."),
    ("14", "More than 14 people."),
    ("14", "They don't need 14 slices."),
    ("1952", "1985"),
    ("1952", "1953"),
    ("-5", "5"),
    ("-5", "-5.01"),
    ("100", "101"),
    (r"\frac{1}{3}", "0.33"),
    (r"\frac{1}{3}", "0.333333"),
    (r"\frac{2}{3}", "0.67"),
    (r"\sqrt{2}", "1.414"),
    (r"\pi", "3.14159"),
    (r"\pi", r"\frac{22}{7}"),
    (r"4\pi", "12.57"),
    ("0.0000001", "0.0000002"),
    (r"\frac{1}{2}", "1/3"),
    (r"\frac{1}{2}", "2"),
    (r"\frac{10}{3}", r"\frac{3}{10}"),
    (r"2\sqrt{3}", r"3\sqrt{2}"),
    (r"2\sqrt{3}", r"-2\sqrt{3}"),
    (r"22+12\sqrt{2}", r"22-12\sqrt{2}"),
    ("x+2", "x-2"),
    ("x+2", "y+2"),
    (r"10\%", "0.1"),
    (r"10\%", r"0.1\%"),
    (r"10\%", r"11\%"),
    (r"90^\circ", r"\frac{\pi}{2}"),
    (r"90^\circ", r"90\%"),
    (r"\$18", "18 cents"),
    (r"12\text{ cm}", "12 m^2"),
    (r"144 \mbox{ m}^3", "144 square inches"),
    (r"1,\!000", "1"),
    (r"1,\!000", "(1, 0)"),
    ("1,000", "1,001"),
    ("3", "3 million"),
    ("3", "3 out of 4"),
    (r"6 \frac{3}{4}", "18/4"),
    ("1011_2", "11"),
    ("1011_2", "1011_3"),
    ("1011", "1011_2"),
    ("1,2", "1,3"),
    ("1,2", "1"),
    ("1,2", "1, 2, 3"),
    ("1,2", "1, 1"),
    ("1", "1, 2"),
    ("5", "5 or 6"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "[1,2]"),
    ("(1,2)", "1, 2"),
    ("(1,2)", "{1, 2}"),
    ("(-2,5,-1)", "(-1,5,-2)"),
    ("[0,1]", "(0,1)"),
    ("[0,1]", "[0,1)"),
    ("(0,1]", "[0,1)"),
    (r"(-\infty,3]", r"(-\infty,3)"),
    (r"(-\infty,3]", "x < 3"),
    (r"(-\infty,3]", "x >= 3"),
    (r"(-\infty,3]", "3"),
    (r"x \le 3", r"y \le 3"),
    ("(1,3]", r"1 \le x < 3"),
    (r"(-\infty,5) \cup (5,\infty)", "x = 5"),
    (r"(-\infty,5) \cup (5,\infty)", r"(-\infty,\infty)"),
    (r"\begin{pmatrix} 7 \\ -2 \end{pmatrix}", r"\begin{pmatrix} -2 \\ 7 \end{pmatrix}"),
    (r"\begin{pmatrix} 7 \\ -2 \end{pmatrix}", "[[7, -2]]"),
    (r"\begin{pmatrix} 0 & 0 \\ 0 & 1 \end{pmatrix}", "[[0, 0], [1, 0]]"),
    (r"\begin{pmatrix} 0 & 0 \\ 0 & 1 \end{pmatrix}", "[0, 0, 0, 1]"),
    (r"\text{Evelyn}", "Evelny"),
    (r"\text{Evelyn}", "Nylevе"),
    (r"\text{(C)}", "D"),
    (r"\text{even}", "odd"),
    (r"\text{even}", "not even"),
    ("no", "on"),
    ("x=5", "y=5"),
    ("0", "x^2 - 4 = 0"),
    ("5", "2x + 3 = 5"),
    ("10", "The answer is not 10"),
    ("10", "I don't know"),
    ("10", ""),
    ("10", "10 = 11"),
    ("10", r"\boxed{}"),
    (r"\cos 13^\circ", r"\cos 13"),
    (r"\cos 13^\circ", r"\sin 13^\circ"),
    ("10x - 4y - 5z - 20 = 0", "10x - 4y - 5z + 20 = 0"),
    ("16\\pi", "16"),
    ("3s^2", "3s"),
    ("18x^8", "18x^9"),
    ("3", "{x: 3}"),
    ("10", "__import__('os').getpid()"),
]


@pytest.mark.parametrize(("reference", "solution"), SAME)
async def test_another_spelling_of_the_reference_is_right(grader: MathGrader, reference: str, solution: str) -> None:
    assert (await grader.grade(reference, solution)).correct


@pytest.mark.parametrize(("reference", "solution"), DIFFERENT)
async def test_a_near_miss_is_wrong(grader: MathGrader, reference: str, solution: str) -> None:
    assert not (await grader.grade(reference, solution)).correct


# -- the data set's own references ---------------------------------------------------------------


def _golds(data: Path) -> list[str]:
    lines = (data / "math" / "math_test.jsonl").read_text(encoding="utf-8").splitlines()
    golds = [last_boxed(json.loads(line)["solution"]) for line in lines]
    assert None not in golds
    return [gold for gold in golds if gold is not None]


def _printed(shape: Shape) -> str:
    """As sympy prints it, which is how a teacher who computed it writes it."""
    match shape:
        case Scalar():
            return shape.text if shape.base else str(mathworker.read(shape.text))
        case Words():
            return shape.text
        case Matrix():
            return f"Matrix({[[_printed(cell) for cell in row] for row in shape.rows]})".replace("'", "")
        case Union():
            return " U ".join(map(_printed, shape.parts))
        case Group():
            return shape.opening + ", ".join(map(_printed, shape.items)) + shape.closing


@pytest.mark.data
async def test_every_reference_of_math_is_right_as_written_and_as_sympy_prints_it(
    grader: MathGrader, data: Path
) -> None:
    golds = _golds(data)
    assert len(golds) == 353
    for gold in golds:
        assert (await grader.grade(gold, gold)).correct, gold
        printed = _printed(read_shape(tidy(gold)))
        assert (await grader.grade(gold, printed)).correct, (gold, printed)


SPELLINGS = {
    "in dollars": lambda gold: f"${gold}$",
    "inline": lambda gold: rf"\({gold}\)",
    "displayed": lambda gold: f"$$\n{gold}\n$$",
    "displayed in brackets": lambda gold: f"\\[\n{gold}\n\\]",
    "boxed": lambda gold: rf"\boxed{{{gold}}}",
    "boxed in a sentence": lambda gold: f"Therefore the final answer is $\\boxed{{{gold}}}$.",
    "in a sentence": lambda gold: f"The answer is ${gold}$.",
    "after a label": lambda gold: f"**Answer:** {gold}",
    "emphasised": lambda gold: f"**{gold}**",
    "with a full stop": lambda gold: f"{gold}.",
    "with large fractions": lambda gold: gold.replace(r"\frac", r"\dfrac"),
    "with small fractions": lambda gold: re.sub(r"\\d?frac", r"\\tfrac", gold),
    "with plain brackets": lambda gold: gold.replace(r"\left", "").replace(r"\right", ""),
    "with square matrices": lambda gold: gold.replace("pmatrix", "bmatrix"),
    "spaced out": lambda gold: gold.replace("+", " + ").replace("=", " = "),
}


@pytest.mark.data
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_every_reference_of_math_is_right_in_every_spelling(
    grader: MathGrader, data: Path, spelling: str
) -> None:
    taken = [gold for gold in _golds(data) if not (await grader.grade(gold, SPELLINGS[spelling](gold))).correct]
    assert taken == []


def _next_digit(gold: str) -> str:
    """`12` for `11`: the last digit that stands in it, one further."""
    last = re.fullmatch(r"(.*)(\d)(\D*)", gold, re.DOTALL)
    return f"{last[1]}{(int(last[2]) + 1) % 10}{last[3]}" if last else gold


def _other_sign(gold: str) -> str:
    """Of one number, which is not zero."""
    if gold == "0" or not re.fullmatch(r"-?(?:[\d./{}]|\\d?frac|\\sqrt|\\pi)+", gold):
        return gold
    return gold.removeprefix("-") if gold.startswith("-") else f"-{gold}"


@pytest.mark.data
@pytest.mark.parametrize(("change", "count"), [(_next_digit, 345), (_other_sign, 250)])
async def test_no_reference_of_math_is_right_with_another_digit_or_sign(
    grader: MathGrader, data: Path, change: Callable[[str], str], count: int
) -> None:
    changed = [(gold, change(gold)) for gold in _golds(data) if change(gold) != gold]
    assert len(changed) >= count
    assert [pair for pair in changed if (await grader.grade(*pair)).correct] == []


@pytest.mark.data
async def test_no_reference_of_math_is_taken_for_its_neighbours(grader: MathGrader, data: Path) -> None:
    core = re.compile(r"\\!|[,\s]|\^\\circ|\\text.*|\\mbox.*|d(?=frac)|\\%")
    golds = sorted({core.sub("", gold): gold for gold in _golds(data) if gold != "2, -1"}.values())
    pairs = [(one, other) for at, one in enumerate(golds) for other in golds[at + 1 : at + 8]]
    taken = [pair for pair in pairs if (await grader.grade(*pair)).correct]
    assert len(pairs) > 900
    assert taken == []


# -- what a solution may do to the grader --------------------------------------------------------


@pytest.mark.parametrize("solution", ["9^9^9^9^9", "factorial(10**9)"])
async def test_no_worker_survives_a_solution_that_exhausts_it_and_the_next_is_graded(
    grader: MathGrader, solution: str
) -> None:
    assert (await grader.grade("x+1", "1+x+0")).correct
    asked = _workers()
    assert asked
    grade = await grader.grade("x+1", solution)
    assert not grade.correct
    assert "too much for the algebra" in grade.note
    assert len(asked - _workers()) == 1
    assert (await grader.grade("x+1", "1+x+0")).correct


def _workers() -> set[int]:
    return {child.pid for child in psutil.Process().children() if "mathworker" in " ".join(child.cmdline())}


@pytest.mark.parametrize(
    "solution",
    ["1" * 10_000_000, "(" * 4_000 + "1" + ")" * 4_000, "{" * 2_000, "1" * 5_000, "1e999999999", "-" * 1_900 + "1"],
    ids=["10 MB", "deep", "unclosed", "many digits", "large exponent", "many signs"],
)
async def test_a_misshapen_solution_is_wrong(grader: MathGrader, solution: str) -> None:
    assert not (await grader.grade("x+1", solution)).correct


async def test_one_grader_serves_many_trajectories(grader: MathGrader) -> None:
    grades = await asyncio.gather(*(grader.grade(f"x+{n}", f"{n} + x + {n % 2}") for n in range(40)))
    assert [grade.correct for grade in grades] == [n % 2 == 0 for n in range(40)]


async def test_a_cancelled_question_does_not_answer_the_next(grader: MathGrader) -> None:
    asked = asyncio.create_task(grader.grade("x+1", "(x+1)**100000"))
    await asyncio.sleep(0.2)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert not (await grader.grade("x+1", "x+2+0")).correct
    assert (await grader.grade("x+1", "1+x")).correct
