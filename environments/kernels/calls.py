"""Carrying out what a cell asks of the host: its environment's functions, called through Jupyter's stdin channel.

Whatever a kernel sends is a stranger's: a question that is none gets the end of input, one about a
function that is not there or with arguments it does not take is answered with an error, and neither
can keep the host.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_type_hints

from environments.faults import InfrastructureFault, ToolFault
from environments.tools import BadCall, Function, Idle, Missed, called
from environments.types import Json, ToolCall, clean

MOST_CALLS = 1_000
"""In one cell: its clock stands still while a function is carried out, so that it could go on for ever."""
CALL_TIMEOUT = 120.0
"""Seconds a function may take. That it takes longer is a fault of ours."""

CHECKED = {str: (str,), int: (int,), float: (int, float), bool: (bool,), list: (list,), dict: (dict,)}


@dataclass(frozen=True, slots=True)
class Question:
    """A call, as the kernel asks for it."""

    number: int
    function: str
    arguments: Mapping[str, Json]

    def answer(self, call: ToolCall) -> str:
        said = {"value": call.value} if call.error is None else {"error": call.error}
        return json.dumps({"call": self.number, **said})


def question(content: object) -> Question | None:
    """None for what no stub of ours has sent."""
    prompt = content.get("prompt") if isinstance(content, dict) else None
    try:
        told = json.loads(prompt) if isinstance(prompt, str) else None
    except (ValueError, RecursionError):
        return None
    match told:
        case {"call": int(number), "function": str(function), "arguments": dict(arguments)}:
            return Question(number, function, arguments)
    return None


class Calls:
    """Those of one cell, in order."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions
        self.made: list[ToolCall] = []

    async def carry_out(self, asked: Question) -> ToolCall:
        """Raises `InfrastructureFault` where the function itself has failed."""
        began = time.monotonic()
        call = ToolCall(clean(asked.function), asked.arguments)
        try:
            value = await self._value(asked)
            call = replace(call, value=clean(value) if isinstance(value, str) else value, event=event_of(value))
        except BadCall as error:
            call = replace(call, error=clean(str(error)))
        call = replace(call, seconds=time.monotonic() - began)
        self.made.append(call)
        return call

    async def _value(self, asked: Question) -> Any:
        if len(self.made) >= MOST_CALLS:
            raise BadCall(f"no more than {MOST_CALLS:,} calls can be made in one cell")
        function = self._functions.get(asked.function)
        if function is None:
            raise BadCall(f"there is no function {asked.function}")
        arguments = checked(function, asked.arguments)
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                value = await called(function, arguments)
            json.dumps(value)
        except (BadCall, InfrastructureFault):
            raise
        except TimeoutError as error:
            raise ToolFault(f"{asked.function} took more than {CALL_TIMEOUT:.0f} s.") from error
        except Exception as error:
            raise ToolFault(f"{asked.function} failed: {type(error).__name__}: {error}") from error
        return value


def event_of(value: Any) -> Literal["E5", "E6"] | None:
    if isinstance(value, Idle):
        return "E5"
    return "E6" if isinstance(value, Missed) else None


def checked(function: Function, arguments: Mapping[str, Json]) -> Mapping[str, Json]:
    """Raises `BadCall` for what the function does not take. Types are looked at as far as they are plain."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        raise BadCall(f"{function.__name__}: {error}") from error
    wanted = get_type_hints(function)
    for name, value in arguments.items():
        kinds = CHECKED.get(wanted.get(name, object))
        if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            given = type(value).__name__
            raise BadCall(f"{function.__name__}: {name} must be of type {wanted[name].__name__}, not {given}")
    return arguments
