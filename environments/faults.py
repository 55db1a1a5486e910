"""What can go wrong that is not the teacher's doing. Each exception owns its exit code.

    ErrataError                 a clear line for the user, exit code 1
    ├── UsageError              the user asked for something that cannot be, exit code 2
    ├── StoreFault              the log cannot be written: nothing more is bought, and the run ends
    └── InfrastructureFault     provider, network, kernel host: never counted against the teacher (E0)
        ├── KernelFault         our own kernel host failed (not: the teacher's code failed)
        ├── GraderFault         a grader could not say
        ├── ToolFault           a tool could not answer: a search back end, a game that ended by itself
        └── TeacherFault        the provider did not answer; says whether asking again can help

The teacher's own errors are data (`CellResult.error`, `Grade`), never exceptions.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

FaultKind: TypeAlias = Literal[
    "rate_limited", "server", "timeout", "connection", "bad_answer", "denied", "quota", "bad_request"
]

_GAVE_UP_WAITING = (408, 504, 524)


class ErrataError(Exception):
    """Says what happened, to which thing, and what to do. Shown as one line, without a traceback."""

    exit_code = 1


class UsageError(ErrataError):
    exit_code = 2


class StoreFault(ErrataError):
    """The store cannot be used. What was committed is kept; nothing more may be bought."""


class InfrastructureFault(ErrataError):
    """A fault of ours or the provider's: the trajectory is `failed` and retried, not `unsolved`."""


class KernelFault(InfrastructureFault):
    pass


class GraderFault(InfrastructureFault):
    pass


class ToolFault(InfrastructureFault):
    pass


class TeacherFault(InfrastructureFault):
    """The provider did not give a usable reply.

    `denied` and `quota` hold for every request of that teacher, `bad_request` for this one; the other
    kinds pass, and are asked again after `retry_after` seconds where the provider named them.
    `parameter` names an optional one that was refused, and that the teacher leaves out from now on.
    `body` is what came in place of a reply, where it may have been paid for. `for_all`: it holds for
    every request whatever its kind, as a wait that nobody will sit out. `unsent`: the request never left.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: FaultKind,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        parameter: str | None = None,
        body: str | None = None,
        for_all: bool = False,
        unsent: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.parameter = parameter
        self.body = body
        self.for_all = for_all
        self.unsent = unsent

    @property
    def passing(self) -> bool:
        return self.kind in ("rate_limited", "server", "timeout", "connection", "bad_answer")

    @property
    def lost(self) -> bool:
        """Whether a reply may have been paid for that never came.

        An answer that is an error is not billed, but for a proxy's word that it has waited long enough for one.
        """
        return not self.unsent and (self.status is None or self.status < 300 or self.status in _GAVE_UP_WAITING)

    @property
    def ends_teacher(self) -> bool:
        return self.for_all or self.kind in ("denied", "quota")

    def saying(self, message: str, *, for_all: bool = False) -> TeacherFault:
        """The same fault in other words: for whoever knows more about it, and for each of several that it holds for."""
        return TeacherFault(
            message,
            kind=self.kind,
            status=self.status,
            retry_after=self.retry_after,
            request_id=self.request_id,
            parameter=self.parameter,
            body=self.body,
            for_all=for_all or self.for_all,
            unsent=self.unsent,
        )
