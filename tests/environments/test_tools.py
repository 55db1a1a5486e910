"""How a teacher is told of the functions it can call."""

from environments.tools import described, is_method, stubs


async def look_up(word: str, most: int = 3) -> list[str]:
    """Look a word up.

    Gives at most so many lines.
    """
    return [word] * most


class Place:
    """Stands for an episode."""

    def step(self, where: str) -> str:
        """Go there."""
        return where


def test_functions_are_described_as_they_would_stand_in_a_module() -> None:
    assert described([look_up, Place.step]) == (
        "def look_up(word: str, most: int = 3) -> list[str]:\n"
        '    """Look a word up.\n\n    Gives at most so many lines."""\n\n'
        'def step(where: str) -> str:\n    """Go there."""'
    )


def test_a_stub_looks_the_same_and_gives_its_arguments_back() -> None:
    made: dict[str, object] = {}
    for source in stubs([look_up, Place.step]).values():
        exec(source, made)
    assert made["look_up"]("a") == {"word": "a", "most": 3}  # type: ignore[operator]
    assert made["step"](where="b") == {"where": "b"}  # type: ignore[operator]
    assert made["look_up"].__doc__.startswith("Look a word up.")  # type: ignore[union-attr]


def test_methods_are_told_from_functions() -> None:
    assert is_method(Place.step)
    assert not is_method(look_up)
    assert not is_method(Place().step)
