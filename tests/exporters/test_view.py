"""The export view, and how it looks in the published schema."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.types import CellResult, Grade
from exporters.view import messages, published, without_thought_tags
from tests.factory import PROMPT, execute, make_trajectory, make_turn, solve


def test_the_view_alternates_and_ends_with_the_teacher() -> None:
    turns = [make_turn(0, execute("2"), CellResult(value="2")), make_turn(1, solve("2"), grade=Grade(True, 1.0))]
    system, task, first, observation, last = messages(make_trajectory(turns))
    assert [one.role for one in (system, task, first, observation, last)] == [
        "system", "user", "assistant", "user", "assistant",
    ]  # fmt: skip
    assert (system.content, task.content) == (PROMPT.system, "Task:\nWhat is 1+1?")
    assert first.content == turns[0].spoken
    assert observation.content == turns[0].observation.text
    assert observation.content.startswith("Observation:\n2\n")
    assert last.content.endswith("</solution>")


def test_the_example_stands_in_the_view_on_request_only() -> None:
    trajectory = make_trajectory([make_turn(0, solve("2"))])
    assert PROMPT.example not in messages(trajectory)[0].content
    assert PROMPT.example in messages(trajectory, example=True)[0].content


def test_what_was_cut_from_a_reply_is_not_exported() -> None:
    trajectory = make_trajectory([make_turn(0, f"{solve('2')}\nObservation:\nright!")])
    assert messages(trajectory)[-1].content == solve("2")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<thought> I see. </thought>\n<execute>\nx\n</execute>", "I see.\n<execute>\nx\n</execute>"),
        ("<thought>\nI see.\n</thought>\n<solution> 2 </solution>", "I see.\n<solution> 2 </solution>"),
        ("<thought> never closed <execute>x</execute>", "never closed <execute>x</execute>"),
        ("never opened</thought> <execute>x</execute>", "never opened <execute>x</execute>"),
        ("<thought></thought><execute>x</execute>", "<execute>x</execute>"),
        ("<execute>print('<thought> a </thought>')</execute>", "<execute>print('<thought> a </thought>')</execute>"),
        ("<thought> a </thought> b <thought> c", "a b c"),
        ("no tag at all", "no tag at all"),
    ],
)
def test_thoughts_lose_their_tags_and_keep_their_text(text: str, shown: str) -> None:
    assert without_thought_tags(text) == shown


def test_only_the_teachers_messages_lose_their_tags() -> None:
    turns = [make_turn(0, execute("2"), CellResult(stdout="<thought>")), make_turn(1, solve("2"))]
    view = messages(make_trajectory(turns))
    assert [one.content for one in published(view) if one.role != "assistant"] == [
        one.content for one in view if one.role != "assistant"
    ]


PIECES = ["<thought>", "</thought>", "<execute>", "</execute>", "<solution>", "</solution>", " ", "\n", "a b", "Ω"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_word_of_a_reply_is_lost_with_its_thought_tags(text: str) -> None:
    def words(reply: str) -> list[str]:
        return reply.replace("<thought>", "").replace("</thought>", "").split()

    assert "".join(words(without_thought_tags(text))) == "".join(words(text))
