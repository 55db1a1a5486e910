"""Real kernels: what a cell's result holds, what a session keeps and what it never shows."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from environments.faults import KernelFault, UsageError
from environments.kernels import KernelHost, KernelSession
from tests.environments.conftest import Way

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "sk-not-for-kernels"
SETUP = "table = [1, 2, 3]\nprint('unseen')"


@pytest.fixture(scope="module", autouse=True)
def _secrets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", SECRET)
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("LC_TIME", "C")
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(_secrets: None, way: Way) -> AsyncIterator[KernelHost]:
    async with KernelHost(way.level, cell_timeout=30, fork=way.fork) as host:
        yield host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fresh(host: KernelHost) -> KernelSession:
    """A session that only the first test of this file runs cells in."""
    return await host.session(setup=SETUP, seed=7)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(host: KernelHost) -> KernelSession:
    return await host.session(setup=SETUP, preload=["decimal"], seed=7)


async def test_setup_leaves_its_names_and_no_trace_of_itself(fresh: KernelSession) -> None:
    first = await fresh.run(
        "names = sorted(n for n in globals() if not n.startswith('_'))\n(In, Out, _ih, table, names)"
    )
    assert first.stdout == ""
    assert first.value is not None
    history, value = first.value.split("[1, 2, 3]")
    assert "table =" not in history.replace("table, names", "")
    assert "prepare" not in first.value
    assert value.count("'") == 2 * len(["In", "Out", "exit", "get_ipython", "open", "quit", "table"])
    assert "Cell In[2], line 1" in (await fresh.run("1/0")).error.traceback  # type: ignore[union-attr]


async def test_a_result_holds_stdout_stderr_and_value_apart(session: KernelSession) -> None:
    result = await session.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n40 + 2")
    assert (result.stdout, result.stderr, result.value, result.error) == ("out\n", "err\n", "42", None)
    assert not result.failed
    assert result.seconds > 0


async def test_state_is_kept_across_cells(session: KernelSession) -> None:
    await session.run("kept = 5")
    assert (await session.run("kept + 1")).value == "6"


async def test_an_exception_is_kept_whole_and_without_colours(session: KernelSession) -> None:
    result = await session.run("def f():\n    return {}['key']\nprint('before')\nf()")
    assert result.error is not None
    assert (result.error.name, result.error.value) == ("KeyError", "'key'")
    assert "in f()" in result.error.traceback
    assert "\x1b" not in result.error.traceback
    assert (result.stdout, result.failed, result.died) == ("before\n", True, False)


async def test_code_that_does_not_parse_is_an_error_of_the_cell(session: KernelSession) -> None:
    result = await session.run("def (")
    assert result.error is not None
    assert result.error.name == "SyntaxError"


async def test_a_repr_that_fails_is_an_error_of_the_cell(session: KernelSession) -> None:
    result = await session.run("class Bad:\n    def __repr__(self): raise LookupError('no repr')\nBad()")
    assert result.error is not None
    assert (result.error.name, result.error.value, result.value) == ("LookupError", "no repr", None)


async def test_a_traceback_that_is_only_shown_is_not_the_cells_error(session: KernelSession) -> None:
    result = await session.run(
        "try:\n    1/0\nexcept ZeroDivisionError:\n    get_ipython().showtraceback()\nprint('went on')"
    )
    assert result.error is None
    assert "ZeroDivisionError" in result.stderr
    assert result.stdout == "went on\n"


async def test_displays_stand_among_the_printed_lines(session: KernelSession) -> None:
    result = await session.run(
        "from IPython.display import display, HTML\n"
        "print(1)\nshown = display('two', display_id=True)\nprint(3)\nshown.update('four')\ndisplay(HTML('<b>'))"
    )
    assert result.stdout == "1\n'two'\n3\n'four'\n<IPython.core.display.HTML object>\n"


async def test_cleared_output_is_gone(session: KernelSession) -> None:
    result = await session.run(
        "from IPython.display import clear_output\nfor i in range(3):\n    clear_output(wait=True)\n    print(i)"
    )
    assert result.stdout == "2\n"
    assert (await session.run("print('a'); clear_output(); print('b')")).stdout == "b\n"


async def test_input_meets_the_end_of_the_file(session: KernelSession) -> None:
    result = await session.run("try:\n    input('? ')\nexcept EOFError:\n    print('nobody there')")
    assert result.stdout == "nobody there\n"


async def test_sys_exit_ends_the_cell_and_not_the_session(session: KernelSession) -> None:
    result = await session.run("import sys\nsys.exit(3)")
    assert result.error is not None
    assert (result.error.name, result.stderr, result.died) == ("SystemExit", "", False)


async def test_unicode_nul_and_lone_surrogates_come_back_encodable(session: KernelSession) -> None:
    result = await session.run("print('é 漢 🙂', '\\x00', '\\ud800', '\\udc80')\n'\\ud800'")
    assert result.stdout == "é 漢 🙂 \\x00 \\ud800 \\udc80\n"
    assert result.value == "'\\ud800'"
    error = (await session.run("raise ValueError('\\ud800')")).error
    assert error is not None
    assert error.value == "\\ud800"
    assert (await session.run("len('\ud800')")).value == "1"


async def test_a_subprocess_writing_to_the_descriptors_is_heard(session: KernelSession) -> None:
    result = await session.run(
        "import os, subprocess\nsubprocess.run('echo out; echo err >&2', shell=True)\n"
        "os.write(1, b'raw\\n')\nos.system('seq 1 9999 | tail -n 1')\nprint('end')"
    )
    assert sorted(result.stdout.split()) == ["9999", "end", "out", "raw"]
    assert result.stderr == "err\n"
    # The cell ends while the kernel's reader is still at work on what it wrote last.
    for _ in range(50):
        assert (await session.run("_ = os.write(1, b'y\\n' * 30_000)")).stdout == "y\n" * 30_000


async def test_a_thread_prints_in_no_cell_but_the_one_under_way(session: KernelSession) -> None:
    await session.run("import threading\ngo, done = threading.Event(), threading.Event()")
    result = await session.run(
        "def late():\n    go.wait()\n    print('between', flush=True)\n    done.set()\n"
        "threading.Thread(target=late).start()\nthreading.Timer(0.2, go.set).start()\nprint('mine')"
    )
    assert result.stdout == "mine\n"
    await asyncio.sleep(0.5)
    after = await session.run("done.wait(10)\nprint('next')")
    assert after.stdout == "next\n"


async def test_a_redirection_put_back_through_dunder_stdout_is_over(session: KernelSession) -> None:
    hidden = await session.run("import io, sys\nprint('seen')\nsys.stdout = io.StringIO()\nprint('hidden')")
    assert hidden.stdout == "seen\n"
    assert (await session.run("print('hidden')\nsys.stdout = sys.__stdout__\nprint('back')")).stdout == "back\n"


async def test_setup_that_fails_is_our_fault(host: KernelHost) -> None:
    broken = await host.session(setup="1/0")
    lacking = await host.session(preload=["no_such_module"])
    for session, reason in ((broken, "ZeroDivisionError"), (lacking, "no_such_module"), (broken, "ZeroDivisionError")):
        with pytest.raises(KernelFault, match=reason):
            await session.run("1")


async def test_a_hosts_own_modules_are_found_imported_in_each_session(way: Way) -> None:
    async with KernelHost(way.level, fork=way.fork, preload=["colorsys"]) as host, await host.session() as session:
        assert (await session.run("import sys; 'colorsys' in sys.modules, 'colorsys' in globals()")).value == (
            "(True, False)"
        )


async def test_a_kernel_knows_no_secret_and_nothing_of_the_project(session: KernelSession) -> None:
    result = await session.run(
        "import os, sys\nprint(dict(os.environ))\nprint(sys.path)\n"
        "print(os.getcwd(), os.path.expanduser('~'), os.listdir())"
    )
    environment, path, places = result.stdout.splitlines()
    assert SECRET not in environment
    assert "'LC_TIME': 'C'" in environment
    assert "PYTHONPATH" not in environment
    assert str(Path(__file__).parent) not in path
    folder, home, files = places.split(" ")
    assert folder == home
    assert files == "[]"
    error = (await session.run("import environments")).error
    assert error is not None
    assert error.name == "ModuleNotFoundError"


async def test_sessions_of_one_seed_draw_the_same_numbers_and_share_nothing(host: KernelHost) -> None:
    draw = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('a'))"
    async with (
        await host.session(seed=3) as one,
        await host.session(seed=3) as two,
        await host.session(seed=4) as other,
    ):
        drawn = [(await session.run(draw)).stdout for session in (one, two, other)]
        assert drawn[0] == drawn[1]
        assert drawn[0].split()[:2] != drawn[2].split()[:2]
        assert drawn[0].split()[:2] == [str(random.Random(3).random()), str(np.random.RandomState(3).rand())]
        await one.run("mine = 1\nopen('file', 'w').close()")
        assert (await two.run("'mine' in globals(), __import__('os').listdir()")).value == "(False, [])"


async def test_sixteen_sessions_work_side_by_side(host: KernelHost) -> None:
    async def one(number: int) -> str | None:
        async with await host.session(setup=f"number = {number}") as session:
            await session.run("import time; time.sleep(0.1)")
            return (await session.run("number ** 2")).value

    assert await asyncio.gather(*map(one, range(16))) == [str(number**2) for number in range(16)]


async def test_a_closed_session_is_gone_with_its_folder(way: Way, short_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(short_path))
        async with KernelHost(way.level, fork=way.fork) as host:
            session = await host.session()
            await session.run("open('file', 'w').close()")
            assert list(short_path.glob("*/*/connection.json"))
            await session.close()
            await session.close()
            while list(short_path.glob("*/*/connection.json")):
                await asyncio.sleep(0.01)
    with pytest.raises(KernelFault, match="closed"):
        await session.run("1")


async def test_a_temporary_folder_too_deep_for_sockets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(UsageError, match="TMPDIR"):
        async with KernelHost("none"):
            pass
    assert not list(deep.iterdir())
