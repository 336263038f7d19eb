"""Single votes: the events of votes as a course follows them, one after the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from msgspec import Struct

from domain.shared.log import Shard
from domain.shared.types import Choice
from domain.timeline.flips import LogOrder


class Transition(Struct, frozen=True):
    """A cast that came, the one that it replaces, and what that does to the two counts."""

    choice: Choice | None
    replaced: Choice | None
    ship: int
    skip: int

    @property
    def event(self) -> str:
        return "VoteCast" if self.choice else "VoteRetracted"


def _moved(choice: Choice | None, replaced: Choice | None) -> Transition:
    ship = (choice == "ship") - (replaced == "ship")
    skip = (choice == "skip") - (replaced == "skip")
    return Transition(choice, replaced, ship, skip)


_CHOICES: tuple[Choice | None, ...] = (None, "ship", "skip")
# By number: 1 for a ship that came and 2 for a skip, 3 for a ship that went and 6 for a skip.
TRANSITIONS = [_moved(choice, replaced) for replaced in _CHOICES for choice in _CHOICES]

# (microseconds since 1970, shard, position, what moved, day of the replaced cast): in the log's order when sorted.
VoteEvent: TypeAlias = tuple[int, int, int, Transition, int | None]

DAY = 86_400_000_000  # microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def order_of(vote: VoteEvent) -> LogOrder:
    return LogOrder(_EPOCH + timedelta(microseconds=vote[0]), Shard(vote[1]), vote[2])


def key_of(place: LogOrder) -> tuple[int, int, int]:
    """As votes have it."""
    return moment_of(place.recorded_at), place.shard, place.number


def moment_of(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)
