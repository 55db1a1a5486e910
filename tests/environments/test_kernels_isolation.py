"""How a level is chosen: tried out first, and none of them only when it is said aloud."""

import itertools

import pytest

from environments.faults import UsageError
from environments.kernels import KernelHost, choose_isolation
from environments.kernels.isolation import CLAIMS, LEVELS, Examined, examine


def refused(level: str) -> Examined:
    return Examined(level, "is not to be had today")


def test_none_is_taken_at_its_word() -> None:
    assert choose_isolation("none") == "none"
    assert KernelHost("none").isolation == "none"


@pytest.mark.parametrize("asked", [None, "auto"])
def test_nothing_said_takes_the_strongest_level_that_stands_its_test(asked: str | None) -> None:
    works = [level for level in LEVELS[:-1] if examine(level).trouble is None]
    if not works:
        pytest.skip("no level of isolation works on this machine")
    assert choose_isolation(asked) == works[0]


@pytest.mark.parametrize("asked", [None, "auto"])
def test_where_no_level_works_running_without_has_to_be_said(
    asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("environments.kernels.isolation.examine", refused)
    with pytest.raises(UsageError, match=r"landlock is not to be had today.*--isolation none"):
        choose_isolation(asked)


@pytest.mark.parametrize("asked", LEVELS[:-1])
def test_a_level_that_does_not_work_here_is_not_claimed(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("environments.kernels.isolation.examine", refused)
    with pytest.raises(UsageError, match=f"{asked} is not to be had today"):
        KernelHost(asked)


def test_an_unknown_level_is_named() -> None:
    with pytest.raises(UsageError, match="unknown isolation level 'strong'"):
        choose_isolation("strong")


def test_isolated_kernels_are_never_started_by_an_interpreter_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("environments.kernels.isolation.examine", lambda level: Examined(level, None))
    with pytest.raises(UsageError, match="fork=False"):
        KernelHost("landlock", fork=False)


def test_a_stronger_level_claims_what_a_weaker_one_claims() -> None:
    for stronger, weaker in itertools.pairwise(LEVELS):
        assert CLAIMS[weaker] < CLAIMS[stronger]
