"""What happens in the house shard: tools are listed, reviewers seated, takes published. One struct an event."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from domain.events.upcasts import Upcaster, family, newest, stored_as, stored_names, upcast
from domain.rulebooks.rulebook import Rulebook
from domain.shared.errors import UndecodableEvent
from domain.shared.types import Choice, Line, Name, Score, Slug, Text, Url


class Category(Struct, frozen=True, forbid_unknown_fields=True):
    slug: Slug
    name: Name


class Pricing(Struct, frozen=True, forbid_unknown_fields=True):
    """``entry`` is the tier one starts on (Free, Freemium, Paid, ...); ``detail`` is free text."""

    entry: Name
    detail: Line = ""


class Details(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the catalogue says of a tool."""

    name: Name
    tagline: Line = ""
    best_for: Line = ""
    description: Text = ""
    category: Category
    url: Url | None = None
    pricing: Pricing


class ToolListed(Struct, frozen=True, tag=True):
    slug: Slug
    revision: int
    details: Details


class ToolRevised(Struct, frozen=True, tag=True):
    slug: Slug
    revision: int
    details: Details


class ToolRetired(Struct, frozen=True, tag=True):
    slug: Slug
    revision: int
    details: Details


class ReviewerSeated(Struct, frozen=True, tag=True):
    """A persona of the panel, new or revised. ``seat`` orders the scorecard's rows, from 1."""

    slug: Slug
    seat: int
    name: Name
    tagline: Line
    bio: Text


class TakePublished(Struct, frozen=True, tag=True):
    """``replaced`` is the choice of the take this one supersedes, so that records are sums."""

    reviewer: Slug
    revision: int
    score: Score
    choice: Choice
    text: Text
    replaced: Choice | None = None


class TakeWithdrawn(Struct, frozen=True, tag=True):
    reviewer: Slug
    revision: int
    replaced: Choice


class ReplayAccepted(Struct, frozen=True, tag=True):
    """An editor made a rebuilt read model the live one although ``drift`` rows differ."""

    replay: UUID
    projection: str
    drift: int
    reason: Line


class RulebookWritten(Struct, frozen=True, tag=True):
    """A rulebook can be tried and adopted from now on, by its digest."""

    digest: str
    rulebook: Rulebook


class RulebookAdopted(Struct, frozen=True, tag=True):
    """All verdicts are by this rulebook, from this position on. ``replaces`` is the digest of the one before it.

    ``rolls_back``: this takes the last adoption back.
    """

    digest: str
    replaces: str
    reason: Line
    rolls_back: bool = False


class AdoptionScheduled(Struct, frozen=True, tag=True):
    """The rulebook is to be adopted at a time. A worker then does it, by an adoption of its own."""

    digest: str
    effective_at: datetime
    reason: Line


class AdoptionCalledOff(Struct, frozen=True, tag=True):
    """The adoption that was scheduled will not take place."""

    digest: str


EditorialEvent = (
    ToolListed
    | ToolRevised
    | ToolRetired
    | ReviewerSeated
    | TakePublished
    | TakeWithdrawn
    | ReplayAccepted
    | RulebookWritten
    | RulebookAdopted
    | AdoptionScheduled
    | AdoptionCalledOff
)

# A shape that is changed gets a step here, from its last version to the new one.
UPCASTERS: tuple[Upcaster, ...] = ()

_decoder = msgspec.json.Decoder(EditorialEvent)


def type_of(event: EditorialEvent) -> str:
    """As the log is to have it: with its version, from the second on."""
    name = type(event).__name__
    return stored_as(name, newest(name, UPCASTERS))


def encode(event: EditorialEvent) -> bytes:
    return msgspec.json.encode(event)


def decode(data: bytes, stored: str | None = None) -> EditorialEvent:
    """The event in its newest shape; ``stored`` is its type in the log, if it may be an older one.

    Raises UndecodableEvent for what a newer version may have written.
    """
    try:
        event: EditorialEvent = _decoder.decode(data if stored is None else _newest_shape(data, stored))
    except msgspec.ValidationError as error:
        raise UndecodableEvent(data=data.decode()[:200], error=str(error)) from None
    return event


def _newest_shape(data: bytes, stored: str) -> bytes:
    read = stored_names(family(stored), UPCASTERS)
    if stored not in read:
        raise msgspec.ValidationError(f"{stored} is newer than {read[-1]}")
    if stored == read[-1]:
        return data
    return msgspec.json.encode(upcast(stored, msgspec.json.decode(data), UPCASTERS))
