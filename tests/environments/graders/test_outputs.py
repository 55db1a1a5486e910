"""When what a program prints or returns is what was expected."""

import pytest

from environments.graders.outputs import same_print, same_value
from environments.types import Json


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("1\n2\n", "1\n2"),
        ("1 2 \n", "  1   2\r\n"),
        ("a\n\nb\n", "a\nb\n\n\n"),
        ("0.5\n", "0.50000001\n"),
        ("1e3\n", "1000\n"),
        ("-0.0\n", "0\n"),
        ("123456789.5\n", "123456790\n"),
        ("", "\n \n"),
        ("3 yes 0.1\n", "3 yes .1\n"),
    ],
)
def test_blanks_and_the_last_digits_of_a_decimal_do_not_matter(expected: str, printed: str) -> None:
    assert same_print(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("1\n2\n", "1 2\n"),
        ("1 2\n", "12\n"),
        ("1\n", "1\n1\n"),
        ("1\n", ""),
        ("", "0\n"),
        ("yes\n", "YES\n"),
        ("3\n", "3.0\n"),
        ("1000000\n", "1000001\n"),
        ("0.5\n", "0.50001\n"),
        ("0.5\n", "nan\n"),
        ("0.5\n", "1/2\n"),
        ("0.5\n", "0.5 metres\n"),
        ("007\n", "7\n"),
    ],
)
def test_lines_words_and_whole_numbers_do(expected: str, printed: str) -> None:
    assert not same_print(expected, printed)


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        ([1, [2]], {"tuple": [1, {"tuple": [2]}]}),
        ([1, 2], {"iterator": [1, 2]}),
        (0.1, 0.1 + 1e-12),
        (2.0, 2),
        (2, 2.0),
        (1, True),
        ({"a": [1]}, {"dict": [["a", [1]]]}),
        ({"1": 2}, {"dict": [[1, 2]]}),
        (None, None),
        ("", ""),
    ],
)
def test_a_returned_value_is_equal_as_in_python_tuples_as_lists(expected: Json, returned: Json) -> None:
    assert same_value(expected, returned)


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        ([1, 2], [2, 1]),
        ([1, 2], {"set": [1, 2]}),
        (1, "1"),
        ("1", 1),
        (None, 0),
        (0, None),
        (False, None),
        (2, 2.0000001),
        (0.5, float("nan")),
        (0.5, 10**400),
        ([], ""),
        ({"a": 1}, {"dict": []}),
        ({"a": 1}, {"object": ["Equal", {"a": 1}]}),
        (1, {"object": ["Equal", {}]}),
    ],
)
def test_another_value_or_another_kind_is_wrong(expected: Json, returned: Json) -> None:
    assert not same_value(expected, returned)
