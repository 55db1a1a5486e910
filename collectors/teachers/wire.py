"""What a provider's HTTP answer means: a reply's JSON, or which fault.

Both SDKs stand on httpx2 and hand out its responses, so a fault is read from status, headers and
body, once for all, and never from an SDK's exception classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

import httpx2

from collectors.teachers.endpoint import Endpoint
from environments.faults import FaultKind, TeacherFault
from environments.types import Json, clean

EMPTY = "(empty)"
"""Stands for a message without text, which providers refuse. The conversation we keep is not changed."""

_QUOTA = re.compile(r"insufficient_quota|billing|spend_limit|credit_balance|payment_required")
_UNSUPPORTED = re.compile(
    r"unsupported|not supported|does not support|unrecogni[sz]ed|unknown|not permitted|unexpected"
)
_UNSENT = (httpx2.ConnectError, httpx2.ProxyError, httpx2.UnsupportedProtocol)
"""The connection was never there: no name, no route, no TLS."""

_LONGEST_QUOTE = 500
_LONGEST_BODY = 1_000_000


# -- JSON --------------------------------------------------------------------------------


def mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def string(value: Json) -> str:
    return value if isinstance(value, str) else ""


def encoded(body: Mapping[str, Json]) -> bytes:
    """In ASCII: blocks that are echoed may hold what UTF-8 cannot (a lone surrogate), and go back as they came."""
    return json.dumps(body).encode("ascii")


def json_answer(at: Endpoint, response: httpx2.Response) -> Mapping[str, Json]:
    """The whole body of a 200, as received. Raises `bad_answer` for what is not an answer."""
    try:
        body: Json = response.json()
    except ValueError:
        body = None
    if not isinstance(body, Mapping) or body.get("error"):
        raise bad_answer(at, response)
    return body


def bad_answer(at: Endpoint, response: httpx2.Response) -> TeacherFault:
    """It may have been paid for, so its body is kept."""
    said = _said(at, response)
    return TeacherFault(
        f"{at.teacher}: HTTP {response.status_code}, but no reply in it: {said.message}",
        kind="bad_answer",
        status=response.status_code,
        retry_after=retry_after(response.headers),
        request_id=_request_id(response.headers),
        body=_bounded(clean(at.without_key(response.text))),
    )


# -- faults --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """What an error's body says."""

    message: str
    codes: str = ""
    """The provider's machine-readable words for it."""
    parameter: str = ""


def sdk_fault(at: Endpoint, error: Exception, timeout: float, optional: Collection[str] = ()) -> TeacherFault:
    """What an SDK's exception stands for: an answer with a bad status, or none.

    `optional`: the parameters sent that the request can do without; the fault names one that was refused.
    """
    response, cause = getattr(error, "response", None), error.__cause__ or error  # the SDKs wrap httpx2's
    if isinstance(response, httpx2.Response):
        return _status_fault(at, response, optional)
    if isinstance(error, TimeoutError) or isinstance(cause, httpx2.TimeoutException):
        unsent = isinstance(cause, httpx2.ConnectTimeout)
        message = "no connection in time." if unsent else f"no answer within {timeout:g} s."
        return TeacherFault(f"{at.teacher}: {message}", kind="timeout", unsent=unsent)
    said = _sentence(at.without_key(f"{type(cause).__name__} {cause}"))
    return TeacherFault(f"{at.teacher}: no answer: {said}", kind="connection", unsent=isinstance(cause, _UNSENT))


def _status_fault(at: Endpoint, response: httpx2.Response, optional: Collection[str]) -> TeacherFault:
    said = _said(at, response)
    kind = _kind(response.status_code, said)
    return TeacherFault(
        f"{at.teacher}: HTTP {response.status_code}: {said.message}{_advice(kind, at.key_variable)}",
        kind=kind,
        status=response.status_code,
        retry_after=retry_after(response.headers),
        request_id=_request_id(response.headers),
        parameter=_refused(said, optional) if kind == "bad_request" else None,
    )


def retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds to wait: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date (read against `date`)."""
    milliseconds, value = number(headers.get("retry-after-ms")), headers.get("retry-after")
    if milliseconds is not None:
        return milliseconds / 1000
    seconds = number(value)
    return _until(value, headers.get("date")) if seconds is None else seconds


def number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return max(value, 0.0) if isfinite(value) else None


def _until(moment: str | None, now: str | None) -> float | None:
    then = date(moment)
    return None if then is None else max((then - (date(now) or datetime.now(UTC))).total_seconds(), 0.0)


def date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _request_id(headers: httpx2.Headers) -> str | None:
    return headers.get("x-request-id") or headers.get("request-id")


def _kind(status: int, said: _Said) -> FaultKind:
    # By code, not by prose: some providers speak of "quota" in the message of an ordinary rate limit.
    if status == 402 or (status in (400, 403, 429) and _QUOTA.search(said.codes)):
        return "quota"
    if status == 400 and "credit balance is too low" in said.message:
        return "quota"
    named: dict[int, FaultKind] = {401: "denied", 403: "denied", 408: "timeout", 409: "server", 429: "rate_limited"}
    return named.get(status) or ("server" if status >= 500 else "bad_request")


def _advice(kind: FaultKind, key_variable: str) -> str:
    if kind == "denied":
        return f" Check {key_variable} and what it may use."
    return " Add credit or raise the spending limit, then run again." if kind == "quota" else ""


def _refused(said: _Said, optional: Collection[str]) -> str | None:
    text = f"{said.codes} {said.message}".lower()
    if not _UNSUPPORTED.search(text.replace("_", " ")):
        return None
    return next((name for name in optional if said.parameter == name or re.search(rf"\b{name}\b", text)), None)


def _said(at: Endpoint, response: httpx2.Response) -> _Said:
    """Reads the forms in use: `{"error": {…}}`, `{"error": "…"}`, `{"message": …}`, `{"detail": …}`, text."""
    try:
        body = mapping(response.json())
    except ValueError:
        body = {}
    error = mapping(body.get("error")) or body
    words = (error.get("code"), error.get("type"), mapping(error.get("details")).get("error_code"))
    message = string(error.get("message")) or string(body.get("error")) or response.text or "an empty body"
    return _Said(
        message=_sentence(at.without_key(message)),
        codes=" ".join(string(word) for word in words).lower(),
        parameter=string(error.get("param")),
    )


def _sentence(text: str) -> str:
    quote = clean(" ".join(text.split()))
    quote = quote if len(quote) <= _LONGEST_QUOTE else quote[:_LONGEST_QUOTE] + "…"
    return quote if quote.endswith((".", "…", "!", "?")) else quote + "."


def _bounded(body: str) -> str:
    return body.encode()[:_LONGEST_BODY].decode(errors="ignore")
