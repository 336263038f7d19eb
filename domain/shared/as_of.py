"""Points in time that a read may ask for: a time, an event, or a position of every shard."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from domain.shared.log import Position, parse_position

# A time selects everything recorded up to it; a position everything up to that event in the log's order across shards,
# (recorded_at, shard, number); several positions select exactly those prefixes of their shards.
PointInTime: TypeAlias = "datetime | Position | tuple[Position, ...]"

POINT_IN_TIME_FORMATS = (
    "Write a past time with its zone and at most six decimals (2026-03-01T00:00:00Z; in a URL a plus is %2B), "
    "a position (3.1842), or a position of every shard, as in the header Shiplog-Position."
)
TIME_FORMAT = (
    "Write the time with its zone and at most six decimals, for example 2026-03-01T00:00:00Z "
    "(in a URL a plus is %2B)."
)
_POSITIONS = re.compile(r"[0-9.,]+\Z", re.ASCII)
_BELOW_MICROSECONDS = re.compile(r"\.[0-9]{7}", re.ASCII)


def parse_point_in_time(text: str) -> PointInTime:
    """Raises ValueError with the accepted forms."""
    if not _POSITIONS.match(text):
        return _moment(text)
    positions = tuple(parse_position(part) for part in text.split(","))
    if len({position.shard for position in positions}) < len(positions):
        raise ValueError(f"A shard is named twice. {POINT_IN_TIME_FORMATS}")
    return positions if len(positions) > 1 else positions[0]


def parse_time(text: str) -> datetime:
    """An RFC 3339 time with its zone, in UTC. Raises ValueError with the accepted form."""
    try:
        time: datetime = msgspec.convert(text, Annotated[datetime, Meta(tz=True)])
        if not _BELOW_MICROSECONDS.search(text):
            return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise ValueError(TIME_FORMAT)


def _moment(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise ValueError(f"This is not a point in time. {POINT_IN_TIME_FORMATS}") from None
