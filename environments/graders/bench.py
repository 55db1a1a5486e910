"""The bench that programs are tested on: a forked child a test, its input, its limits, and what came of it.

Runs inside a kernel, which is sent it as source, so it imports nothing of ours. It is given inputs and never
an expected value: whoever takes it over, and a candidate may, can forge nothing but the candidate's own output.
A fork and not an interpreter of its own: what a kernel has imported already need not be imported for each test.
"""

import ast
import atexit
import base64
import builtins
import contextlib
import io
import itertools
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

LINE = 100_000
"""Characters of a printed line; a longer report goes on in the next."""
MOST_ERRORS = 2_000
"""Bytes kept of stderr, its end."""
MOST_ITEMS = 1_000_000
"""Of an iterator that is given back."""
LOOK = 0.05
"""Seconds between two looks at a child whose own children hold its pipes."""
LAST_LOOK = 0.0002
"""Seconds until the first look at a child that has closed them, and is about to end; twice as long until each next."""
READ = 1 << 16
RECURSION = 1_000
MAIN_STACK = 112 << 20
MOST_OPEN = 1 << 20
RESULT = 3
"""The descriptor on which a child tells what was returned; stdout is the program's own."""

_lines: Iterator[str] = iter(())


def go(work: str = "", *, characters: int, seconds: float) -> None:
    """Take up new work, or go on; print reports until there is none left, or enough is said or done for one cell."""
    global _lines  # a cell has nowhere else to leave it
    if work:
        told = json.loads(zlib.decompress(base64.b64decode(work)))
        _lines = _reports(told["program"], told["tests"])
    end = time.monotonic() + seconds
    for line in _lines:
        print(line, flush=True)  # noqa: T201
        characters -= len(line)
        if characters <= 0 or time.monotonic() > end:
            return
    print("done")  # noqa: T201


def _reports(program: dict[str, Any], tests: list[dict[str, Any]]) -> Iterator[str]:
    program["ready"] = _compiled(program["preamble"])
    for number, test in enumerate(tests):
        result = _run(program, test)
        report = base64.b64encode(zlib.compress(json.dumps(result).encode(), 1)).decode()
        for start in range(0, len(report), LINE):
            last = start + LINE >= len(report)
            yield json.dumps([number, report[start : start + LINE], last])
        # What has left its group can be found by the first process of a namespace only.
        if result["ended"] not in ("well", "error") and os.getpid() != 1:
            yield "spoilt"
            return


# -- the parent's side ---------------------------------------------------------------------------


def _run(program: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    """What came of one test: how it ended, its output, the end of its stderr, its seconds of CPU."""
    with contextlib.ExitStack() as files:
        given = files.enter_context(tempfile.TemporaryFile())
        given.write(test.get("stdin", "").encode("utf-8", "surrogatepass"))
        given.seek(0)
        output, told = os.pipe()
        errors, complained = os.pipe()
        with warnings.catch_warnings():
            # It has threads, none of which the child needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            _be(program, test, given.fileno(), told, complained)
        os.close(told)
        os.close(complained)
        try:
            return _watched(child, output, errors, program)
        finally:
            os.close(output)
            os.close(errors)


def _watched(child: int, output: int, errors: int, program: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + program["wall"]
    told, complained = bytearray(), bytearray()
    ended = cut = None
    open_ends = {output, errors}
    pause = LAST_LOOK
    while cut is None:
        if ended is None:
            pid, status, usage = os.wait4(child, os.WNOHANG)
            ended = (status, usage) if pid else None
        pause = pause if open_ends else min(2 * pause, LOOK)
        ready = _ready(open_ends, 0.0 if ended else LOOK if open_ends else pause)
        if ended and not ready:
            break
        for source in ready:
            got = os.read(source, READ)
            if not got:
                open_ends.discard(source)
            elif source == output:
                told += got
            else:
                complained = (complained + got)[-MOST_ERRORS:]
        if len(told) > program["output"]:
            cut = "output"
        elif time.monotonic() > end:
            cut = "time"
    _end(child)
    status, usage = ended or os.wait4(child, 0)[1:]
    _reap()
    cpu = usage.ru_utime + usage.ru_stime
    return {
        "ended": cut or _ending(status, cpu >= program["seconds"] * 0.9),
        "output": told[: program["output"]].decode("utf-8", "replace"),
        "errors": complained.decode("utf-8", "replace"),
        "cpu": cpu,
    }


def _ready(sources: set[int], seconds: float) -> list[int]:
    if not sources:
        time.sleep(seconds)
        return []
    return select.select(list(sources), [], [], seconds)[0]


def _ending(status: int, out_of_time: bool) -> str:
    if os.WIFEXITED(status):
        return "well" if os.WEXITSTATUS(status) == 0 else "error"
    if os.WTERMSIG(status) == signal.SIGXCPU or (os.WTERMSIG(status) == signal.SIGKILL and out_of_time):
        return "time"
    return "crash"


def _end(child: int) -> None:
    """The child, and all that it has started and left behind."""
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    if os.getpid() == 1:
        # Everyone else in this namespace, which is no one but its doing.
        with contextlib.suppress(OSError):
            os.kill(-1, signal.SIGKILL)


def _reap() -> None:
    """The dead that have been left to us count among our processes."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


# -- the child's side ----------------------------------------------------------------------------


def _be(program: dict[str, Any], test: dict[str, Any], given: int, told: int, complained: int) -> NoReturn:
    status = 1
    try:
        os.setsid()
        calls = "stdin" not in test
        _wire(given, told, complained, calls=calls)
        _become_plain_python(program)
        try:
            status = _acted(program, test)
        except SystemExit as left:
            status = _status(left.code)
        except BaseException:  # noqa: BLE001  # whatever a program raises is told on its stderr
            traceback.print_exc(limit=-3)
        status = _finished(status)
    finally:
        os._exit(status)


def _wire(given: int, told: int, complained: int, *, calls: bool) -> None:
    """Descriptors as a program of its own has them, and nothing else open; stdout is not heard where results are."""
    said = os.open(os.devnull, os.O_WRONLY) if calls else told
    # All of them above those they go to, before any is moved there.
    for target, source in enumerate([_above(number) for number in (given, said, complained, told)]):
        os.dup2(source, target)
    os.closerange(RESULT + 1 if calls else RESULT, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MOST_OPEN))
    # A cell's own `open` is IPython's, which refuses these.
    streams: Any = sys
    opens = builtins.open
    streams.stdin = streams.__stdin__ = opens(0, encoding="utf-8", errors="surrogateescape")
    streams.stdout = streams.__stdout__ = opens(1, "w", encoding="utf-8", errors="surrogateescape")
    streams.stderr = streams.__stderr__ = opens(2, "w", encoding="utf-8", errors="replace", buffering=1)


def _above(number: int) -> int:
    import fcntl

    return fcntl.fcntl(number, fcntl.F_DUPFD, RESULT + 1)


def _become_plain_python(program: dict[str, Any]) -> None:
    """What IPython has changed is put back, and the limits are set."""
    atexit._clear()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    vars(builtins).update(input=_input, exit=sys.exit, quit=sys.exit)
    for name in ("get_ipython", "display", "__IPYTHON__"):
        builtins.__dict__.pop(name, None)
    sys.displayhook, sys.excepthook = sys.__displayhook__, sys.__excepthook__
    sys.argv = ["solution.py"]
    threading.stack_size(0)
    # A fork is seeded anew by itself; but the same test is to do the same, each time that it is run.
    random.seed(0)
    depth = sum(1 for _ in traceback.walk_stack(None))
    sys.setrecursionlimit(RECURSION + depth)
    _limit(resource.RLIMIT_CPU, program["seconds"], spare=1)
    _limit(resource.RLIMIT_STACK, MAIN_STACK, hard=False)
    _limit(resource.RLIMIT_CORE, 0)
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + program["memory"])


def _limit(what: int, most: int, *, spare: int = 0, hard: bool = True) -> None:
    _, allowed = resource.getrlimit(what)
    if allowed != resource.RLIM_INFINITY:
        most = min(most, allowed)
        spare = min(spare, allowed - most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (most, most + spare if hard else allowed))


def _input(prompt: object = "", /) -> str:
    if prompt != "":
        sys.stdout.write(str(prompt))
        sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line[:-1] if line.endswith("\n") else line


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return int(code or 0) & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _finished(status: int) -> int:
    """As an interpreter ends: threads, then what was to be done at the end, then what is still unsaid."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in {sys.stdout, sys.__stdout__}:
        try:
            stream.flush()  # type: ignore[union-attr]
        except (ValueError, AttributeError):  # closed, or a program's own
            continue
        except OSError:
            return 1
    return status


def _acted(program: dict[str, Any], test: dict[str, Any]) -> int:
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    names = vars(main)
    names["__builtins__"] = builtins
    if "unit" in test:
        _tell(_examined(program, test, names))
        return 0
    _prepare(program["ready"], names)
    exec(compile(program["source"], "solution.py", "exec"), names)  # noqa: S102  # that is what it is for
    if "call" in test:
        _tell(_called(test["call"], names))
    return 0


def _compiled(sources: Sequence[str]) -> list[Any]:
    """Statement by statement, once for all tests: a task's own code, not a candidate's.

    What it imports is imported here, so that no child has to look for it.
    """
    statements = [statement for source in sources for statement in ast.parse(source).body]
    ready = [(statement, compile(ast.Module([statement], []), "given.py", "exec")) for statement in statements]
    return [
        code for statement, code in ready if not isinstance(statement, (ast.Import, ast.ImportFrom)) or _imports(code)
    ]


def _imports(code: Any) -> bool:
    with contextlib.suppress(ImportError):
        exec(code, {})  # noqa: S102
        return True
    return False


def _prepare(statements: Sequence[Any], names: dict[str, Any]) -> None:
    """A helper that is not installed is missed only by whoever uses it."""
    for statement in statements:
        with contextlib.suppress(ImportError):
            exec(statement, names)  # noqa: S102


def _tell(result: object) -> None:
    told = json.dumps(result).encode()
    with io.FileIO(RESULT, "w") as pipe:
        while told:
            told = told[pipe.write(told) :]


def _called(call: list[Any], names: dict[str, Any]) -> dict[str, Any]:
    name, arguments, named = call
    function = _found(name, names)
    given = [decoded(value, names) for value in arguments]
    try:
        value = function(*given, **{key: decoded(part, names) for key, part in named.items()})
    except Exception as error:  # noqa: BLE001  # a test may expect it
        traceback.print_exc(limit=-3)
        return {"raised": type(error).__name__}
    return {"value": encoded(value)}


def _found(name: str, names: dict[str, Any]) -> Callable[..., Any]:
    """A function of that name, or LeetCode's form, a method of a class that is called `Solution`."""
    if name not in names and isinstance(names.get("Solution"), type):
        return getattr(names["Solution"](), name)  # type: ignore[no-any-return]
    if name not in names:
        raise NameError(f"name '{name}' is not defined")
    return names[name]  # type: ignore[no-any-return]


# -- an examiner's side --------------------------------------------------------------------------


def _examined(program: dict[str, Any], test: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
    """A test's own code, against the answers that there are: it passes, or fails, or asks for one more."""
    answers = test["answers"]

    def proxy(name: str) -> Callable[..., Any]:
        def ask(*arguments: Any, **named: Any) -> Any:
            call = [name, [encoded(one) for one in arguments], {key: encoded(one) for key, one in named.items()}]
            # Each call meets the program anew, so the same one has the same answer.
            answer = answers.get(json.dumps(call))
            if answer is None:
                _tell({"call": call})
                os._exit(0)
            if "raised" in answer:
                raise _exception(answer["raised"])
            return decoded(answer["value"], names)

        return ask

    names.update({name: proxy(name) for name in test["names"]})
    _prepare(program["ready"], names)
    names.update({name: proxy(name) for name in test["asked"]})
    try:
        exec(compile(test["unit"], "test.py", "exec"), names)  # noqa: S102  # in a kernel apart from the candidate's
    except AssertionError:
        return {"passed": False}
    except Exception as error:  # noqa: BLE001  # an answer of a wrong type makes a test stumble
        return {"passed": False, "why": f"{type(error).__name__}: {error}"[:300]}
    return {"passed": True}


def _exception(name: str) -> Exception:
    kind = getattr(builtins, name, None)
    known = isinstance(kind, type) and issubclass(kind, Exception)
    try:
        return kind() if known else RuntimeError(name)  # type: ignore[misc]
    except TypeError:
        return RuntimeError(name)


# -- values, as JSON -----------------------------------------------------------------------------


class Thing:
    """An object of a class that is not known here: its attributes, and its class's name."""

    def __repr__(self) -> str:
        return f"<{vars(self)}>"


def encoded(value: Any) -> Any:
    """Lists and scalars as JSON has them, all else under its kind's name. An object is its attributes."""
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or isinstance(value, bool) else str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, list):
        return [encoded(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encoded(key), encoded(item)] for key, item in value.items()]}
    for kind in (tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encoded(item) for item in value]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    return _encoded_object(value)


def _encoded_object(value: Any) -> Any:
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return encoded(value.tolist())
    if isinstance(value, deque):
        return {"deque": [encoded(item) for item in value]}
    if isinstance(value, Iterator):
        return {"iterator": [encoded(item) for item in itertools.islice(value, MOST_ITEMS)]}
    if hasattr(value, "__dict__") and not callable(value) and not isinstance(value, types.ModuleType):
        return {"object": [type(value).__name__, {name: encoded(item) for name, item in vars(value).items()}]}
    raise TypeError(f"{type(value).__name__}: nothing that a test could look at")


def decoded(value: Any, names: dict[str, Any]) -> Any:
    """Only plain values, and objects of classes that were written here: no class of a library can be asked for."""
    if isinstance(value, list):
        return [decoded(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "dict":
        return {decoded(key, names): decoded(item, names) for key, item in held}
    if kind == "object":
        return _decoded_object(held, names)
    if kind == "bytes":
        return held.encode("latin-1")
    if kind in ("complex", "range"):
        return {"complex": complex, "range": range}[kind](*held)
    makes: dict[str, Callable[[Sequence[Any]], Any]] = {
        "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque, "iterator": iter
    }  # fmt: skip
    return makes[kind]([decoded(item, names) for item in held])


def _decoded_object(held: Sequence[Any], names: dict[str, Any]) -> Any:
    name, attributes = held
    known: Any = names.get(name)
    ours = isinstance(known, type) and known.__module__ == "__main__"
    made: Any = known.__new__(known) if ours else type(str(name), (Thing,), {})()
    made.__dict__.update({key: decoded(item, names) for key, item in attributes.items()})
    return made
