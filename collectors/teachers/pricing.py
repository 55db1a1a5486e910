"""Tokens in one meaning for every provider, and what they cost.

Prices come from genai-prices, offline. A price that is not known is None, never 0: a budget must
not be told that an unknown model is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from environments.types import Json, Usage

_MILLION = 1_000_000
_MOST_TOKENS = 2**53
_MOST_DOLLARS = 100_000  # what seems dearer was miscounted

UNKNOWN = Usage()
"""No reply uses nothing, so all zeros say that the provider told no usage, or one that makes no sense."""


def openai_usage(usage: Mapping[str, Json]) -> Usage:
    """From a chat completion's `usage`, whose `prompt_tokens` holds the cached ones."""
    details = usage.get("prompt_tokens_details")
    cached = details if isinstance(details, Mapping) else {}
    try:
        return Usage(
            input=_count(usage["prompt_tokens"]),
            output=_count(usage["completion_tokens"]),
            cache_read=_count(cached.get("cached_tokens") or 0),
            cache_write=_count(cached.get("cache_write_tokens") or 0),
        )
    except LookupError:
        return UNKNOWN


def anthropic_usage(usage: Mapping[str, Json]) -> Usage:
    """From a message's `usage`, whose `input_tokens` leaves the cached ones out."""
    try:
        read = _count(usage.get("cache_read_input_tokens") or 0)
        write = _count(usage.get("cache_creation_input_tokens") or 0)
        return Usage(_count(usage["input_tokens"]) + read + write, _count(usage["output_tokens"]), read, write)
    except LookupError:
        return UNKNOWN


def given_cost(usage: Usage, price: tuple[Decimal, Decimal]) -> Decimal | None:
    """By a price the user has given; cached tokens count as input. None for a usage that is unknown."""
    if usage == UNKNOWN:
        return None
    return (usage.input * price[0] + usage.output * price[1]) / _MILLION


def listed_cost(provider: str, flavor: str, raw: Mapping[str, Json], asked: str) -> Decimal | None:
    """By the price list, for the model that answered or else the one `asked`; `flavor` is its word for the API."""
    from genai_prices import extract_usage

    for model in dict.fromkeys((raw.get("model"), asked)):
        try:
            found = extract_usage({**raw, "model": model}, provider_id=provider, api_flavor=flavor)
            total = found.calc_price(price_context=_context(raw)).total_price
        except LookupError:  # an unknown model
            continue
        except ValueError:  # no usage, or one that makes no sense
            return None
        return total if total <= _MOST_DOLLARS else None
    return None


def _context(raw: Mapping[str, Json]) -> dict[str, str]:
    """What makes the same model dearer or cheaper: the tier and the speed that served the request."""
    usage = raw.get("usage")
    told = {**raw, **(usage if isinstance(usage, Mapping) else {})}
    return {key: value for key in ("service_tier", "speed") if isinstance(value := told.get(key), str)}


def _count(value: Json) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
        return value
    raise LookupError
