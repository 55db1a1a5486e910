"""Reading replies and rendering what the teacher is sent."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.protocol import render
from environments.protocol.compare import same_observation
from environments.protocol.parse import POLICIES, first_action, mint
from environments.protocol.tracebacks import brief
from environments.types import CellError, CellResult, Observation, Rules, clean

PIECES = st.sampled_from(
    ["<execute>", "</execute>", "<solution>", "</solution>", "<thought>", "</thought>", "Observation:",
     "\nObservation:", "```python\n", "Assistant：", "\n", " ", "print(1)", "42", "<observation>", "\ud800", "[INST] "]
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "content", "spoken"),
    [
        ("<thought>a</thought> <execute>print(1)</execute>", "code", "print(1)", None),
        ("It is <solution> 42 </solution>.", "solution", "42", "It is <solution> 42 </solution>"),
        ("<execute>a</execute>\n<solution>1</solution>", "code", "a", "<execute>a</execute>"),
        ("<solution>1</solution><execute>a</execute>", "solution", "1", "<solution>1</solution>"),
        ("<execute>a</execute> then <execute>b</execute>", "code", "a", "<execute>a</execute>"),
        ("<solution> it is <solution> 7 </solution>", "solution", "7", None),
        ("I use the <solution> tag later. <execute>a</execute>", "code", "a", None),
        ("<execute>a", "malformed", "", "<execute>a"),
        ("a</execute>", "malformed", "", "a</execute>"),
        ("```python\nprint(1)\n```", "malformed", "", None),
        ("<execute>\n```python\nprint(1)\n```\n</execute>", "code", "```python\nprint(1)\n```", None),
        ("<execute> </execute>", "malformed", "", None),
        ("", "malformed", "", ""),
        ("\n \n", "malformed", "", ""),
        ("The answer is 42.", "malformed", "", None),
        ("<execute>a</execute>Observation:\n5\n<solution>5</solution>", "code", "a", "<execute>a</execute>"),
        ("I ran it.\nObservation:\n5\n<solution>5</solution>", "malformed", "", "I ran it."),
        ("I ran it.\n[INST] Observation:\n5\n<solution>5</solution>", "malformed", "", "I ran it."),
        ("Observation：5\n<solution>5</solution>", "malformed", "", ""),
        ("The observation: it works. <solution>5</solution>", "solution", "5", None),
        (
            "<execute>\n# Observation: it is odd\nprint(1)\n</execute>",
            "code",
            "# Observation: it is odd\nprint(1)",
            None,
        ),
        ("<execute>\nclass A:\n    observation: str\n</execute>", "code", "class A:\n    observation: str", None),
    ],
)
def test_the_first_complete_action_counts_and_the_reply_ends_there(
    text: str, kind: str, content: str, spoken: str | None
) -> None:
    action = first_action(text)
    assert (action.kind, action.content) == (kind, content)
    assert text[: action.end] == (text if spoken is None else spoken)


@pytest.mark.parametrize(
    ("text", "kind", "content"),
    [
        ("<execute>a</execute>\n<solution>1</solution>", "solution", "1"),
        ("<execute> a </execute> then <execute>b</execute>", "code", "a\nb"),
        ("<solution>1</solution> or <solution>2</solution>", "solution", "1\n2"),
        ("<execute>a</execute> <solution>1", "malformed", ""),
        ("```python\nprint(1)\n```", "malformed", ""),
    ],
)
def test_mint_lets_a_solution_win_and_joins_blocks(text: str, kind: str, content: str) -> None:
    action = mint(text)
    assert (action.kind, action.content, action.end) == (kind, content, len(text))


@pytest.mark.parametrize(
    ("text", "oddities"),
    [
        ("<thought>a</thought>\n<execute>1</execute>\n", ()),
        ("The answer is <solution>1</solution>.", ()),
        ("", ("empty",)),
        ("hello", ("no_tag",)),
        ("<execute>1</execute><solution>2</solution>", ("both_tags", "text_after_block")),
        ("<execute>1</execute>\n<execute>2</execute>", ("several_blocks", "text_after_block")),
        ("<execute>1", ("unclosed",)),
        ("1</execute>", ("stray_close",)),
        ("<solution>a <solution>1</solution>", ("unclosed", "nested_tag")),
        ("<execute></execute>", ("empty_block",)),
        ("```\n1\n```", ("no_tag", "markdown_fence")),
        ("<execute>1</execute> so", ("text_after_block",)),
        ("<execute>1</execute>\nObservation: 1", ("text_after_block", "invented_observation")),
        ("<execute>1</execute>\nUser: go on", ("text_after_block", "invented_turn")),
        ("Assistant：<execute>1</execute>", ("full_width_colon",)),
    ],
)
def test_what_is_odd_has_a_name(text: str, oddities: tuple[str, ...]) -> None:
    assert first_action(text).oddities == oddities


@given(st.lists(PIECES, max_size=12).map("".join))
def test_every_text_is_an_action_that_cannot_hold_an_invented_observation(text: str) -> None:
    for name, policy in POLICIES.items():
        action = policy(text)
        assert 0 <= action.end <= len(text)
        assert (action.kind == "malformed") == (action.content == "")
        if name == "first-action":
            spoken = text[: action.end]
            assert not re.search(r"^Observation[:：]", spoken, re.MULTILINE)
            assert policy(spoken).content == action.content


@pytest.mark.parametrize(
    "unit", ["<execute>", "[", "*", "<solution><execute>", "Observation", "Assistant", "\n", "```"]
)
def test_a_long_reply_is_read_in_linear_time(unit: str) -> None:
    # A backtracking pattern would not come back from this within the suite's patience.
    for policy in POLICIES.values():
        assert policy(unit * (400_000 // len(unit))).kind == "malformed"


@pytest.mark.data
def test_recorded_replies_are_read_as_the_original_read_them(data: Path) -> None:
    """Its next message says how it did; two models were run with an adapter that turned fences into tags."""
    agree: Counter[bool] = Counter()
    for line in (data / "llm_outputs" / "mint_messages.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        record = json.loads(line)
        heard = record["next_user_message"]
        if heard is None or record["model"] in {"Eurus-70B-SFT", "OpenCodeInterpreter-DS-6.7B"}:
            continue
        answers = {"I don't understand": "malformed", "Your answer is wrong": "solution"}
        expected = next((kind for sign, kind in answers.items() if sign in heard), "code")
        agree[mint(re.sub(r"^\s*Assistant:\n?", "", record["content"])).kind == expected] += 1
    assert agree[True] > 400
    assert not agree[False]


CLASSES = {
    # What each class of recorded malformation becomes under first-action; docs/protocol.md gives the reasons.
    "clean": {"code": 32, "solution": 10},
    "no_action": {"malformed": 158},
    "empty": {"malformed": 19},
    "very_long": {"malformed": 3},
    "markdown_fence": {"malformed": 100, "code": 13, "solution": 3},
    "fence_inside_execute": {"code": 4},
    "execute_and_solution": {"code": 235, "solution": 31, "malformed": 8},
    "multi_execute": {"code": 213, "solution": 9, "malformed": 8},
    "multi_solution": {"solution": 55, "code": 49},
    "hallucinated_observation": {"code": 112, "malformed": 31, "solution": 1},
    "text_after_execute": {"code": 354, "solution": 23, "malformed": 11},
}


@pytest.mark.data
def test_every_recorded_class_is_decided(data: Path) -> None:
    table: dict[str, Counter[str]] = {name: Counter() for name in CLASSES}
    for line in (data / "llm_outputs" / "mint_messages.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        record = json.loads(line)
        kind = first_action(re.sub(r"^\s*Assistant:\n?", "", record["content"])).kind
        for tag in record["auto_tags"]:
            if tag in table:
                table[tag][kind] += 1
    assert {tag: dict(kinds) for tag, kinds in table.items()} == CLASSES


def test_a_cells_output_reads_as_in_a_notebook_and_says_when_there_is_none() -> None:
    error = CellError("ValueError", "no", "Traceback\nValueError: no")
    assert render.cell_text(CellResult(), 100) == render.SILENT
    assert render.cell_text(CellResult("a\n", "b\n", "c"), 100) == "a\nb\nc"
    assert render.cell_text(CellResult("a", error=error), 100) == "a\nTraceback\nValueError: no"


def test_a_long_output_keeps_the_traceback_at_its_end() -> None:
    error = CellError("ValueError", "no", "Traceback\nValueError: no")
    shown = render.cell_text(CellResult("x" * 100_000, error=error), 1000)
    assert shown.startswith("xxx")
    assert shown.endswith("ValueError: no")
    assert "99,02" in shown
    assert len(shown) < 1100


def test_a_session_lost_to_a_timeout_is_told() -> None:
    assert "stopped after 30 seconds. A fresh session" in render.cell_text(
        CellResult(timed_out=True, seconds=30.2), 100
    )
    assert "died. A fresh session" in render.cell_text(CellResult("a", died=True), 100)


def test_the_countdown_has_the_published_words() -> None:
    rules = Rules(max_turns=5, max_solutions=2)
    assert render.observe("4", rules, 1, 0) == (
        "Observation:\n4\nYou have 4 steps left and 2 chances to propose solution left."
    )
    assert render.observe("4", rules, 4, 1).endswith(
        "You have 1 steps left and 1 chances to propose solution left.\n"
        "You should take the last step to propose a solution."
    )


def test_the_teacher_is_told_why_it_was_not_understood() -> None:
    assert "opened and not closed" in render.not_understood_text(first_action("<execute>1"))
    assert "Markdown fence" in render.not_understood_text(first_action("```\n1\n```"))
    assert "carried out." in render.not_understood_text(first_action("hello"))


def test_what_is_sent_can_be_encoded() -> None:
    assert clean("a\ud800\x00ü") == "a\\ud800\\x00ü"
    render.observe("\ud800\x00", Rules(), 1, 0).encode("utf-8")


def test_observations_differ_by_what_they_say_and_not_by_noise() -> None:
    def same(one: str, other: str) -> bool:
        return same_observation(Observation(one), Observation(other))

    assert same("<A at 0x7f1c2a>", "<A at 0x7f9931>")
    assert same("took 1.2 ms", "took 903 ms")
    assert same("Wall time: 4.29 \u03bcs", "Wall time: 1e+03 \u00b5s")
    assert same("\x1b[31mred\x1b[0m", "red")
    assert same("Cell In[3], line 1", "Cell In[4], line 1")
    stopped = [Observation(text, CellResult(timed_out=True)) for text in ("in f()", "in g()")]
    assert same_observation(*stopped)
    assert not same_observation(stopped[0], Observation("1", CellResult("1")))
    assert not same("41", "42")
    assert not same("x = 12", "x = 13")


CHAINED = """---------------------------------------------------------------------------
KeyError                                  Traceback (most recent call last)
File /opt/x/lib/python3.11/site-packages/pandas/core/indexes/base.py:3641, in Index.get_loc(self, key)
   3640 try:
-> 3641     return self._engine.get_loc(casted_key)
   3642 else:

File pandas/_libs/index.pyx:168, in pandas._libs.index.IndexEngine.get_loc()
--> 168 'Could not get source, probably due dynamically evaluated source code.'

KeyError: 'total'

The above exception was the direct cause of the following exception:

KeyError                                  Traceback (most recent call last)
Cell In[1], line 1
----> 1 df['total']

File /opt/x/lib/python3.11/site-packages/pandas/core/frame.py:4378, in DataFrame.__getitem__(self, key)
-> 4378 indexer = self.columns.get_loc(key)

File /opt/x/lib/python3.11/json/decoder.py:2, in two()

KeyError: 'total'"""


def test_library_frames_are_shown_by_their_headings_and_the_teachers_code_whole() -> None:
    shown = brief(CHAINED)
    assert "----> 1 df['total']" in shown
    assert "File pandas/core/frame.py:4378, in DataFrame.__getitem__(self, key)" in shown
    assert "File json/decoder.py:2, in two()" in shown
    assert "/opt/x" not in shown
    assert "Could not get source" not in shown
    assert "-> 4378" not in shown
    assert "The above exception was the direct cause" in shown
    assert shown.endswith("KeyError: 'total'")


def test_many_library_frames_in_a_row_become_a_count() -> None:
    frames = "\n\n".join(f"File /x/site-packages/p/m.py:{n}, in f{n}()\n-> {n} g()" for n in range(10))
    assert brief(f"Cell In[1], line 1\n----> 1 f()\n\n{frames}\n\nRecursionError: deep") == (
        "Cell In[1], line 1\n----> 1 f()\n\n"
        "File p/m.py:0, in f0()\n… 7 more frames of libraries …\nFile p/m.py:8, in f8()\nFile p/m.py:9, in f9()\n\n"
        "RecursionError: deep"
    )
