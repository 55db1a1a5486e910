"""What cells that speak Jupyter's protocol themselves share: the forger's tools, and what must hold after them."""

import json
from dataclasses import asdict

from environments.kernels import KernelSession
from environments.types import CellResult
from tests.environments.attacks import Peak, assert_goes_on

ROOM = 100 << 20
"""Bytes that a message may make the host need for a while."""

LIMIT = 1_000_000
"""Characters that the host keeps of each text."""

TIMEOUT = 3.0

FORGE = """
import json, os
shell = get_ipython()
kernel, session = shell.kernel, shell.kernel.session
now, ident = shell.parent_header, kernel._shell_parent_ident.get()
def packed(part):
    return part if isinstance(part, bytes) else json.dumps(part, default=str).encode()
def headed(kind, **more):
    return session.msg_header(kind) | {'date': '2026-01-01T00:00:00Z'} | more
def frames(kind, content, *, parent=now['header'], metadata={}, header=None, sign=session.sign):
    parts = [packed(part) for part in (headed(kind) if header is None else header, parent, metadata, content)]
    return [b'<IDS|MSG>', sign(parts), *parts]
def publish(kind, content, **rest):
    deliver([b'topic', *frames(kind, content, **rest)])
def answer(kind, content, **rest):
    kernel.shell_stream.send_multipart([*ident, *frames(kind, content, **rest)])
def deliver(frames):
    kernel.iopub_socket.send_multipart(frames)
def ask(content, kind='input_request', **rest):
    kernel.stdin_socket.send_multipart([*ident, *frames(kind, content, **rest)])
deep = b'[' * 100_000 + b']' * 100_000
text = {'name': 'stdout', 'text': 'forged'}
"""

MISTAKES = {"NameError", "TypeError", "AttributeError", "SyntaxError", "AssertionError", "PermissionError", "ZMQError"}
"""Of an attack's own code, which would prove nothing."""


async def assert_harmless(session: KernelSession, code: str, timeout: float = TIMEOUT) -> None:
    """The cell has a result that can be kept, the host has held little for it, and the session goes on."""
    await assert_goes_on(session)
    peak = Peak()
    result = await session.run(f"{FORGE}\n{code}", timeout=timeout)
    assert result.error is None or result.error.name not in MISTAKES, result
    # What was left on its way is for the next cell to meet, which may lose its kernel by it.
    after = await session.run("40 + 2", timeout=TIMEOUT)
    for told in (result, after):
        assert_can_be_kept(told)
    assert peak.grown() < ROOM, f"{peak.grown() >> 20} MB more"
    await assert_goes_on(session)


def assert_can_be_kept(result: CellResult) -> None:
    assert isinstance(result.dropped, int)
    assert 0 <= result.dropped < 1 << 63
    json.dumps(asdict(result), allow_nan=False, ensure_ascii=False).encode()
    texts = [result.stdout, result.stderr, result.value or ""]
    if result.error is not None:
        texts += [result.error.name, result.error.value, result.error.traceback]
    assert all(len(text) < LIMIT + 1_000 for text in texts)
