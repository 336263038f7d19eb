"""Points in time as text: a time, a position, or a position of every shard."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from domain.shared.as_of import PointInTime, parse_point_in_time
from domain.shared.log import EDITORIAL, Position, Shard

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T14:00:00+02:00", NOON),
        ("2026-03-01t12:00:00.000001z", NOON.replace(microsecond=1)),
        ("3.1842", Position(Shard(3), 1842)),
        ("1.0", Position(Shard(1), 0)),
        ("0.7,1.42", (Position(EDITORIAL, 7), Position(Shard(1), 42))),
        ("1.42,0.0", (Position(Shard(1), 42), Position(EDITORIAL, 0))),
    ],
)
def test_a_time_or_position_is_a_point_in_time(text: str, point: PointInTime) -> None:
    assert parse_point_in_time(text) == point


INVALID = (
    "",
    "now",
    "yesterday",
    "2026-03-01",
    "2026-03-01T12:00:00",
    "2026-03-01T12:00:00 02:00",
    "2026-03-01T12:00:00.1234567Z",
    "2026-03-01T12:00:60Z",
    "2026-02-30T12:00:00Z",
    "10000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+02:00",
    "-0001-01-01T00:00:00Z",
    "1772366400",
    "1772366400.5",
    "-1.5",
    "1.-5",
    "1.5.6",
    "01.5",
    "1.05",
    "1.",
    ".5",
    ",",
    "1.5,",
    "1.5,,2.5",
    "1.5,1.6",
    "1.5,1.5",
    "1.5 ,2.5",
    "1.5\n",
    "1.5\x00",
    "\u0661.5",
    f"1.{10**18}",
    "12345.1",
)


@pytest.mark.parametrize("text", INVALID)
def test_other_text_is_rejected_with_the_accepted_forms(text: str) -> None:
    with pytest.raises(ValueError, match=r"[Ww]rite|written"):
        parse_point_in_time(text)
