"""Limits of vote ids and voters that a client chooses."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

AHEAD_MILLISECONDS_MAX = 60_000
ID_REQUIREMENT = "The id must be a UUIDv7 whose time is at most 60 s in the future. Check your clock."
VOTER_BYTES_MAX = 128
VOTER_REQUIREMENT = f"The voter must be 1 to {VOTER_BYTES_MAX} bytes, without NUL."

_CLOCK_SHIFT = 80  # the clock is the first 48 of 128 bits (RFC 9562 section 5.7)
_VERSION_AND_VARIANT = 0xF << 76 | 0b11 << 62
_V7 = 7 << 76 | 0b10 << 62


def valid_voter(voter: bytes) -> bool:
    return 0 < len(voter) <= VOTER_BYTES_MAX and b"\0" not in voter


def valid_id(now: int) -> Callable[[UUID], bool]:
    """The check for ids that arrive ``now``, in milliseconds since 1970. Create it once for many ids."""
    limit = (now + AHEAD_MILLISECONDS_MAX + 1) << _CLOCK_SHIFT

    def is_valid(id: UUID) -> bool:
        number = id.int
        return number & _VERSION_AND_VARIANT == _V7 and number < limit

    return is_valid
