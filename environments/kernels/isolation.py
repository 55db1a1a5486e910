"""How far a teacher's code is kept from the machine it runs on.

A level is a claim that stands in every trajectory, so none is chosen silently: while no isolating
level exists, running without one has to be asked for by name.
"""

from environments.faults import UsageError

LEVELS = ("namespaces", "user-namespaces", "landlock", "none")
"""Strongest first. The names are reserved; `AVAILABLE` says which of them exist."""

AVAILABLE = ("none",)


def choose_isolation(asked: str | None) -> str:
    """The level in force: the one named, or for None or `auto` the strongest there is. Raises `UsageError`."""
    if asked in AVAILABLE:
        return asked
    if asked in (None, "auto"):
        raise UsageError(
            "a teacher's code would run without isolation: it could read your files and use your network. "
            "Say --isolation none to accept that."
        )
    if asked in LEVELS:
        raise UsageError(f"isolation level '{asked}' does not exist yet. There is: {', '.join(AVAILABLE)}.")
    raise UsageError(f"unknown isolation level '{asked}'. There is: {', '.join(AVAILABLE)}.")
