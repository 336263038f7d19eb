"""Events of the editorial shard: tools, reviewers, takes, rulebooks and replays. One struct per event.

Struct and field names are stored: encoded events are rows of the log.
"""

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
    """``entry`` is the entry tier (Free, Freemium, Paid, ...); ``detail`` is free text."""

    entry: Name
    detail: Line = ""


class Details(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tool's entry in the catalogue."""

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


class ReviewerSeated(Struct, frozen=True, tag=True, omit_defaults=True):
    """A reviewer was added, revised, restored, or moved to another seat.

    ``seat`` orders the panel and the rows of a scorecard, from 1. ``revision`` counts from 1 and does not change when a
    reviewer is moved; events of the time before reviewers could be revised have none.
    """

    slug: Slug
    seat: int
    name: Name
    tagline: Line
    bio: Text
    revision: int = 1


class ReviewerRetired(Struct, frozen=True, tag=True):
    """The reviewer publishes no more takes. Standing takes go on counting until they are withdrawn."""

    slug: Slug
    seat: int
    name: Name
    tagline: Line
    bio: Text
    revision: int


class TakePublished(Struct, frozen=True, tag=True):
    """``replaced`` is the choice of the superseded take, so that counts per reviewer are plain sums."""

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
    """An editor made a rebuilt read model live although ``drift`` rows differ."""

    replay: UUID
    projection: str
    drift: int
    reason: Line


class RulebookWritten(Struct, frozen=True, tag=True):
    """From this position on, the rulebook can be tried and adopted by its digest."""

    digest: str
    rulebook: Rulebook


class RulebookAdopted(Struct, frozen=True, tag=True):
    """Verdicts follow this rulebook from this position on. ``replaces`` is the digest of the previous one.

    ``rolls_back``: this adoption undoes the last one.
    """

    digest: str
    replaces: str
    reason: Line
    rolls_back: bool = False


class AdoptionScheduled(Struct, frozen=True, tag=True):
    """A worker adopts the rulebook at ``effective_at``, and then appends RulebookAdopted."""

    digest: str
    effective_at: datetime
    reason: Line


class AdoptionCalledOff(Struct, frozen=True, tag=True):
    """The scheduled adoption was cancelled."""

    digest: str


EditorialEvent = (
    ToolListed
    | ToolRevised
    | ToolRetired
    | ReviewerSeated
    | ReviewerRetired
    | TakePublished
    | TakeWithdrawn
    | ReplayAccepted
    | RulebookWritten
    | RulebookAdopted
    | AdoptionScheduled
    | AdoptionCalledOff
)

# One upcaster for each version of an event that has a successor.
UPCASTERS: tuple[Upcaster, ...] = ()

_decoder = msgspec.json.Decoder(EditorialEvent)


def type_of(event: EditorialEvent) -> str:
    """The stored type, which carries the version from the second version on."""
    name = type(event).__name__
    return stored_as(name, newest(name, UPCASTERS))


def encode(event: EditorialEvent) -> bytes:
    return msgspec.json.encode(event)


def decode(data: bytes, stored: str | None = None) -> EditorialEvent:
    """The event in its newest version; ``stored`` is its type in the log, where that may be an older version.

    Raises UndecodableEvent for an event that only a newer release can read.
    """
    try:
        event: EditorialEvent = _decoder.decode(data if stored is None else _in_newest_version(data, stored))
    except msgspec.ValidationError as error:
        raise UndecodableEvent(data=data.decode()[:200], error=str(error)) from None
    return event


def _in_newest_version(data: bytes, stored: str) -> bytes:
    read = stored_names(family(stored), UPCASTERS)
    if stored not in read:
        raise msgspec.ValidationError(f"{stored} is newer than {read[-1]}")
    if stored == read[-1]:
        return data
    return msgspec.json.encode(upcast(stored, msgspec.json.decode(data), UPCASTERS))
