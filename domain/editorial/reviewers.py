"""Reviewers: the personas of the panel, each with a fixed seat, which is a row of the scorecard."""

from __future__ import annotations

from msgspec import Struct

from domain.events.editorial import EditorialEvent, ReviewerSeated


class PutReviewer(Struct, frozen=True):
    slug: str
    name: str
    tagline: str
    bio: str


Seats = dict[str, ReviewerSeated]


def evolve(seats: Seats, event: EditorialEvent) -> Seats:
    return seats | {event.slug: event} if isinstance(event, ReviewerSeated) else seats


def decide(command: PutReviewer, seats: Seats) -> list[EditorialEvent]:
    """A new reviewer takes the next seat, a known one keeps theirs. No event when nothing would change."""
    seated = seats.get(command.slug)
    seat = seated.seat if seated else len(seats) + 1
    event = ReviewerSeated(command.slug, seat, command.name, command.tagline, command.bio)
    return [] if event == seated else [event]
