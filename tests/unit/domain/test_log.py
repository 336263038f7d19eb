"""Positions are written shard.number and in no other way; an actor belongs to one shard."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.shared.log import Position, Shard, parse_position, shard_of

shards = st.integers(0, 9_999).map(Shard)
positions = st.builds(Position, shards, st.integers(0, 10**18 - 1))


@given(positions)
def test_a_position_is_read_as_it_was_written(position: Position) -> None:
    assert parse_position(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "3", "3.", ".3", "3.1.2", "-1.5", "3.-1", "+3.1", " 3.1", "3.1 ", "3.1\n", "3,1", "03.1",
        "3.01", "3.1e4", "0x3.1", "10000.1", "3.1000000000000000000", "٣.١", "3.1,4.2", "3._1", "NaN.1", "3.1\0",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="A position is written"):
        parse_position(text)


@given(st.text(max_size=30))
def test_what_is_accepted_is_written_in_one_way(text: str) -> None:
    try:
        position = parse_position(text)
    except ValueError:
        return
    assert str(position) == text


def test_a_long_text_is_not_repeated_whole() -> None:
    with pytest.raises(ValueError) as refused:
        parse_position("9" * 10_000)
    assert len(str(refused.value)) < 200


@given(st.lists(positions))
def test_positions_sort_by_shard_then_number(several: list[Position]) -> None:
    assert sorted(several) == sorted(several, key=lambda each: (each.shard, each.number))


@given(st.uuids(), st.integers(1, 256))
def test_an_actor_has_one_shard_of_people(actor: UUID, shards: int) -> None:
    assert 1 <= shard_of(actor, shards) <= shards
    assert shard_of(actor, shards) == shard_of(UUID(str(actor)), shards)
