"""Moments: which state of the log somebody asks for, by a time, by an event, or by a position of every shard."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from domain.shared.log import Position, parse_position

# A time holds everything recorded up to it; a position everything up to that event, in the log's own order across
# shards, (recorded_at, shard, number); several positions hold exactly those prefixes.
PointInTime: TypeAlias = "datetime | Position | tuple[Position, ...]"

POINT_IN_TIME_WANTED = (
    "Write a time that has passed, with its zone and at most six decimals (2026-03-01T00:00:00Z; in an address a plus "
    "is %2B); or a position (3.1842); or a position of every shard, as the header Shiplog-Position has them."
)
_POSITIONS = re.compile(r"[0-9.,]+\Z", re.ASCII)
_FINER_THAN_THE_LOG = re.compile(r"\.[0-9]{7}", re.ASCII)


def parse_point_in_time(text: str) -> PointInTime:
    """Raises ValueError, which says how a moment is written."""
    if not _POSITIONS.match(text):
        return _time(text)
    positions = tuple(parse_position(part) for part in text.split(","))
    if len({position.shard for position in positions}) < len(positions):
        raise ValueError(f"a shard is named twice. {POINT_IN_TIME_WANTED}")
    return positions if len(positions) > 1 else positions[0]


def _time(text: str) -> datetime:
    try:
        time: datetime = msgspec.convert(text, Annotated[datetime, Meta(tz=True)])
        if not _FINER_THAN_THE_LOG.search(text):
            return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise ValueError(f"this is no moment. {POINT_IN_TIME_WANTED}")
