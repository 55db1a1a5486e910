"""Where a provider is reached and with which key: what both SDKs are set up with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from collectors.teachers.teacher import Sampling, TeacherSpec
from environments.faults import UsageError

# The run bounds concurrency; a second queue inside the pool would only hide waiting as time-outs.
LIMITS = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30.0)

_OURS = {"messages", "model", "stream", "n", "max_tokens", "max_completion_tokens"}


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider is, and under which names its settings stand in the environment."""

    name: str
    official_url: str
    url_variable: str
    key_variable: str

    def url(self, spec: TeacherSpec) -> str:
        """The address asked: the name's, else the environment's, else the provider's own."""
        url = spec.base_url if spec.base_url is not None else os.environ.get(self.url_variable) or self.official_url
        if not _is_http(url):
            raise UsageError(f"{spec.name}: '{url}' is no base URL; write it whole, as in http://127.0.0.1:8000/v1.")
        if "@" in urlsplit(url).netloc:
            raise UsageError(f"{self.name}: keep the key out of the base URL; set {self.key_variable} instead.")
        return url.rstrip("/")

    def is_official(self, url: str) -> bool:
        return urlsplit(url).hostname == urlsplit(self.official_url).hostname

    def key(self, spec: TeacherSpec, url: str) -> str:
        """Another server often wants no key, and the SDKs want one: it gets a placeholder."""
        key = os.environ.get(self.key_variable)
        if key or not self.is_official(url):
            return key or "none"
        raise UsageError(f"{spec.name}: set {self.key_variable} to your API key.")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that does not close, a port that is no number
        return False


def timeout(sampling: Sampling) -> httpx2.Timeout:
    return httpx2.Timeout(sampling.timeout, connect=min(10.0, sampling.timeout), pool=None)


def check_options(spec: TeacherSpec, sampling: Sampling) -> None:
    for option in sorted(_OURS & sampling.options.keys()):
        hint = "use --max-tokens" if "tokens" in option else "it is set for you"
        raise UsageError(f"{spec.name}: '{option}' cannot be a teacher option; {hint}.")
