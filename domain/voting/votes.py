"""Ballots: one person's current vote for one tool, and the rule by which a cast changes it.

The SQL function append_casts (migrations/functions/append_casts.sql) applies the same rule to a batch; a property test
compares the two. Bookmarks follow the same rule.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from msgspec import Struct

from domain.shared.errors import Rejected

Outcome = Literal["counted", "unchanged", "superseded", "conflict"]


class IdConflict(Rejected):
    """The id {id} is already used by another vote: with another choice, for another tool or by another voter. Nothing was stored. Send a new vote under a new id."""

    slug = "id-conflict"


class Cast(Struct, frozen=True):
    """``choice`` is ship, skip, or None to retract. Ids of one ballot are compared as bytes (UUIDv7: by time)."""

    id: UUID
    choice: str | None


class Ballot(Struct, frozen=True):
    """The current choice, the newest id, and the id that changed the choice last, which may be older.

    ``replaced`` and ``counted`` belong to the answer to the newest id.
    """

    id: UUID | None = None
    choice: str | None = None
    changed_by: UUID | None = None
    replaced: str | None = None
    counted: bool = False


class CastDecision(Struct, frozen=True):
    outcome: Outcome
    choice: str | None
    replaced: str | None


BLANK = Ballot()


def evolve(ballot: Ballot, cast: Cast) -> Ballot:
    """The newest id wins; a cast of the current choice updates the id alone."""
    if ballot.id is not None and cast.id <= ballot.id:
        return ballot
    if cast.choice == ballot.choice:
        return Ballot(cast.id, ballot.choice, ballot.changed_by)
    return Ballot(cast.id, cast.choice, cast.id, ballot.choice, counted=True)


def decide(ballot: Ballot, cast: Cast) -> CastDecision:
    """The answer to a cast. Idempotent: the newest id sent again gets the same answer.

    A ballot remembers two ids, and both belong to its current choice: one of them with another choice is a conflict.
    Older ids are forgotten, and superseded whatever they say.
    """
    after = evolve(ballot, cast)
    if cast.id in (after.id, after.changed_by) and cast.choice != after.choice:
        return CastDecision("conflict", after.choice, None)
    if after.id != cast.id:
        return CastDecision("superseded", after.choice, None)
    return CastDecision("counted" if after.counted else "unchanged", after.choice, after.replaced)
