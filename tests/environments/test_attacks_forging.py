"""Cells that speak Jupyter's protocol themselves: at most their own session's output is what they make it.

What a kernel sends is the one thing of its that the host reads. Whatever it is, a cell has a result that
can be stored, the session goes on, and so does every other.
"""

import pytest

from environments.kernels import KernelSession
from tests.environments.attacks import Peak, working
from tests.environments.attacks_forging import FORGE, ROOM, TIMEOUT, assert_harmless

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def level() -> str:
    # The host reads in the same way at every level.
    return working()[0]


PUBLISHED = {
    "an end before the end": "publish('status', {'execution_state': 'idle'})\nprint('after')",
    "a beginning": "publish('status', {'execution_state': 'busy'})",
    "an error": "publish('error', {'ename': 'Forged', 'evalue': '', 'traceback': []})",
    "an error that is none": "publish('error', {'ename': {}, 'evalue': [[]], 'traceback': None})",
    "an error's name of 50 MB": (
        "publish('error', {'ename': 'x' * 50_000_000, 'evalue': '', 'traceback': []})\n"
        "answer('execute_reply', {'status': 'error'})"
    ),
    "an error with its reply": (
        "publish('error', {'ename': {'a': 1}, 'evalue': None, 'traceback': ['x']})\n"
        "answer('execute_reply', {'status': 'error'})"
    ),
    "an unknown kind": "publish('nonsense', {})",
    "a kind that is none": "publish('x', {}, header={'msg_type': [], 'msg_id': {}})",
    "no kind": "publish('x', {}, header={'msg_id': ''})",
    "no content": "publish('stream', {})",
    "a list for content": "publish('stream', [])",
    "null for content": "publish('stream', None)",
    "a number for content": "publish('display_data', 7)",
    "a number for text": "publish('stream', {'name': 'stdout', 'text': 7})",
    "a list for text": "publish('stream', {'name': 'stdout', 'text': ['a'] * 10})",
    "a list for a name": "publish('stream', {'name': [], 'text': 'x'})",
    "half a character": "publish('stream', {'name': 'stdout', 'text': '\\ud800'})",
    "half a character in bytes": 'publish(\'stream\', b\'{"name": "stdout", "text": "\\xed\\xa0\\x80"}\')',
    "a display of nothing": "publish('display_data', {'data': None})",
    "a display of a list": "publish('execute_result', {'data': {'text/plain': ['x', {}]}})",
    "what is no JSON": "publish('stream', b'{')",
    "what is no text": "publish('stream', bytes(range(256)))",
    "an empty frame": "publish('stream', b'')",
    "depth": "publish('stream', deep)",
    "depth in the parent": "publish('stream', text, parent=deep)",
    "depth in the metadata": "publish('stream', text, metadata=deep)",
    "depth in the header": "publish('stream', text, header=deep)",
    "a list for a parent": "publish('stream', text, parent=[])",
    "null for a parent": "publish('stream', text, parent=None)",
    "a number for a header": "publish('stream', text, header=b'7')",
    "a date that is none": "publish('stream', text, header=headed('stream', date='2026-99-99T99:99:99Z'))",
    "a date too far": "publish('stream', text, header=headed('stream', date='9999-12-31T23:59:59-23:59'))",
    "a place too far": "publish('stream', text, header=headed('stream', date='0001-01-01T00:00:00+99:99'))",
    "a count that is text": "publish('stream', text | {'dropped': '1'})",
    "a count that is a list": "publish('stream', text | {'dropped': [1]})",
    "a count below nothing": "publish('stream', text | {'dropped': -7})",
    "a count that is no number": "publish('stream', text | {'dropped': float('nan')})",
    "a count without end": "publish('stream', text | {'dropped': float('inf')})",
    "a count of half": "publish('stream', text | {'dropped': 0.5})",
    "a count too long to print": (
        "count = json.dumps(text | {'dropped': 0})[:-2].encode() + b'9' * 4299 + b'}'\n"
        "for _ in range(20): publish('stream', count)"
    ),
    "a count too large to store": "publish('stream', text | {'dropped': 1 << 70})",
    "another's signature": "publish('stream', text, sign=lambda parts: b'0' * 64)",
    "no signature": "publish('stream', text, sign=lambda parts: b'')",
    "the same message twice": "message = frames('stream', text)\nfor _ in range(2): deliver([b'topic', *message])",
    "one frame": "deliver([b'x'])",
    "frames of nothing": "deliver([b''] * 9)",
    "a message without its end": "deliver(frames('stream', text)[:4])",
    "ten thousand frames": "deliver([b'topic', *frames('stream', text), *[b'x'] * 10_000])",
    "a frame of 300 MB": "deliver([b'topic', *frames('stream', text), bytes(300_000_000)])",
    "a header of 100 MB": "publish('stream', text, header=headed('stream', x='x' * 100_000_000))",
    "ten thousand ends": "for _ in range(10_000): publish('status', {'execution_state': 'idle'})",
    "a comm": "publish('comm_open', {'comm_id': 'x', 'target_name': 'jupyter.widget', 'data': {}})",
    "a welcome": "publish('iopub_welcome', {'subscription': ''})",
    "a shutdown": "publish('shutdown_reply', {'restart': False})",
}

ANSWERED = {
    "success before the end": "answer('execute_reply', {'status': 'ok', 'payload': []})\n1 / 0",
    "failure": "answer('execute_reply', {'status': 'error', 'ename': 'Forged', 'evalue': '', 'traceback': []})",
    "failure without a word": "answer('execute_reply', {'status': 'error'})",
    "no status": "answer('execute_reply', {})",
    "another status": "answer('execute_reply', {'status': ['x']})",
    "null": "answer('execute_reply', None)",
    "depth": "answer('execute_reply', deep)",
    "a payload that is none": "answer('execute_reply', {'status': 'ok', 'payload': 7})",
    "a payload of what is none": "answer('execute_reply', {'status': 'ok', 'payload': [7, None, []]})",
    "an exit": "answer('execute_reply', {'status': 'ok', 'payload': [{'source': 'ask_exit'}]})",
    "another's reply, ten thousand times": (
        "for _ in range(10_000): answer('execute_reply', {'status': 'ok'}, parent={'msg_id': 'x'})"
    ),
    "an answer without a parent": "answer('execute_reply', {'status': 'ok'}, parent=7)",
    "an answer of 200 MB": "answer('execute_reply', {'status': 'ok', 'payload': [{'data': 'x' * 200_000_000}]})",
    "another's signature": "answer('execute_reply', {'status': 'ok'}, sign=lambda parts: b'0' * 64)",
    "what is no message": "frames = lambda *_: [b'x']\nanswer('execute_reply', {})",
}

ASKED = {
    "a question": "ask({'prompt': '', 'password': False})",
    "a question without a prompt": "ask({})",
    "five thousand questions": "for _ in range(5_000): ask({'prompt': '', 'password': False})",
    "what is no question": "ask({'prompt': ''}, kind='nonsense')",
    "a list": "ask([])",
    "a prompt that is none": "ask({'prompt': {'tool': []}, 'password': 7})",
    "null": "ask(None)",
    "depth": "ask(deep)",
    "what is no JSON": "ask(b'{')",
    "another's signature": "ask({'prompt': ''}, sign=lambda parts: b'0' * 64)",
    "what is no message": "frames = lambda *_, **__: [b'x']\nask({})",
    "a question of nobody's": "ask({'prompt': '', 'password': False}, parent={})",
    "a question of another cell's": "ask({'prompt': '', 'password': False}, parent={'msg_id': 'x'})",
}


@pytest.mark.parametrize("code", PUBLISHED.values(), ids=PUBLISHED)
async def test_a_forged_output_is_no_more_than_output(forger: KernelSession, code: str) -> None:
    await assert_harmless(forger, code)


@pytest.mark.parametrize("code", ANSWERED.values(), ids=ANSWERED)
async def test_a_forged_answer_ends_a_cell_at_most(forger: KernelSession, code: str) -> None:
    await assert_harmless(forger, code)


@pytest.mark.parametrize("code", ASKED.values(), ids=ASKED)
async def test_a_forged_question_leaves_others_answered(forger: KernelSession, code: str) -> None:
    peak = Peak()
    await assert_harmless(forger, code)
    await forger.run(f"{FORGE}\n{code}", timeout=TIMEOUT)
    question = "try:\n    input()\nexcept EOFError:\n    print('nobody there')"
    first = await forger.run(question, timeout=TIMEOUT)
    assert first.died or first.stdout == "nobody there\n", first
    assert (await forger.run(question, timeout=TIMEOUT)).stdout == "nobody there\n"
    # Only now has every question come.
    assert peak.grown() < ROOM, f"{peak.grown() >> 20} MB more"
