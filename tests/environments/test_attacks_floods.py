"""Cells that say too much: what the host keeps of it is bounded, and so is what it holds meanwhile."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from environments.kernels import KernelHost, KernelSession
from tests.environments.attacks import Peak, assert_goes_on, working

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def level() -> str:
    # The host reads in the same way at every level.
    return working()[0]


LIMIT = 100_000
"""Characters kept of each stream."""

ROOM = 60 << 20
"""Bytes the host may need for a while: a hundred messages of that length may be under way."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def flooder(level: str) -> AsyncIterator[KernelSession]:
    async with KernelHost(level, cell_timeout=20, output_limit=LIMIT) as host, await host.session() as session:
        yield session


SEND = "shell = get_ipython()\nkernel, send = shell.kernel, shell.kernel.session.send\n"

FLOODS = {
    "50 MB at once": "print('x' * 50_000_000)",
    "50 MB of other letters": "print('é' * 50_000_000)",
    "50 MB in lines": "for _ in range(50): print(('x' * 99 + '\\n') * 10_000)",
    "50 MB past Python": "import os\nfor _ in range(800): os.write(1, b'x' * 65_536)",
    "50 MB on stderr": "import sys; sys.stderr.write('x' * 50_000_000)",
    "a program's output": "import subprocess; subprocess.run('yes | head -c 50000000', shell=True)",
    "a value of 50 MB": "'x' * 50_000_000",
    "an exception of 50 MB": "raise ValueError('x' * 50_000_000)",
    "an exception's name of 50 MB": "raise type('E' * 50_000_000, (Exception,), {})('x')",
    "a traceback of 50 MB": (
        "line = 'x' * 100_000\n"
        "exec(compile(f'def f(n):\\n    \"{line}\"; return f(n - 1) if n else 1 / 0\\nf(450)', 'x', 'exec'))"
    ),
    "a hundred displays of 1 MB": "for _ in range(100): display('x' * 1_000_000)",
    "updates without end": "shown = display('x', display_id=True)\nwhile True: shown.update('x' * 1_000)",
    "a display of numbers": "display({'text/plain': 'x', 'application/json': [0] * 10_000_000}, raw=True)",
    "a display of names": "display({'text/plain': 'x', **{f'{n}/x': 'y' for n in range(1_000_000)}}, raw=True)",
    "a display's buffers": (
        f"{SEND}content = {{'data': {{'text/plain': 'x'}}, 'metadata': {{}}}}\nbuffers = [bytes(50_000_000)]\n"
        "for _ in range(4): send(kernel.iopub_socket, 'display_data', content, shell.parent_header, buffers=buffers)"
    ),
    "a payload": f"{SEND}shell.payload_manager.write_payload({{'source': 'page', 'data': [0] * 10_000_000}})",
    "the next cell": "get_ipython().set_next_input('x' * 50_000_000)",
    "a warning": "import warnings; warnings.warn('x' * 50_000_000)",
}


@pytest.mark.parametrize("code", FLOODS.values(), ids=FLOODS)
async def test_the_hosts_memory_is_bounded_whatever_a_cell_says(flooder: KernelSession, code: str) -> None:
    await assert_goes_on(flooder)
    peak = Peak()
    result = await flooder.run(code, timeout=3 if "without end" in code or "while True" in code else 20)
    texts = [result.stdout, result.stderr, result.value or ""]
    if result.error is not None:
        texts += [result.error.name, result.error.value, result.error.traceback]
    assert max(map(len, texts)) < LIMIT + 200
    assert peak.grown() < ROOM, f"{peak.grown() >> 20} MB more"
    await assert_goes_on(flooder)
