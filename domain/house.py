"""What happens in the house shard: tools are listed, reviewers seated, takes published. One struct an event."""

from __future__ import annotations

from uuid import UUID

import msgspec
from msgspec import Struct

from domain.refusals import NotUnderstood
from domain.words import Choice, Line, Name, Score, Slug, Text, Url


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


HouseEvent = (
    ToolListed | ToolRevised | ToolRetired | ReviewerSeated | TakePublished | TakeWithdrawn | ReplayAccepted
)


_decoder = msgspec.json.Decoder(HouseEvent)


def encode(event: HouseEvent) -> bytes:
    return msgspec.json.encode(event)


def decode(data: bytes) -> HouseEvent:
    """Raises NotUnderstood for what a newer version may have written."""
    try:
        event: HouseEvent = _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise NotUnderstood(data=data.decode()[:200], error=str(error)) from None
    return event
