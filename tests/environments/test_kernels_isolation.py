"""Running without isolation has to be said aloud."""

import pytest

from environments.faults import UsageError
from environments.kernels import KernelHost, choose_isolation


def test_none_is_taken_at_its_word() -> None:
    assert choose_isolation("none") == "none"
    assert KernelHost("none").isolation == "none"


@pytest.mark.parametrize("asked", [None, "auto"])
def test_nothing_said_is_refused_with_the_flag_that_would_say_it(asked: str | None) -> None:
    with pytest.raises(UsageError, match="--isolation none"):
        choose_isolation(asked)


@pytest.mark.parametrize("asked", ["namespaces", "user-namespaces", "landlock"])
def test_a_level_that_does_not_exist_yet_is_not_claimed(asked: str) -> None:
    with pytest.raises(UsageError, match="does not exist yet"):
        KernelHost(asked)


def test_an_unknown_level_is_named() -> None:
    with pytest.raises(UsageError, match="unknown isolation level 'strong'"):
        choose_isolation("strong")
