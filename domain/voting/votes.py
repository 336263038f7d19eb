"""Ballots: one person's standing vote for one tool, and the rule by which a cast moves it.

The same rule, set at a time, is the SQL function append_casts (migrations/functions/append_casts.sql);
a property test holds both to each other. Bookmarks move by the same rule.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from msgspec import Struct

Outcome = Literal["counted", "unchanged", "superseded"]


class Cast(Struct, frozen=True):
    """Choose ship or skip, or retract with None. Ids of one ballot are compared as bytes (UUIDv7: by time)."""

    id: UUID
    choice: str | None


class Ballot(Struct, frozen=True):
    """What the ballot says now, the newest id it has seen, and how that id was answered."""

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
    """A ballot only moves forward in id order; a cast that says what already stands moves the id alone."""
    if ballot.id is not None and cast.id <= ballot.id:
        return ballot
    counted = cast.choice != ballot.choice
    return Ballot(cast.id, cast.choice, ballot.choice if counted else None, counted)


def decide(ballot: Ballot, cast: Cast) -> CastDecision:
    """The answer to a cast. The newest id sent again is answered as it was the first time."""
    after = evolve(ballot, cast)
    if after.id != cast.id:
        return CastDecision("superseded", after.choice, None)
    return CastDecision("counted" if after.counted else "unchanged", after.choice, after.replaced)
