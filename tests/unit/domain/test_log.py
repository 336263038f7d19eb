"""Positions have one form, shard.number; an actor belongs to one shard."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.shared.log import Position, Shard, parse_position, shard_of

shards = st.integers(0, 9_999).map(Shard)
positions = st.builds(Position, shards, st.integers(0, 10**18 - 1))


@given(positions)
def test_a_position_survives_formatting_and_parsing(position: Position) -> None:
    assert parse_position(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "3", "3.", ".3", "3.1.2", "-1.5", "3.-1", "+3.1", " 3.1", "3.1 ", "3.1\n", "3,1", "03.1",
        "3.01", "3.1e4", "0x3.1", "10000.1", "3.1000000000000000000", "٣.١", "3.1,4.2", "3._1", "NaN.1", "3.1\0",
    ],
)  # fmt: skip
def test_any_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="A position is written"):
        parse_position(text)


@given(st.text(max_size=30))
def test_accepted_text_is_the_canonical_form(text: str) -> None:
    try:
        position = parse_position(text)
    except ValueError:
        return
    assert str(position) == text


def test_an_error_quotes_a_long_text_shortened() -> None:
    with pytest.raises(ValueError) as rejected:
        parse_position("9" * 10_000)
    assert len(str(rejected.value)) < 200


@given(st.lists(positions))
def test_positions_sort_by_shard_then_number(several: list[Position]) -> None:
    assert sorted(several) == sorted(several, key=lambda each: (each.shard, each.number))


@given(st.uuids(), st.integers(1, 256))
def test_an_actor_always_has_the_same_shard(actor: UUID, shards: int) -> None:
    assert 1 <= shard_of(actor, shards) <= shards
    assert shard_of(actor, shards) == shard_of(UUID(str(actor)), shards)
