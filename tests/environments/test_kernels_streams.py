"""A cell's output reaches the host whole and in order, whatever interrupts it and whoever writes it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from environments.kernels import KernelHost, KernelSession

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[True, False], ids=["forked", "stock"])
async def session(request: pytest.FixtureRequest) -> AsyncIterator[KernelSession]:
    async with KernelHost("none", cell_timeout=30, fork=request.param) as host:
        yield await host.session()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forked() -> AsyncIterator[KernelSession]:
    async with KernelHost("none") as host:
        yield await host.session()


async def test_an_interrupt_in_the_midst_of_a_message_garbles_none(session: KernelSession) -> None:
    for _ in range(10):
        result = await session.run("while True: display('x' * 1000)", timeout=0.2)
        assert (result.timed_out, result.died) == (True, False)
        assert result.error is not None
        assert result.error.name == "KeyboardInterrupt"


HANDLERS = {
    "raises": "def handle(*_):\n    raise LookupError\n",
    "prints": "def handle(*_):\n    print('handled')\n",
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS.keys())
async def test_a_signals_handler_in_the_midst_of_a_message_garbles_none(forked: KernelSession, handler: str) -> None:
    result = await forked.run(
        f"import signal\n{handler}signal.signal(signal.SIGALRM, handle)\n"
        "for n in range(80):\n    try:\n        signal.setitimer(signal.ITIMER_REAL, 0.0001 + n * 5e-6)\n"
        # Long enough to be hit, by a handler or in its own.
        "        for _ in range(30): display('some text')\n    except LookupError: pass\n"
        "print('end')"
    )
    assert not result.failed, result
    assert result.stdout.endswith("end\n")
    assert set(result.stdout.split("\n")) <= {"'some text'", "handled", "end", ""}


async def test_threads_that_print_at_once_lose_nothing(session: KernelSession) -> None:
    result = await session.run(
        "import threading\n"
        "def tell(n):\n    for i in range(500): print(f'{n} {i}\\n', end='')\n"
        "threads = [threading.Thread(target=tell, args=[n]) for n in range(8)]\n"
        "for thread in threads: thread.start()\nfor thread in threads: thread.join()"
    )
    assert sorted(result.stdout.splitlines()) == sorted(f"{n} {i}" for n in range(8) for i in range(500))


async def test_a_subprocess_and_the_cell_stand_in_the_order_in_which_they_wrote(session: KernelSession) -> None:
    result = await session.run(
        "import subprocess\nfor n in range(5):\n    print('cell', n)\n    subprocess.run(['echo', f'process {n}'])\n"
        "    __import__('time').sleep(0.05)"
    )
    assert result.stdout == "".join(f"cell {n}\nprocess {n}\n" for n in range(5))


async def test_characters_that_lie_across_two_reads_stay_whole(session: KernelSession) -> None:
    result = await session.run("import os\n_ = [os.write(1, byte.to_bytes(1)) for byte in 'é漢🙂\\n'.encode() * 500]")
    assert result.stdout == "é漢🙂\n" * 500


async def test_a_process_left_writing_does_not_keep_the_cell(session: KernelSession) -> None:
    result = await session.run("import subprocess\nchild = subprocess.Popen(['yes'])\n'over'", timeout=10)
    assert (result.value, result.timed_out) == ("'over'", False)
    after = await session.run("child.kill(); child.wait()", timeout=10)
    assert (after.value, after.timed_out) == ("-9", False)
    assert (await session.run("print('clear')")).stdout.endswith("clear\n")


async def test_lines_held_back_are_sent_before_a_kernel_that_dies_later(session: KernelSession) -> None:
    result = await session.run("for n in range(3): print(n)\n__import__('time').sleep(0.6)\n__import__('os')._exit(1)")
    assert (result.stdout, result.died) == ("0\n1\n2\n", True)


async def test_a_stream_keeps_the_methods_that_libraries_call(session: KernelSession) -> None:
    result = await session.run(
        "import sys\nsys.stdout.writelines(['a\\n', 'b\\n'])\n"
        "(sys.stdout.isatty(), sys.stdout.writable(), sys.stdout.readable(), sys.stdout.encoding, sys.stdout.name,"
        " sys.stdout.closed, isinstance(sys.stdout.fileno(), int), type(sys.stdout).__module__)"
    )
    assert result.stdout == "a\nb\n"
    assert result.value == "(False, True, False, 'UTF-8', 'stdout', False, True, 'ipykernel.iostream')"
    error = (await session.run("sys.stdout.write(3)")).error
    assert error is not None
    assert error.name == "TypeError"


async def test_messages_signed_with_another_key_are_no_messages(session: KernelSession) -> None:
    assert (await session.run("get_ipython().kernel.session.key = b'another'\nprint('forged')")).died
    assert (await session.run("1 + 1")).value == "2"
