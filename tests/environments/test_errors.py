"""Error events of replies and grades, and that nothing a teacher writes or prints is too odd to read."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.errors import error_events
from environments.teacher_code import canonical, statement_at
from environments.types import CellError, CellResult, Grade, Rules, ToolCall
from tests.factory import execute, make_trajectory, make_turn, solve


def test_a_rejected_solution_keeps_its_tests_and_counts_as_repeated_the_second_time() -> None:
    wrong = Grade(False, 0.5, (True, False), "test 2 failed")
    found = error_events(make_trajectory([make_turn(n, solve(" 3  4 "), grade=wrong) for n in range(2)]))
    assert [(event.turn, event.kind) for event in found] == [(0, "E4"), (1, "E4"), (1, "E7")]
    assert found[0].signature == "rejected: 3 4"
    assert found[0].detail["tests"] == (True, False)


def test_what_a_function_did_not_do_or_find_is_read_from_its_call_and_not_from_what_was_printed() -> None:
    calls = (
        ToolCall("goto", {"place": "shelf 1"}, "You are there."),
        ToolCall("open", {"place": "shelf 1"}, "Nothing happens.", event="E5"),
        ToolCall("wikipedia_search", {"query": "Xq"}, "Could not find [Xq].", event="E6"),
    )
    turn = make_turn(0, execute("..."), result=CellResult(stdout="Nothing happens.\nNothing happens.", calls=calls))
    idle, missed = error_events(make_trajectory([turn]))
    assert (idle.kind, idle.detail["acts"]) == ("E5", [("open", "shelf 1")])
    assert (missed.kind, missed.signature) == ("E6", "empty: wikipedia_search('Xq')")
    quiet = make_turn(0, execute("..."), result=CellResult(stdout="Nothing happens.", calls=calls[:1]))
    assert error_events(make_trajectory([quiet])) == ()


def test_two_long_solutions_that_begin_alike_are_two() -> None:
    wrong = Grade(False, 0.0)
    replies = [solve("x = 1\n" * 60 + end) for end in "ab"]
    found = error_events(make_trajectory([make_turn(n, text, grade=wrong) for n, text in enumerate(replies)]))
    assert [event.kind for event in found] == ["E4", "E4"]
    assert found[0].signature != found[1].signature


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("I think it is 7.", "malformed: no_tag"),
        ("<execute> print(1)", "malformed: unclosed"),
        ("<solution>  </solution>", "malformed: empty_block"),
        ("", "malformed: empty"),
    ],
)
def test_a_reply_without_an_action_is_malformed(text: str, signature: str) -> None:
    (event,) = error_events(make_trajectory([make_turn(0, text)]))
    assert (event.kind, event.signature) == ("E3", signature)


INVENTED = "<execute>print(1)</execute>\nObservation:\n1\n<solution>1</solution>"


def test_what_the_cut_removed_is_no_error_and_what_was_spoken_is() -> None:
    assert error_events(make_trajectory([make_turn(0, INVENTED)])) == ()
    found = error_events(make_trajectory([make_turn(0, INVENTED, rules=Rules(policy="mint"))]))
    assert [event.signature for event in found] == ["malformed: invented_observation", "malformed: both_tags"]


def test_the_mention_of_a_tag_is_no_error() -> None:
    text = "I will give my <solution> later. <execute>print('<solution>3</solution>')</execute>"
    assert error_events(make_trajectory([make_turn(0, text)])) == ()


def test_the_word_error_in_the_output_is_no_error() -> None:
    result = CellResult(stdout="Error: ValueError: the book 'Errors' (Traceback (most recent call last):)\n")
    assert error_events(make_trajectory([make_turn(0, execute("print(book)"), result)])) == ()


@settings(deadline=None)
@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=120), st.from_regex(r"[A-Z]\w*", fullmatch=True))
def test_whatever_was_replied_and_printed_is_read(code: str, out: str, traceback: str, name: str) -> None:
    failed = CellResult(stdout=out, value=out, error=CellError(name, out, traceback))
    turns = [
        make_turn(0, execute(code), CellResult(stdout=out)),
        make_turn(1, execute(code), failed),
        make_turn(2, code),
    ]
    assert all(event.signature for event in error_events(make_trajectory(turns)))


@given(
    st.lists(st.sampled_from(["try:", " x=1", "except Exception as e:", " print('bad',e)", "x[1", "%magic", "df[0]"]))
)
def test_whatever_a_teacher_writes_as_code_is_read(lines: list[str]) -> None:
    turn = make_turn(0, execute("\n".join(lines)), CellResult(stdout="bad 1\n", value="[]"))
    assert {event.kind for event in error_events(make_trajectory([turn]))} <= {"E1s", "E3", "E6"}


def test_code_too_deep_to_parse_is_read_by_its_words() -> None:
    deep = "(" * 5000 + ")" * 5000
    assert canonical(deep) == deep
    assert statement_at(deep, 1) == deep


def test_the_head_of_a_block_is_its_statement_without_the_body() -> None:
    assert statement_at("for x in rows:\n    print(x)\n", 1) == "for x in rows:"
    assert statement_at("if a:\n    b()\nelif c:\n    d()\n", 4) == "d()"
