"""Limits of voters and ids: a voter has 1 to 128 bytes and no NUL; an id is at most a minute ahead of its arrival."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain.voting.identifiers import AHEAD_MILLISECONDS_MAX, VOTER_BYTES_MAX, valid_id, valid_voter

_V7 = 7 << 76 | 0b10 << 62
NOW = 1_772_366_400_000


@pytest.mark.parametrize("voter", ["x", "x" * VOTER_BYTES_MAX, "é" * 64, " "])
def test_a_voter_of_1_to_128_bytes_is_valid(voter: str) -> None:
    assert valid_voter(voter.encode())


@pytest.mark.parametrize("voter", ["", "x" * (VOTER_BYTES_MAX + 1), "é" * 65, "a\0b"])
def test_a_voter_that_is_empty_too_long_or_has_nul_is_invalid(voter: str) -> None:
    assert not valid_voter(voter.encode())


def test_an_id_may_be_a_minute_ahead_of_its_arrival_to_the_millisecond() -> None:
    latest = NOW + AHEAD_MILLISECONDS_MAX
    assert valid_id(NOW)(UUID(int=latest << 80 | _V7))
    assert not valid_id(NOW)(UUID(int=(latest + 1) << 80 | _V7))
