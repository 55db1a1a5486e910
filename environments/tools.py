"""What a teacher's code can call in the kernel and the host carries out: plain functions, typed and documented.

A function takes and gives what JSON holds, may be a coroutine function, and is known to the teacher by its
signature and docstring alone. A method of the episode's class acts on that episode's state. A text that it
gives back as `Idle` or `Missed` is an error of the teacher's, though nothing is raised.
"""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from environments.types import Json

Function: TypeAlias = Callable[..., Any]


class BadCall(Exception):
    """What a function says of a call it cannot carry out: `ToolError` in the kernel, for the teacher to correct.

    Anything else that a function raises is a fault of ours (`ToolFault`).
    """


class Idle(str):
    """A text that says that nothing was done: error E5."""

    __slots__ = ()


class Missed(str):
    """A text that says that nothing was found: error E6."""

    __slots__ = ()


async def called(function: Function, arguments: Mapping[str, Json]) -> Any:
    """A function that waits for something is not to keep the event loop from everything else."""
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    return await asyncio.to_thread(function, **arguments)


def is_method(function: Function) -> bool:
    return next(iter(inspect.signature(function).parameters), None) == "self"


def described(functions: Iterable[Function]) -> str:
    """What the prompt says of them: each as it would stand in a module, without its body."""
    return "\n\n".join(map(_described, functions))


def stubs(functions: Iterable[Function]) -> Mapping[str, str]:
    """By name, the source of a function that looks the same and gives its arguments back."""
    start = "from __future__ import annotations\n"
    return {function.__name__: f"{start}{_described(function)}\n    return locals()\n" for function in functions}


def _described(function: Function) -> str:
    signature = inspect.signature(function)
    parameters = [parameter for name, parameter in signature.parameters.items() if name != "self"]
    # Where annotations are kept as texts, they are shown in quotes.
    shown = str(signature.replace(parameters=parameters)).replace("'", "")
    document = textwrap.indent(inspect.getdoc(function) or "", "    ").strip()
    return f'def {function.__name__}{shown}:\n    """{document}"""'
