"""Reviewers: the panel, in the order of their seats. They are seated, revised, moved, retired and restored."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from domain.events.editorial import EditorialEvent, ReviewerRetired, ReviewerSeated
from domain.shared.errors import Rejected, RetiredReviewer, RevisionConflict, Unknown

# It would hide the reviewer behind the address of the panel's order.
RESERVED_SLUG = "order"


class PutReviewer(Struct, frozen=True):
    """Seat or revise a reviewer. ``expected`` is the revision last read: None if unstated, 0 for "not seated yet"."""

    slug: str
    name: str
    tagline: str
    bio: str
    expected: int | None = None


class RetireReviewer(Struct, frozen=True):
    slug: str
    expected: int | None = None


class RestoreReviewer(Struct, frozen=True):
    slug: str
    expected: int | None = None


class OrderPanel(Struct, frozen=True):
    """``slugs`` are all reviewers who are not retired, each once, in the new order."""

    slugs: tuple[str, ...]


class ReservedSlug(Rejected):
    """A reviewer cannot have the slug {name!r}: it is part of an address. Choose another one."""

    slug = "invalid"


class OrderIncomplete(Rejected):
    """The order must name every reviewer of the panel once, and it {fault}. Read the panel again, and send all of it."""

    slug = "order-incomplete"


Command = PutReviewer | RetireReviewer | RestoreReviewer | OrderPanel
# By slug, the newest event of each reviewer.
Seats = dict[str, ReviewerSeated | ReviewerRetired]


def evolve(seats: Seats, event: EditorialEvent) -> Seats:
    return seats | {event.slug: event} if isinstance(event, ReviewerSeated | ReviewerRetired) else seats


def decide(command: Command, seats: Seats) -> list[EditorialEvent]:
    """Raises Unknown, RetiredReviewer, RevisionConflict, ReservedSlug or OrderIncomplete. No event when nothing would change."""
    if isinstance(command, OrderPanel):
        return _order(command.slugs, seats)
    before = seats.get(command.slug)
    _check_revision(command, before)
    if isinstance(command, PutReviewer):
        return _put(command, before, seats)
    if before is None:
        raise Unknown(kind="reviewer", name=command.slug)
    kind = ReviewerRetired if isinstance(command, RetireReviewer) else ReviewerSeated
    after = kind(before.slug, before.seat, before.name, before.tagline, before.bio, before.revision + 1)
    return [] if isinstance(before, kind) else [after]


def panel_order(seats: Seats) -> list[ReviewerSeated]:
    """The reviewers who are not retired, in the order of the panel."""
    return sorted(
        (each for each in seats.values() if isinstance(each, ReviewerSeated)), key=lambda each: each.seat
    )


def check_publishing(seats: Seats, reviewer: str) -> None:
    """Raises Unknown or RetiredReviewer for a reviewer who may not publish takes."""
    if reviewer not in seats:
        raise Unknown(kind="reviewer", name=reviewer)
    if isinstance(seats[reviewer], ReviewerRetired):
        raise RetiredReviewer(reviewer=reviewer)


def _put(
    command: PutReviewer, before: ReviewerSeated | ReviewerRetired | None, seats: Seats
) -> list[EditorialEvent]:
    """A new reviewer takes the seat after all others, a known one keeps theirs."""
    if command.slug == RESERVED_SLUG:
        raise ReservedSlug(name=command.slug)
    words = command.name, command.tagline, command.bio
    if before is None:
        seat = 1 + max((each.seat for each in seats.values()), default=0)
        return [ReviewerSeated(command.slug, seat, *words)]
    if isinstance(before, ReviewerRetired):
        raise RetiredReviewer(reviewer=command.slug)
    after = ReviewerSeated(command.slug, before.seat, *words, before.revision + 1)
    return [] if words == (before.name, before.tagline, before.bio) else [after]


def _order(slugs: Sequence[str], seats: Seats) -> list[EditorialEvent]:
    """The reviewers exchange the seats that they have: a retired reviewer's seat stays theirs."""
    seated = panel_order(seats)
    fault = _fault(slugs, {each.slug for each in seated})
    if fault:
        raise OrderIncomplete(fault=fault)
    by_slug = {each.slug: each for each in seated}
    moved = [(by_slug[slug], place.seat) for slug, place in zip(slugs, seated, strict=True)]
    return [msgspec.structs.replace(each, seat=seat) for each, seat in moved if each.seat != seat]


def _fault(slugs: Sequence[str], seated: set[str]) -> str:
    """What is wrong with an order; empty if nothing is."""
    repeated = sorted({slug for slug in slugs if slugs.count(slug) > 1})
    faults = {
        "repeats": repeated,
        "leaves out": sorted(seated - set(slugs)),
        "names without a seat": sorted(set(slugs) - seated),
    }
    return "; it ".join(f"{what} {', '.join(named[:5])}" for what, named in faults.items() if named)


def _check_revision(
    command: PutReviewer | RetireReviewer | RestoreReviewer, before: ReviewerSeated | ReviewerRetired | None
) -> None:
    revision = before.revision if before else 0
    if command.expected is not None and command.expected != revision:
        raise RevisionConflict(
            kind="reviewer", name=command.slug, revision=revision, expected=command.expected
        )
