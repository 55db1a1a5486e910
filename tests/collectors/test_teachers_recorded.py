"""Teachers that repeat what was written or said before: tapes, MINT's results, a store."""

import asyncio
import gzip
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from collectors.teachers.scripted import DEMO_TAPE, read_tape
from collectors.teachers.teacher import RecordingEnded, Sampling, make_teacher
from environments.faults import UsageError
from environments.types import Most, Reply, Usage


@pytest.fixture
def tape(tmp_path):
    def write(*lines):
        path = tmp_path / "tape.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
        return path

    return write


# -- tapes ---------------------------------------------------------------------------------------


async def test_a_tape_answers_by_task_attempt_and_turn(tape, make, conversation):
    path = tape({"task": "math/1", "replies": ["a", "b"]}, "", {"task": "math/1", "attempt": 1, "replies": ["c"]})
    teacher = make(f"scripted:{path}")
    said = [
        await teacher.reply(conversation("s", attempt=attempt, turn=turn)) for attempt, turn in ((0, 0), (5, 1), (1, 0))
    ]
    assert [reply.text for reply in said] == ["a", "b", "c"]
    assert {(reply.teacher, reply.cost, reply.usage) for reply in said} == {(teacher.name, Decimal(0), Usage())}
    assert said[0].raw == {"replayed_from": str(path)}


@pytest.mark.parametrize("wanted", [{"turn": 2}, {"task_id": "math/2"}, {"attempt": 1, "turn": 1}])
async def test_a_tape_without_the_reply_has_ended(tape, make, conversation, wanted):
    path = tape({"task": "math/1", "replies": ["a", "b"]}, {"task": "math/1", "attempt": 1, "replies": ["c"]})
    with pytest.raises(RecordingEnded, match="no reply for turn"):
        await make(f"scripted:{path}").reply(conversation("s", **wanted))


@pytest.mark.parametrize("delay", [0, 0.1])
async def test_a_tape_can_take_its_time(tape, make, conversation, delay):
    path = tape({"task": "math/1", "replies": ["a"]})
    asking = asyncio.create_task(make(f"scripted:{path}", options={"delay": delay}).reply(conversation("s")))
    for _ in range(5):
        await asyncio.sleep(0)
    assert asking.done() == (delay == 0)
    assert (await asking).text == "a"


async def test_a_line_may_hold_any_character_of_json(tape, make, conversation):
    odd = "a\u2028b\x85\ud800\x00"
    path = tape('{"task": "math/1", "replies": ["a\u2028b\x85\\ud800\\u0000"]}')
    reply = await make(f"scripted:{path}").reply(conversation("s"))
    assert reply.text == odd.replace("\ud800", "\\ud800").replace("\x00", "\\x00")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"tape\.jsonl:2: not JSON"),
        ({"task": "math/2"}, r"tape\.jsonl:2: a line of a tape reads"),
        ({"task": "math/2", "replies": [1]}, r"tape\.jsonl:2: a line of a tape reads"),
        ({"task": "math/2", "attempt": "0", "replies": []}, r"tape\.jsonl:2: a line of a tape reads"),
        ({"task": "math/1", "replies": []}, r"tape\.jsonl:2: math/1 .* stands on an earlier line"),
    ],
)
def test_a_bad_line_of_a_tape_is_named(tape, line, said):
    with pytest.raises(UsageError, match=said):
        make_teacher(f"scripted:{tape({'task': 'math/1', 'replies': []}, line)}")


def test_a_tape_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"the tape .*none\.jsonl cannot be read"):
        make_teacher(f"scripted:{tmp_path / 'none.jsonl'}")


@pytest.mark.parametrize("options", [{"delay": -1}, {"delay": "long"}, {"dealy": 1}])
def test_an_option_a_tape_does_not_take_is_refused(tape, options):
    with pytest.raises(UsageError, match="delay"):
        make_teacher(f"scripted:{tape()}", Sampling(options=options))


def test_the_demonstration_is_bundled():
    assert make_teacher("scripted:demo").name == "scripted:demo"
    assert read_tape(DEMO_TAPE)


# -- MINT's results ------------------------------------------------------------------------------


def result(task_id, *contents):
    history = [{"role": "user", "content": "…\n---\n\nTask:\nWhat?\n"}]
    for content in contents:
        history += [{"role": "assistant", "content": content}, {"role": "user", "content": "Observation:\n1\n"}]
    return json.dumps({"state": {"history": history[:-1]}, "task": {"task_id": task_id}}) + "\n"


@pytest.fixture
def results(tmp_path):
    def write(name, *lines):
        path = tmp_path / name / "results.jsonl.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress("".join(lines).encode()))
        return path

    return write


async def test_a_result_is_replayed_by_its_number(results, make, conversation):
    path = results("math", result(3, "Assistant:\na\n", "Assistant:\nb\n"), result(12, "Assistant:\nc\n"))
    teacher = make(f"replay:{path}")
    said = [
        await teacher.reply(conversation("s", task_id=f"math/mint-{task}", turn=turn, attempt=7))
        for task, turn in ((3, 0), (3, 1), (12, 0))
    ]
    assert [reply.text for reply in said] == ["a", "b", "c"]
    assert {(reply.teacher, reply.cost, reply.usage) for reply in said} == {(teacher.name, Decimal(0), Usage())}


@pytest.mark.parametrize("wanted", [("math/mint-3", 1), ("math/mint-4", 0), ("math/3", 0), ("math/mint-03", 0)])
async def test_a_result_without_the_reply_has_ended(results, make, conversation, wanted):
    path = results("math", result(3, "Assistant:\na\n"))
    teacher = make(f"replay:{path}")
    with pytest.raises(RecordingEnded, match=f"no reply for turn {wanted[1]} of {wanted[0]}"):
        await teacher.reply(conversation("s", task_id=wanted[0], turn=wanted[1]))


@pytest.mark.parametrize(
    ("logged", "said"),
    [
        ("Assistant:\na\n", "a"),
        ("Assistant:\n a\n\n", " a\n"),
        ("Assistant:<thought>a</thought>\n", "Assistant:<thought>a</thought>"),
        ("Assistant:\n", "Assistant:"),
        ("Assistant:\n\n", ""),
        ("Assistant:\nAssistant:\na\n", "Assistant:\na"),
    ],
)
async def test_what_the_logger_put_around_a_reply_is_taken_off_and_no_more(results, make, conversation, logged, said):
    """It wrote a head before what did not begin with `Assistant:`, and a newline after everything."""
    teacher = make(f"replay:{results('math', result(0, logged))}")
    assert (await teacher.reply(conversation("s", task_id="math/mint-0"))).text == said


async def test_in_a_folder_the_task_set_decides(results, make, conversation, tmp_path):
    results("gpt/math", result(0, "Assistant:\nm\n"))
    results("gpt/gsm8k", result(0, "Assistant:\ng\n"))
    teacher = make(f"replay:{tmp_path}")
    for task_set in ("math", "gsm8k"):
        reply = await teacher.reply(conversation("s", task_id=f"{task_set}/mint-0"))
        assert reply.text == task_set[0]
    with pytest.raises(RecordingEnded):
        await teacher.reply(conversation("s", task_id="mmlu/mint-0"))


def test_two_models_in_a_folder_are_one_too_many(results, tmp_path):
    results("gpt/math", result(0, "Assistant:\nm\n"))
    results("claude/math", result(0, "Assistant:\nm\n"))
    with pytest.raises(UsageError, match="math 0 was recorded twice; name one model's folder"):
        make_teacher(f"replay:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.jsonl", b"{\n", r"x\.jsonl:1: not JSON"),
        ("x.jsonl", b'{"task": "math/1", "replies": []}\n', "not one of MINT's results"),
        ("x.jsonl.gz", b"not gzip", r"x\.jsonl\.gz cannot be read"),
        ("errata.db", b"SQLite format 3\x00\xff\xfe", r"named by its URL: replay:sqlite:///errata\.db"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        make_teacher(f"replay:{tmp_path / name}")


def test_a_folder_without_recordings_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match="holds no recording"):
            make_teacher(f"replay:{path}")


@pytest.mark.data
async def test_every_recorded_reply_is_replayed(data, conversation):
    """Over the three models: as many replies as the histories hold, and put back they are what was logged."""
    replayed = 0
    for path in sorted((data / "mint_results").rglob("results.jsonl.gz")):
        teacher = make_teacher(f"replay:{path}")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for record in map(json.loads, lines):
                logged = [m["content"] for m in record["state"]["history"] if m["role"] == "assistant"]
                request = conversation("s", task_id=f"{path.parent.name}/mint-{record['task']['task_id']}")
                for turn, content in enumerate(logged):
                    text = (await teacher.reply(replace(request, turn=turn))).text
                    assert content == (text if text.startswith("Assistant:") else f"Assistant:\n{text}") + "\n"
                    replayed += 1
                with pytest.raises(RecordingEnded):
                    await teacher.reply(replace(request, turn=len(logged)))
    assert replayed == 5611


# -- a store -------------------------------------------------------------------------------------


async def test_a_stored_reply_keeps_its_answer_and_usage_and_costs_nothing_now(conversation):
    bought = Reply("a", "openai:x", "x-1", "stop", Usage(9, 2), 1.5, Decimal("0.25"), {"id": "r1"})
    asked = []

    def recordings(url):
        asked.append(url)
        return {("math/1", 0): [bought]}

    teacher = make_teacher("replay:sqlite:///errata.db", recordings=recordings)
    assert asked == ["sqlite:///errata.db"]
    assert teacher.most(conversation("s")) == Most(0, Decimal(0))
    reply = await teacher.reply(conversation("s"))
    assert reply == replace(bought, teacher="replay:sqlite:///errata.db", cost=Decimal(0))
    for missing in ({"turn": 1}, {"attempt": 1}, {"task_id": "math/2"}):
        with pytest.raises(RecordingEnded):
            await teacher.reply(conversation("s", **missing))


def test_a_store_that_cannot_be_read_here_is_refused():
    with pytest.raises(UsageError, match="name a MINT results file"):
        make_teacher("replay:sqlite:///errata.db")
