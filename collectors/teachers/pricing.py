"""Tokens in one meaning for every provider, and what they cost.

Prices come from genai-prices, offline. A price that is not known is None, never 0: a budget must
not be told that an unknown model is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from environments.types import Json, Usage

_MILLION = 1_000_000
_MOST_TOKENS = 2**53
_MOST_DOLLARS = 100_000  # what seems dearer was miscounted

_TIERS = ("flex", "priority", "fast")
"""What a provider that is asked for its tier `auto` may pick, beside the standard one."""

_INPUT: tuple[tuple[str, ...], ...] = ((), ("cache_read_tokens",), ("cache_write_tokens",))
_INPUT_HOUR = (*_INPUT, ("cache_write_tokens", "cache_write_1h_tokens"))
"""As which the price list may count input, in its words; the last where a cache is to be kept for an hour."""

Context: TypeAlias = tuple[tuple[str, str], ...]
"""What makes the same model dearer or cheaper, as the price list names it."""

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


def listed_most(
    provider: str, model: str, tokens: tuple[int, int], options: Mapping[str, Json], *, hour: bool = False
) -> Decimal | None:
    """The most that a call of at most so many tokens (input, output) can cost, by the price list.

    `options`: the request's own, of which a tier and a speed make a difference. `hour`: whether the provider
    is asked to keep what it caches for so long.
    """
    rates = _rates(
        provider, model, tuple(_contexts(options)), _INPUT_HOUR if hour else _INPUT, datetime.now(UTC).date()
    )
    costs = [tokens[0] * rate.input + tokens[1] * rate.output for rate in rates if rate.above <= tokens[0]]
    return max(costs, default=None)


def given_most(tokens: tuple[int, int], price: tuple[Decimal, Decimal]) -> Decimal:
    return (tokens[0] * price[0] + tokens[1] * price[1]) / _MILLION


def saving(provider: str, model: str, read: int, written: int) -> Decimal | None:
    """Dollars saved by so many tokens read from a cache, less what the written ones cost more: it may be negative.

    By the price of short requests and of a cache of five minutes; None where it is unknown.
    """
    plain, from_cache, to_cache = (_rate(provider, model, (), kind, 1) for kind in _INPUT)
    if plain is None or from_cache is None or to_cache is None or not plain.input:
        return None
    return read * (plain.input - from_cache.input) + written * (plain.input - to_cache.input)


# -- rates ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rate:
    """Dollars a token, of requests with more input tokens than `above`."""

    above: int
    input: Decimal
    output: Decimal


@lru_cache(maxsize=256)
def _rates(
    provider: str, model: str, contexts: tuple[Context, ...], kinds: tuple[tuple[str, ...], ...], day: date
) -> tuple[_Rate, ...]:
    """The dearest of a day and the next, for each length at which a price changes; none for an unknown price."""
    lengths = {0} | {start for context in contexts for start in _steps(provider, model, context)}
    found: list[_Rate] = []
    for above in sorted(lengths):
        rates = [
            rate
            for context in contexts
            for kind in kinds
            for moment in (day, day + timedelta(days=1))
            if (rate := _rate(provider, model, context, kind, above + 1, moment))
        ]
        if rates:
            found.append(_Rate(above, max(rate.input for rate in rates), max(rate.output for rate in rates)))
    return tuple(found) if any(rate.input or rate.output for rate in found) else ()


def _rate(
    provider: str, model: str, context: Context, kind: tuple[str, ...], length: int, day: date | None = None
) -> _Rate | None:
    """Of requests that long, all of whose input is of a kind; None where the list has no price."""
    from genai_prices import Usage as Counts
    from genai_prices import calc_price

    def price(output: int) -> Decimal:
        counts = Counts(input_tokens=length, output_tokens=output, **dict.fromkeys(kind, length))
        at = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None
        return calc_price(
            counts, model, provider_id=provider, price_context=dict(context), genai_request_timestamp=at
        ).total_price

    try:
        silent = price(0)
        return _Rate(length - 1, silent / length, (price(_MILLION) - silent) / _MILLION)
    except (LookupError, ValueError):
        return None


def _steps(provider: str, model: str, context: Context) -> Iterator[int]:
    from genai_prices import Usage as Counts
    from genai_prices import calc_price
    from genai_prices.types import TieredPrices

    try:
        listed = calc_price(Counts(), model, provider_id=provider, price_context=dict(context)).model_price
    except (LookupError, ValueError):
        return
    for price in vars(listed).values():
        if isinstance(price, TieredPrices):
            yield from (tier.start for tier in price.tiers)


def _contexts(options: Mapping[str, Json]) -> Iterator[Context]:
    """Those in which a request with these options may be served: a provider may fall back to its standard tier."""
    told = tuple((key, value) for key in ("service_tier", "speed") if isinstance(value := options.get(key), str))
    yield ()
    yield told
    if ("service_tier", "auto") in told:
        yield from ((("service_tier", tier),) for tier in _TIERS)


def _context(raw: Mapping[str, Json]) -> dict[str, str]:
    """What makes the same model dearer or cheaper: the tier and the speed that served the request."""
    usage = raw.get("usage")
    told = {**raw, **(usage if isinstance(usage, Mapping) else {})}
    return {key: value for key in ("service_tier", "speed") if isinstance(value := told.get(key), str)}


def _count(value: Json) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS:
        return value
    raise LookupError
