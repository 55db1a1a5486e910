"""How numbers read in tables and progress."""

from __future__ import annotations

from decimal import Decimal


def dollars(cost: Decimal, unpriced: int = 0) -> str:
    """`$0.0123`; what is unknown is said, never shown as 0."""
    if unpriced and not cost:
        return "price unknown"
    shown = f"${cost:,.2f}" if cost >= 1 or not cost else f"${cost:.4f}"
    return f"{shown} + {unpriced:,} unpriced" if unpriced else shown


def share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.0%})" if whole else "0"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def classes(errors: dict[str, int]) -> str:
    """`E1 12 · E4 3`."""
    return " · ".join(f"{kind} {count:,}" for kind, count in sorted(errors.items()) if count) or "–"
