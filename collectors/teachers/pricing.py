"""Tokens in one meaning for every provider, and what they cost.

Prices come from genai-prices, offline. A price that is not known is None, never 0: a budget must
not be told that an unknown model is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from environments.types import Json, Usage

_MILLION = 1_000_000


def openai_usage(usage: Mapping[str, Json]) -> Usage:
    """From a chat completion's `usage`, whose `prompt_tokens` holds the cached ones."""
    details = usage.get("prompt_tokens_details")
    cached = details if isinstance(details, Mapping) else {}
    return Usage(
        input=_count(usage, "prompt_tokens"),
        output=_count(usage, "completion_tokens"),
        cache_read=_count(cached, "cached_tokens"),
        cache_write=_count(cached, "cache_write_tokens"),
    )


def anthropic_usage(usage: Mapping[str, Json]) -> Usage:
    """From a message's `usage`, whose `input_tokens` leaves the cached ones out."""
    read, write = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    return Usage(
        input=_count(usage, "input_tokens") + read + write,
        output=_count(usage, "output_tokens"),
        cache_read=read,
        cache_write=write,
    )


def given_cost(usage: Usage, price: tuple[Decimal, Decimal]) -> Decimal | None:
    """By a price the user has given; cached tokens count as input. None for an answer that told no usage."""
    if usage == Usage():
        return None
    return (usage.input * price[0] + usage.output * price[1]) / _MILLION


def listed_cost(provider: str, flavor: str, raw: Mapping[str, Json], asked: str) -> Decimal | None:
    """By the price list, for the model that answered or else the one `asked`; `flavor` is its word for the API."""
    from genai_prices import extract_usage

    for model in dict.fromkeys((raw.get("model"), asked)):
        try:
            found = extract_usage({**raw, "model": model}, provider_id=provider, api_flavor=flavor)
            return found.calc_price(price_context=_context(raw)).total_price
        except LookupError:  # an unknown model
            continue
        except ValueError:  # no usage, or one that makes no sense
            return None
    return None


def _context(raw: Mapping[str, Json]) -> dict[str, str]:
    """What makes the same model dearer or cheaper: the tier and the speed that served the request."""
    usage = raw.get("usage")
    told = {**raw, **(usage if isinstance(usage, Mapping) else {})}
    return {key: value for key in ("service_tier", "speed") if isinstance(value := told.get(key), str)}


def _count(counts: Mapping[str, Json], key: str) -> int:
    value = counts.get(key)
    return max(value, 0) if isinstance(value, int) else 0
