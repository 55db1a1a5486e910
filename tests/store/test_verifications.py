"""Verifications in a real store: one a trajectory, and only while it is of the trajectory as it is."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from environments.faults import UsageError
from environments.types import Difference, Grade, Outcome, Trajectory, Verification
from store.load import load_trajectory
from store.schema import VerificationRow
from store.store import Store, open_store
from store.verifications import Standing, record_verification, standings
from tests.factory import make_trajectory, make_turn, put, solve

BROKEN = Verification((Difference(0, "observation", "was \ud800", "is\x00"), Difference(0, "grade", "right", "wrong")))


@pytest.fixture
async def store(address: str) -> AsyncIterator[Store]:
    async with open_store(address, create=True) as opened:
        yield opened


def sample(number: int, run: str = "r") -> Trajectory:
    return replace(make_trajectory([make_turn(0, solve("2"), grade=Grade(True, 1.0))], number=number), run=run)


async def record(store: Store, trajectory_id: int, verification: Verification) -> None:
    await record_verification(store, trajectory_id, verification, isolation="none", provenance={"errata": "1"})


async def test_a_later_verification_takes_the_place_of_an_earlier(store: Store) -> None:
    one, other = [(await put(store, sample(number))).id for number in (1, 2)]
    await record(store, one, BROKEN)
    assert await standings(store) == [Standing(one, "math/1", True, BROKEN), Standing(other, "math/2", True, None)]
    assert (await load_trajectory(store, one)).verified is False
    await record(store, one, Verification())
    assert (await load_trajectory(store, one)).verified is True
    assert (await load_trajectory(store, other)).verified is None
    assert len(await store.read(select(VerificationRow.trajectory_id))) == 1


async def test_one_that_ended_again_is_verified_no_more(store: Store) -> None:
    failed = await put(store, replace(sample(1), turns=()), Outcome("failed", "no network"))
    assert await standings(store) == []
    await record(store, failed.id, Verification())
    assert (await put(store, sample(1))).id == failed.id
    assert (await load_trajectory(store, failed.id)).verified is None
    assert await standings(store) == [Standing(failed.id, "math/1", True, None)]


async def test_what_is_asked_for_by_its_number_is_told_whether_it_has_ended_or_not(store: Store) -> None:
    one, other = await put(store, sample(1)), await put(store, sample(2, "other"))
    failed = await put(store, replace(sample(3), turns=()), Outcome("failed"))
    assert [standing.trajectory_id for standing in await standings(store, run="other")] == [other.id]
    asked = await standings(store, ids=[failed.id, one.id, 999])
    assert [(standing.trajectory_id, standing.ended) for standing in asked] == [(one.id, True), (failed.id, False)]
    with pytest.raises(UsageError, match="no run 'another'"):
        await standings(store, run="another")
