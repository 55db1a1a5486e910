"""Where a provider is reached and with which key: what both SDKs are set up with.

A key goes to the provider it belongs to, or where its owner's environment sends it; never to a server
that a teacher's name brings in: a run may mix OpenAI's own models with a rented machine's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from collectors.teachers.teacher import Sampling, TeacherSpec
from environments.faults import UsageError

NO_KEY = "none"
"""Another server often wants no key, and the SDKs want one."""

_OURS = {"messages", "model", "stream", "n", "max_tokens", "max_completion_tokens"}
_TELLING = 8
"""Characters by which a key is known again where it is quoted in part; shorter keys protect nothing."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one teacher is asked, and with which key."""

    teacher: str
    url: str
    is_official: bool
    key_variable: str
    key: str = field(repr=False)

    def without_key(self, text: str) -> str:
        """`text` as a server sent it, which may quote the key, or its beginning, back."""
        if len(self.key) < _TELLING:
            return text
        text = text.replace(self.key, "***")
        return re.sub(re.escape(self.key[:_TELLING]) + r"[\w*-]*", "***", text)


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider is, and under which names its settings stand in the environment."""

    name: str
    official_url: str
    prefix: str
    """Of the variables: `OPENAI` for `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `OPENAI_COMPATIBLE_API_KEY`."""

    def endpoint(self, spec: TeacherSpec) -> Endpoint:
        """The address is the name's, else the environment's, else the provider's own."""
        url = spec.base_url
        if url is None:
            url = os.environ.get(f"{self.prefix}_BASE_URL") or self.official_url
        official = _origin(url) == _origin(self.official_url)
        own = official or spec.base_url is None
        variable = f"{self.prefix}_API_KEY" if own else f"{self.prefix}_COMPATIBLE_API_KEY"
        self._check_url(url, variable)
        key = _key(spec, variable)
        if official and not key:
            raise UsageError(f"{spec.name}: set {variable} to your API key.")
        return Endpoint(spec.name, url.rstrip("/"), official, variable, key or NO_KEY)

    def _check_url(self, url: str, variable: str) -> None:
        if "@" in url:
            raise UsageError(f"{self.name}: keep the key out of the base URL; set {variable} instead.")
        if _origin(url) is None:
            raise UsageError(f"{self.name}: '{url}' is no base URL; write it whole, as in http://127.0.0.1:8000/v1.")


def _key(spec: TeacherSpec, variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if re.fullmatch(r"[!-~]*", key):
        return key
    raise UsageError(f"{spec.name}: {variable} holds a character that no key has; set it again.")


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None where the URL names none."""
    try:
        parts = urlsplit(url)
        port = {"http": 80, "https": 443}[parts.scheme] if parts.port is None else parts.port
    except (ValueError, KeyError):  # a bracket that does not close, a port that is no number, another scheme
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname and port else None


def timeout(sampling: Sampling) -> httpx2.Timeout:
    # Less than the whole, so that a request which was never sent is not taken for one that may have been answered.
    return httpx2.Timeout(sampling.timeout, connect=min(10.0, sampling.timeout / 2), pool=None)


def check_options(spec: TeacherSpec, sampling: Sampling) -> None:
    for option in sorted(_OURS & sampling.options.keys()):
        hint = "use --max-tokens" if "tokens" in option else "it is set for you"
        raise UsageError(f"{spec.name}: '{option}' cannot be a teacher option; {hint}.")
