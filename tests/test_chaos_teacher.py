"""The teacher that benchmarks trust: it must say the same each time, fail as it was told to, and keep true books."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from random import seed

import pytest

from benchmarks.chaos_stage import YOUNG, repeats
from benchmarks.chaos_teacher import (
    CUT,
    CUT_CHUNKED,
    DROP,
    FAULTS,
    HOUR,
    PROBLEM,
    REFUSALS,
    REPLIES,
    SLOW,
    Asked,
    Script,
    arguments,
    read_books,
    reply,
)

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def playing(script: Script) -> Iterator[HTTPConnection]:
    """A connection to a teacher in a process of its own."""
    with subprocess.Popen([*arguments(script)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        connection = HTTPConnection("127.0.0.1", int(process.stdout.readline()), timeout=30)
        try:
            yield connection
        finally:
            connection.close()


def ask(connection: HTTPConnection, task: int, turn: int, who: str = "me") -> tuple[int, bytes]:
    said = [{"role": "assistant", "content": reply(task, each)} for each in range(turn)]
    messages = [{"role": "system", "content": "…"}, {"role": "user", "content": PROBLEM.format(n=task)}, *said]
    body = json.dumps({"model": "chaos", "messages": messages})
    connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {who}"})
    response = connection.getresponse()
    return response.status, response.read()


def books(script: Script) -> list[Asked]:
    return read_books(Path(script.books).read_text(encoding="utf-8").splitlines())


def text(answer: bytes) -> str:
    return str(json.loads(answer)["choices"][0]["message"]["content"])


def test_an_answer_depends_on_task_and_turn_alone(tmp_path: Path) -> None:
    script = Script(str(tmp_path / "books"), seconds=0.01)
    with playing(script) as teacher:
        answers = [text(ask(teacher, task, turn)[1]) for task, turn in ((7, 0), (8, 3), (7, 0), (8, 3))]
    assert answers[:2] == answers[2:] == [reply(7, 0), reply(8, 3)]


@pytest.mark.parametrize("n", range(100, 104))
def test_a_script_has_four_cells_of_which_one_or_two_fail_and_ends_with_the_answer(n: int) -> None:
    namespace: dict[str, object] = {}
    seed(n)
    failed = 0
    for turn in range(len(REPLIES) - 1):
        code = re.search(r"<execute>(.*)</execute>", reply(n, turn), re.DOTALL)
        assert code
        try:
            exec(code[1], namespace)
        except (AttributeError, KeyError, ZeroDivisionError):
            failed += 1
    assert failed in (1, 2)
    assert f"<solution>{namespace['total']}</solution>" in reply(n, len(REPLIES) - 1)


def test_the_books_tell_who_asked_for_what_and_what_was_sold(tmp_path: Path) -> None:
    script = Script(str(tmp_path / "books"), seconds=0.01)
    with playing(script) as teacher:
        _, answer = ask(teacher, 9, 2, who="a-collector")
    (one,) = books(script)
    usage = json.loads(answer)["usage"]
    assert (one.who, one.place, one.sold, one.fault) == ("a-collector", (9, 2), True, None)
    assert (one.tokens_in, one.tokens_out) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert one.sent is not None
    assert one.sent > one.at


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_meets_a_request_once_and_then_it_is_answered(tmp_path: Path, fault: str) -> None:
    script = Script(str(tmp_path / "books"), seconds=0.01, faults=(fault,), share=1.0)
    with playing(script) as teacher:
        if fault in (DROP, CUT, CUT_CHUNKED):
            with pytest.raises((HTTPException, ConnectionError)):
                ask(teacher, 7, 0)
            teacher.close()
        else:
            status, answer = ask(teacher, 7, 0)
            assert status == (200 if fault == SLOW else REFUSALS[fault][0])
            assert (fault == SLOW) == (answer.startswith(b"{") and b"choices" in answer)
        status, answer = ask(teacher, 7, 0)
        assert (status, text(answer)) == (200, reply(7, 0))
    first, second = books(script)
    assert (first.fault, second.fault) == (fault, None)
    assert first.sold == (fault in (CUT, CUT_CHUNKED, SLOW))
    assert (first.sent is not None) == (fault == SLOW)


def test_a_wait_of_an_hour_is_asked_for_in_so_many_seconds(tmp_path: Path) -> None:
    script = Script(str(tmp_path / "books"), seconds=0.01, faults=(HOUR,), share=1.0)
    with playing(script) as teacher:
        teacher.request("POST", "/", json.dumps({"messages": [{"role": "user", "content": PROBLEM.format(n=7)}]}))
        response = teacher.getresponse()
        assert (response.status, response.headers["retry-after"]) == (429, "3600")


def sale(number: int, who: str, sent: float | None) -> Asked:
    return Asked(number, who, task=7, turn=0, at=0.0, sent=sent, sold=True)


@pytest.mark.parametrize(
    ("sent", "killed", "twice"),
    [
        pytest.param(10.0, 10.0 + 2 * YOUNG, True, id="old when its buyer died"),
        pytest.param(10.0, 10.0 + YOUNG / 2, False, id="young when its buyer died"),
        pytest.param(10.0, 9.0, False, id="sent to the dead"),
        pytest.param(10.0, None, True, id="its buyer was not killed"),
        pytest.param(None, None, False, id="never sent whole"),
    ],
)
def test_what_is_sold_again_was_bought_twice_only_where_it_could_have_been_kept(
    sent: float | None, killed: float | None, twice: bool
) -> None:
    deaths = {} if killed is None else {"a": killed}
    (found,) = repeats([sale(1, "a", sent), sale(2, "b", 20.0)], deaths)
    assert found.twice == twice
