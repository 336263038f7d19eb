"""Ballots: one person's current vote for one tool, and the rule by which a cast changes it.

The SQL function append_casts (migrations/functions/append_casts.sql) applies the same rule to a batch; a property test
compares the two. Bookmarks follow the same rule.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from msgspec import Struct

Outcome = Literal["counted", "unchanged", "superseded"]


class Cast(Struct, frozen=True):
    """``choice`` is ship, skip, or None to retract. Ids of one ballot are compared as bytes (UUIDv7: by time)."""

    id: UUID
    choice: str | None


class Ballot(Struct, frozen=True):
    """The current choice and the newest id; ``replaced`` and ``counted`` belong to the answer to that id."""

    id: UUID | None = None
    choice: str | None = None
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
    counted = cast.choice != ballot.choice
    return Ballot(cast.id, cast.choice, ballot.choice if counted else None, counted)


def decide(ballot: Ballot, cast: Cast) -> CastDecision:
    """The answer to a cast. Idempotent: the newest id sent again gets the same answer."""
    after = evolve(ballot, cast)
    if after.id != cast.id:
        return CastDecision("superseded", after.choice, None)
    return CastDecision("counted" if after.counted else "unchanged", after.choice, after.replaced)
