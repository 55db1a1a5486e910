"""Cells that wreck their own kernel, its sockets, and the wires to the host beneath Jupyter's protocol."""

import pytest

from environments.kernels import KernelSession
from tests.environments.attacks import working
from tests.environments.attacks_forging import assert_harmless

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def level() -> str:
    # The host reads in the same way at every level.
    return working()[0]


# The descriptors of its connections to the host, past libzmq.
WIRES = """
import stat
def leads_to_host(number):
    with __import__('socket').socket(fileno=os.dup(number)) as wire:
        try:
            return bool(wire.getpeername() is not None and wire.getsockname())
        except OSError:
            return False
numbers = [number for number in range(256) if os.path.lexists(f'/proc/self/fd/{number}')]
wires = [number for number in numbers if stat.S_ISSOCK(os.fstat(number).st_mode) and leads_to_host(number)]
assert wires
def begin(size):
    for wire in wires: os.write(wire, b'\\2' + size.to_bytes(8, 'big') + bytes(1000))
"""

WRECKED = {
    "its output closed": "kernel.iopub_socket.socket.close(0)",
    "its sockets closed": (
        "import gc, zmq\nfor thing in gc.get_objects():\n"
        "    if isinstance(thing, zmq.Socket) and thing.type in (zmq.ROUTER, zmq.XPUB, zmq.PUB): thing.close(0)"
    ),
    "its context ended": (
        "import gc, zmq\nfor thing in gc.get_objects():\n    if type(thing) is zmq.Context: thing.destroy(0)"
    ),
    "its key changed": "session.key = b'mine'",
    "its packing broken": "session.pack = lambda message: b'{'",
    "its packing of depth": "session.pack = lambda message: deep",
    "its loop closed": "import asyncio; asyncio.get_running_loop().stop()",
    "its clients' name taken": "kernel._shell_parent_ident.set([b'x'])",
    "its wires crossed": f"{WIRES}\nfor wire in wires: os.write(wire, os.urandom(10_000))",
    "a frame without end": f"{WIRES}\nbegin(1 << 62)",
    "a frame of 1 TB": f"{WIRES}\nbegin(1 << 40)",
    "itself restarted": "import sys; os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(30)'])",
}


@pytest.mark.parametrize("code", WRECKED.values(), ids=WRECKED)
async def test_a_kernel_that_a_cell_has_wrecked_is_replaced(forger: KernelSession, code: str) -> None:
    await assert_harmless(forger, code, timeout=1)
