"""Error events, read from what real cells did."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from environments.errors import error_events
from environments.kernels import KernelHost, KernelSession
from environments.types import ErrorEvent
from tests.factory import execute, play

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session() -> AsyncIterator[KernelSession]:
    async with KernelHost("none", cell_timeout=30) as host:
        yield await host.session(seed=1)


async def events(session: KernelSession, *codes: str) -> tuple[ErrorEvent, ...]:
    return error_events(await play(session, *map(execute, codes)))


def kinds(found: tuple[ErrorEvent, ...]) -> list[tuple[int, str]]:
    return [(event.turn, event.kind) for event in found]


async def test_an_exception_names_the_failing_line_of_the_teachers_own_code(session: KernelSession) -> None:
    code = "import pandas as pd\nframe = pd.DataFrame({'a': [1]})\ntotal = (\n    frame['b']\n    .sum()\n)"
    (event,) = await events(session, code)
    assert (event.kind, event.signature) == ("E1", "KeyError: 'b'")
    assert (event.detail["name"], event.detail["value"]) == ("KeyError", "'b'")
    assert (event.detail["line"], event.detail["lineno"]) == ("frame['b']", 4)
    assert event.detail["statement"] == "total = (\n    frame['b']\n    .sum()\n)"


async def test_an_exception_in_a_function_of_an_earlier_cell_keeps_the_call_and_the_line(
    session: KernelSession,
) -> None:
    (event,) = await events(session, "def half(x):\n    return x / 0", "y = 1\nhalf(3)")
    assert (event.turn, event.detail["line"], event.detail["lineno"]) == (1, "half(3)", 2)
    assert event.detail["statement"] == "return x / 0"


async def test_a_chained_exception_is_the_last_one(session: KernelSession) -> None:
    (event,) = await events(session, "try:\n    {}['k']\nexcept KeyError as e:\n    raise ValueError('no k') from e")
    assert (event.signature, event.detail["lineno"]) == ("ValueError: no k", 4)


@pytest.mark.parametrize(
    ("code", "signature", "lineno"),
    [
        ("x = 1\nprint('a'", "SyntaxError: incomplete input", 2),
        (
            "for i in range(3):\nprint(i)",
            "IndentationError: expected an indented block after 'for' statement on line 1",
            2,
        ),
        ("x = (1,\n2\nprint(x", "SyntaxError: '(' was never closed", 3),
    ],
)
async def test_a_syntax_error_has_a_line_and_no_name_of_a_temporary_file(
    session: KernelSession, code: str, signature: str, lineno: int
) -> None:
    (event,) = await events(session, code)
    assert (event.signature, event.detail["lineno"]) == (signature, lineno)


async def test_addresses_do_not_make_two_errors_of_one(session: KernelSession) -> None:
    code = "class A: pass\nraise ValueError(repr(A()))"
    first, second, again = await events(session, code, code)
    assert first.signature == second.signature
    assert (again.kind, again.detail["first"]) == ("E7", 0)


async def test_ending_the_program_is_no_error_and_failing_to_is_one(session: KernelSession) -> None:
    assert await events(session, "raise SystemExit(0)") == ()
    assert kinds(await events(session, "raise SystemExit('bad input')")) == [(0, "E1")]


async def test_an_interrupt_by_the_time_limit_is_a_timeout() -> None:
    async with KernelHost("none", cell_timeout=1) as host:
        (event,) = await events(await host.session(seed=1), "n = 0\nwhile True:\n    n += 1")
    assert event.kind == "E2"
    assert event.detail["lineno"] in (2, 3)


async def test_the_death_of_the_session_is_the_code_s_error() -> None:
    async with KernelHost("none", cell_timeout=30) as host:
        (event,) = await events(await host.session(seed=1), "import os\nos._exit(3)")
    assert (event.kind, event.signature) == ("E2", "the Python session died")


@pytest.mark.parametrize(
    ("handler", "signature"),
    [
        ("except Exception as e:\n    print('Failed to read:', e)", "Failed to read: name 'nope' is not defined"),
        ("except Exception as e:\n    print(f'It broke ({e})')", "It broke (name 'nope' is not defined)"),
        ("except BaseException as e:\n    print('Error: ' + str(e))", "Error: name 'nope' is not defined"),
        ("except (KeyError, Exception) as e:\n    print('Error: {}'.format(e))", "Error: name 'nope' is not defined"),
        ("except Exception as e:\n    print(e)", "name 'nope' is not defined"),
        ("except Exception as e:\n    print(repr(e))", "NameError(\"name 'nope' is not defined\")"),
        ("except:\n    import traceback\n    traceback.print_exc()", "NameError: name 'nope' is not defined"),
        ("except:\n    import traceback\n    print(traceback.format_exc())", "NameError: name 'nope' is not defined"),
    ],
)
async def test_a_swallowed_and_printed_exception_is_found(session: KernelSession, handler: str, signature: str) -> None:
    (event,) = await events(session, f"try:\n    x = 1\n    print(nope)\n{handler}\nprint('done')")
    assert (event.kind, event.signature) == ("E1s", signature)
    assert event.detail["statement"] == "x = 1\nprint(nope)"


async def test_two_handlers_that_print_alike_are_one_event_a_line(session: KernelSession) -> None:
    block = "try:\n    int('{}')\nexcept Exception as e:\n    print('Error:', e)\n"
    found = await events(session, block.format("1") + block.format("b"))
    assert [event.signature for event in found] == ["Error: invalid literal for int() with base 10: 'b'"]


@pytest.mark.parametrize(
    "code",
    [
        "try:\n    print('fine')\nexcept Exception as e:\n    print('Error:', e)",
        "try:\n    print('Error: 3 percent')\nexcept Exception as e:\n    print('Error:', e)",
        "try:\n    int('b')\nexcept ValueError as e:\n    print('Error:', e)",
        "try:\n    int('b')\nexcept Exception:\n    pass",
        "try:\n    print('The error of the mean is 3')\nexcept Exception as e:\n    print(e)",
        "print('Traceback (most recent call last):\\n  nowhere\\nValueError: x')",
    ],
)
async def test_what_was_not_swallowed_or_not_printed_is_no_event(session: KernelSession, code: str) -> None:
    assert await events(session, code) == ()


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("conn.execute('SELECT a FROM t WHERE a > 5').fetchall()", "[]"),
        ("print(conn.execute('SELECT a FROM t WHERE a > 5').fetchone())", "None"),
        ("conn.execute('SELECT max(a) FROM t WHERE a > 5').fetchall()", "[(None,)]"),
        ("df[df['a'] > 5]", "Empty DataFrame"),
        ("print(df[df['a'] > 5]['a'])", "Series([], Name: a, dtype: int64)"),
        ("df[df['a'] > 5]['a'].tolist()", "[]"),
        ("pd.read_sql('SELECT a FROM t WHERE a > 5', conn)", "Empty DataFrame"),
        ("def wiki_search(q): return []\nprint(wiki_search('x'))", "[]"),
    ],
)
async def test_a_question_that_finds_nothing_is_an_event(session: KernelSession, code: str, what: str) -> None:
    setup = (
        "import sqlite3, pandas as pd\nconn = sqlite3.connect(':memory:')\nconn.execute('CREATE TABLE t (a)')\n"
        "df = pd.DataFrame({'a': [1, 2]})"
    )
    (event,) = await events(session, setup, code)
    assert (event.turn, event.kind, event.signature) == (1, "E6", f"empty: {what}")


@pytest.mark.parametrize(
    "code", ["[]", "print(None)", "import re\nprint(re.search('a', 'b'))", "x = [1][1:]\nprint(x)"]
)
async def test_an_empty_value_that_nothing_was_asked_for_is_no_event(session: KernelSession, code: str) -> None:
    assert await events(session, code) == ()


async def test_a_reply_of_the_environment_that_nothing_happened_is_an_event(session: KernelSession) -> None:
    found = await events(
        session, "print('You arrive.\\nNothing happens.')", "'Nothing happens.'", "print('Nothing happens. Yet')"
    )
    assert kinds(found) == [(0, "E5"), (1, "E5")]


async def test_the_same_code_is_repeated_only_if_it_fails_the_same_way(session: KernelSession) -> None:
    found = await events(session, "missing_a + 1", "missing_a   +  1  # again", "missing_a = 1", "missing_a + 1")
    assert kinds(found) == [(0, "E1"), (1, "E1"), (1, "E7")]
    assert found[-1].signature == "repeated: NameError: name 'missing_a' is not defined"
