"""Ids of votes: time-ordered, and never behind the one they must follow."""

from __future__ import annotations

import time
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.ids import AHEAD_MILLISECONDS_MAX, is_acceptable, milliseconds_of, mint, mint_after

_VERSION_7, _VARIANT = 7 << 76, 2 << 62
_RANDOM = (1 << 62) - 1 | ((1 << 12) - 1) << 64
_HOUR_MS = 3_600_000


def uuid7_at(milliseconds: int, random: int = 0) -> UUID:
    return UUID(int=milliseconds << 80 | _VERSION_7 | _VARIANT | (random & _RANDOM))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


ids = st.builds(uuid7_at, st.integers(0, 2**48 - 2), st.integers(0, 2**76 - 1))


def test_minted_ids_are_uuid7_and_ascend() -> None:
    minted = [mint() for _ in range(1_000)]
    assert {each.version for each in minted} == {7}
    assert minted == sorted(set(minted))


@given(ids)
def test_an_id_minted_after_another_is_greater(newest: UUID) -> None:
    after = mint_after(newest)
    assert after > newest
    assert after.bytes > newest.bytes
    assert after.version == 7


def test_after_an_id_of_the_past_comes_one_of_now() -> None:
    before = now_ms()
    assert milliseconds_of(mint_after(uuid7_at(1))) >= before


def test_after_an_id_of_the_future_comes_the_next_millisecond() -> None:
    future = uuid7_at(now_ms() + _HOUR_MS, random=_RANDOM)
    assert milliseconds_of(mint_after(future)) == milliseconds_of(future) + 1


@given(st.integers(0, 2**48 - 1))
def test_an_id_says_its_milliseconds(milliseconds: int) -> None:
    assert milliseconds_of(uuid7_at(milliseconds, random=_RANDOM)) == milliseconds


def test_a_minute_ahead_is_accepted() -> None:
    assert is_acceptable(uuid7_at(now_ms() + AHEAD_MILLISECONDS_MAX, random=_RANDOM))


def test_more_than_a_minute_ahead_is_not() -> None:
    assert not is_acceptable(uuid7_at(now_ms() + AHEAD_MILLISECONDS_MAX + _HOUR_MS))
    assert not is_acceptable(uuid7_at(2**48 - 1))


def test_any_time_in_the_past_is_accepted() -> None:
    assert is_acceptable(uuid7_at(0))


@pytest.mark.parametrize(
    "id",
    [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",  # version 1
        "9b2d1d6c-5f0c-4c58-8f6f-0a5b8e0f8a11",  # version 4
        "018f3c5e-0000-7000-c000-000000000000",  # version 7 of another variant
    ],
)
def test_other_uuids_are_not_accepted(id: str) -> None:
    assert not is_acceptable(UUID(id))
