"""Vote events in the order of the log, and their effects on a tally."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from msgspec import Struct

from domain.shared.log import Shard
from domain.shared.types import Choice
from domain.timeline.flips import LogOrder


class Transition(Struct, frozen=True):
    """What one event does to a ballot: its choice before and after, and by how much the two counts change."""

    choice: Choice | None
    replaced: Choice | None
    ship: int
    skip: int

    @property
    def event(self) -> str:
        return "VoteCast" if self.choice else "VoteRetracted"


def _transition(choice: Choice | None, replaced: Choice | None) -> Transition:
    ship = (choice == "ship") - (replaced == "ship")
    skip = (choice == "skip") - (replaced == "skip")
    return Transition(choice, replaced, ship, skip)


_CHOICES: tuple[Choice | None, ...] = (None, "ship", "skip")
# By (choice, replaced), as an event has them.
TRANSITIONS = {
    (choice, replaced): _transition(choice, replaced) for replaced in _CHOICES for choice in _CHOICES
}

# (microseconds since 1970, shard, number, transition, day of the replaced cast): sorting gives the order of the log.
VoteEvent: TypeAlias = tuple[int, int, int, Transition, int | None]

DAY_MICROSECONDS = 86_400_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def order_of_vote(vote: VoteEvent) -> LogOrder:
    return LogOrder(_EPOCH + timedelta(microseconds=vote[0]), Shard(vote[1]), vote[2])


def vote_key(order: LogOrder) -> tuple[int, int, int]:
    """The first three fields of a vote event with this sort key."""
    return microseconds(order.recorded_at), order.shard, order.number


def microseconds(time: datetime) -> int:
    """Since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)
