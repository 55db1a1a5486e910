"""A weak teacher and a strong one on one task: the weak one acts until its first error, the strong one from there.

Strong teachers err too seldom to teach correction. Each turn keeps the teacher that took it.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectors.teachers.teacher import Teacher
from environments.errors import errors_of
from environments.faults import UsageError
from environments.types import Most, Reply, Request

MARK = ">"
"""Between the two names, in the name of the pair."""


class Handover:
    """Two teachers, as one."""

    def __init__(self, weak: Teacher, strong: Teacher) -> None:
        self.weak, self.strong = weak, strong
        self.name = f"{weak.name}{MARK}{strong.name}"

    def at(self, request: Request) -> Teacher:
        """Who answers it."""
        return self.strong if errors_of(request.turns) else self.weak

    async def reply(self, request: Request) -> Reply:
        return await self.at(request).reply(request)

    def most(self, request: Request) -> Most | None:
        return self.at(request).most(request)

    async def aclose(self) -> None:
        await self.weak.aclose()
        await self.strong.aclose()


def names_of(name: str) -> tuple[str, ...]:
    """The teachers that a name speaks of: one, or the two of a pair."""
    names = tuple(name.split(MARK))
    if len(names) > 2 or not all(names):
        raise UsageError(f"'{name}' is no pair of teachers; write WEAK{MARK}STRONG.")
    if len(set(names)) < len(names):
        raise UsageError(f"'{name}' hands over to itself.")
    return names


def who_answers(teacher: Teacher, request: Request) -> Teacher:
    return teacher.at(request) if isinstance(teacher, Handover) else teacher


def members(teacher: Teacher) -> Iterator[Teacher]:
    yield from (teacher.weak, teacher.strong) if isinstance(teacher, Handover) else (teacher,)
