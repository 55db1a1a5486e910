"""How a provider's refusals and failures bear on the calls that follow: the gate's arithmetic, without its line.

Calls are numbered as they go out, so that the answer to an old one is not taken for the effect of what was
decided since.
"""

from __future__ import annotations

import random

from collectors.teachers.retry import RetryPolicy
from environments.faults import TeacherFault

FAILURES = 10
"""So many in a row, over all calls, and the provider counts as down."""


def wait_after(fault: TeacherFault, times: int, policy: RetryPolicy) -> float:
    """As long as is asked, up to the cap; a wait of 0 is our own backoff, or it would be asked without end."""
    if fault.retry_after:
        return min(fault.retry_after, policy.longest_wait)
    window = min(policy.first_backoff * 2.0 ** min(times - 1, 30), policy.longest_backoff)
    return random.uniform(window / 2, window)  # noqa: S311 - it spreads processes out, and keeps no secret


class Pace:
    """Calls at once: halved by a wave of refusals, one more for as many clean answers as it is.

    A wave is what was under way when the first of its calls was refused.
    """

    def __init__(self, most: int) -> None:
        self.most = self.limit = most
        self.waves = 0
        """Since the last answer."""
        self._wave = 0
        self._clean = 0

    def answered(self, number: int) -> None:
        self.waves = 0
        self._clean += number > self._wave
        if self._clean >= self.limit:
            self.limit, self._clean = min(self.limit + 1, self.most), 0

    def refused(self, number: int, newest: int) -> bool:
        """Whether that call is the first of a wave, of which `newest` is the last."""
        if number <= self._wave:
            return False
        self._wave = newest
        self.waves += 1
        self.limit, self._clean = max(self.limit // 2, 1), 0
        return True


class Outage:
    """From so many failures in a row to the first sign of life. Meanwhile one call at a time is sent as a probe."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.probe: int | None = None
        """The number of the call that is under way."""
        self.probes = 0
        self._failures = 0

    @property
    def lasts(self) -> bool:
        return self.since is not None

    def seconds(self, now: float) -> float:
        return 0.0 if self.since is None else now - self.since

    def begins(self, now: float) -> bool:
        """Whether it does with this failure."""
        self._failures += 1
        if self.lasts or self._failures < FAILURES:
            return False
        self.since, self.probes = now, 1
        return True

    def goes_on(self, number: int) -> bool:
        """Whether a failure says so: that of a call from before says nothing new."""
        if number != self.probe:
            return False
        self.probes += 1
        return True

    def ends(self) -> bool:
        """Whether it does with this sign of life."""
        lasted, self._failures = self.lasts, 0
        self.since = self.probe = None
        return lasted
