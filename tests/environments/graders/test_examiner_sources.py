"""What is read from the source of tests before any of them is run."""

from environments.graders.examiner import asserted, free_names, functions_asked, single_tests


def test_each_assert_stands_alone_with_what_it_needs() -> None:
    source = "x = 1\nassert f(x) == 1, 'first'\nfor y in (1, 2):\n    assert f(y) > x\nassert True"
    assert single_tests(source) == [
        "x = 1\nassert f(x) == 1, 'first'\nfor y in (1, 2):\n    pass\npass",
        "x = 1\npass\nfor y in (1, 2):\n    assert f(y) > x\npass",
    ]


def test_names_that_nobody_defines_are_found() -> None:
    assert free_names("import a.b\nfrom c import d as e\nx = a + e + g\nassert [y for y in f(x)] == len(h)") == {
        "g", "f", "h",
    }  # fmt: skip


def test_what_a_test_is_about_is_what_it_calls_and_nobody_defines() -> None:
    assert functions_asked(["assert len(f(1)) == 1", "assert g() and f(1)"]) == ["f", "g"]
    assert functions_asked(["assert sum(10, 15) == 6"]) == ["sum"]
    assert functions_asked(["def f():\n    pass\nassert f"]) == []


def test_asserts_of_literals_are_read_as_data() -> None:
    source = "def check(candidate):\n    assert candidate([1], k=-2) == 'a'\n    assert candidate() == None"
    assert asserted(source, "candidate") == [([[1]], {"k": -2}, "a"), ([], {}, None)]
    for other in (
        "candidate(1) is None",
        "candidate(x) == 1",
        "other(1) == 1",
        "candidate(1) == (1, 2)",
        "candidate(1)",
    ):
        assert asserted(f"assert {other}", "candidate") is None
