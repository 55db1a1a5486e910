"""The bounded accumulator, over any division of the text into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from environments.kernels.inside import bounded
from environments.kernels.output import BoundedText, strip_ansi

pieces = st.lists(st.text(max_size=12), max_size=30)


def kept(text: BoundedText) -> tuple[str, str]:
    head, _, rest = str(text).partition("\n[… ")
    return head, rest.partition(" left out …]\n")[2]


@given(pieces)
def test_text_within_the_limit_is_kept_whole(chunks: list[str]) -> None:
    text = BoundedText(limit=1_000)
    for chunk in chunks:
        text.add(chunk)
    assert (str(text), text.dropped) == ("".join(chunks), 0)


@given(st.lists(st.text("abcdefgh", max_size=40), max_size=30))
def test_head_and_tail_are_kept_and_the_rest_is_counted(chunks: list[str]) -> None:
    whole, text = "".join(chunks), BoundedText(limit=20)
    for chunk in chunks:
        text.add(chunk)
    assert text.dropped == max(len(whole) - 20, 0)
    if text.dropped:
        assert kept(text) == (whole[:10], whole[-10:])


@given(st.lists(st.text("abcdefgh", max_size=90), max_size=30))
def test_what_the_kernel_cuts_beforehand_changes_nothing(chunks: list[str]) -> None:
    direct, through = BoundedText(limit=20), BoundedText(limit=20)
    for chunk in chunks:
        direct.add(chunk)
        message = bounded({"text": chunk}, 20)
        through.add(message["text"], message.get("dropped", 0))
    assert str(through) == str(direct)


def test_a_short_message_is_left_as_it_is() -> None:
    message = {"text": "x", "data": {"text/plain": "y"}, "traceback": ["a", "b"], "count": 3}
    assert bounded(message, 20) == message


def test_a_million_short_lines_do_not_pile_up() -> None:
    text = BoundedText(limit=1_000)
    for number in range(1_000_000):
        text.add(f"{number}\n")
    assert len(str(text)) < 1_100
    assert str(text).startswith("0\n1\n2\n")
    assert str(text).endswith("999998\n999999\n")


def test_colours_links_and_cursor_moves_are_stripped() -> None:
    coloured = "\x1b[0;31mZeroDivisionError\x1b[0m \x1b]8;;file:///x\x07link\x1b]8;;\x07\x1b[2K done"
    assert strip_ansi(coloured) == "ZeroDivisionError link done"
