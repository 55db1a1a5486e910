"""Ctrl-C and SIGTERM, while something is under way that is to come to an end in its own manner."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_stop(act: Callable[[], None]) -> Iterator[None]:
    """`act` each time that somebody asks for the end."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
