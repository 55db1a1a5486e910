"""Kernels start and end while their run goes on with something else: a teacher is asked meanwhile.

Only so many start at a time, or lie dead: what is left of a kernel is cleared away in the background, and
when that lags behind, it is the starts that wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from environments.faults import KernelFault
from environments.kernels.session import Birth

if TYPE_CHECKING:
    from environments.kernels.kernel import Kernel

MOST_DEAD = 32

logger = logging.getLogger(__name__)
# Nothing is to be printed where the user has no handler.
logger.addHandler(logging.NullHandler())


class Keeper:
    """Once it is closed, no kernel that was started through it is left."""

    def __init__(self) -> None:
        self._starting = asyncio.Semaphore(os.cpu_count() or 1)
        self._births, self._burials = set[Birth](), set[asyncio.Task[None]]()
        self._closed = False

    def start(self, launch: Callable[[], Awaitable[Kernel]]) -> Birth:
        """Raises `KernelFault` once it is closed; a fault of `launch` is the task's."""
        if self._closed:
            raise KernelFault("no kernel can be started any more: their host has been left.")
        birth = asyncio.create_task(self._born(launch))
        self._births.add(birth)
        birth.add_done_callback(self._drop_failed)
        return birth

    def end(self, birth: Birth) -> None:
        """At once, also of one that is only starting. That its start has failed, which nobody then knows, is logged."""
        self._births.discard(birth)
        if not birth.cancel() and not birth.cancelled() and birth.exception() is None:
            birth.result().kill()
        burial = asyncio.create_task(bury(birth))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def close(self) -> None:
        self._closed = True
        for birth in [*self._births]:
            self.end(birth)
        if self._burials:
            done, _ = await asyncio.wait(self._burials)
            for burial in done:
                burial.result()

    def _drop_failed(self, birth: Birth) -> None:
        if birth.cancelled() or birth.exception() is not None:
            self._births.discard(birth)

    async def _born(self, launch: Callable[[], Awaitable[Kernel]]) -> Kernel:
        async with self._starting:
            while len(self._burials) >= MOST_DEAD:
                await asyncio.wait(self._burials, return_when=asyncio.FIRST_COMPLETED)
            return await launch()


async def bury(birth: Birth) -> None:
    await asyncio.wait({birth})
    if birth.cancelled():
        return
    if fault := birth.exception():
        logger.warning("A kernel that nobody waited for could not be started: %s", fault)
    else:
        await birth.result().close()
