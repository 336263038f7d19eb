"""The sample catalogue as read from its TOML file. Moments are days before the sample is loaded."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
from msgspec import Struct

from domain.editorial.reviewers import PutReviewer
from domain.events.editorial import Category, Details, Pricing
from domain.shared.types import Choice

CATALOGUE = Path(__file__).with_name("catalogue.toml")


class SampleJudgement(Struct, frozen=True):
    score: int
    choice: Choice
    text: str


class SampleTake(Struct, frozen=True):
    """``earlier`` was published first, and revised ``revised`` days ago."""

    reviewer: str
    score: int
    choice: Choice
    text: str
    revised: int = 0
    earlier: SampleJudgement | None = None


class SampleVotes(Struct, frozen=True):
    """The number of voters; the share of ships among the first and the last of them; when they came in numbers."""

    count: int
    ship: tuple[float, float]
    spike: int | None = None


class SampleTool(Struct, frozen=True, kw_only=True):
    slug: str
    name: str
    tagline: str
    best_for: str
    description: str
    category: Category
    url: str
    pricing: Pricing
    listed: int
    votes: SampleVotes | None = None
    takes: list[SampleTake] = []

    @property
    def details(self) -> Details:
        fields = {name: getattr(self, name) for name in Details.__struct_fields__}
        return Details(**fields)


class SampleCatalogue(Struct, frozen=True):
    reviewers: list[PutReviewer]
    tools: list[SampleTool]


def read_catalogue() -> SampleCatalogue:
    return msgspec.convert(tomllib.loads(CATALOGUE.read_text()), SampleCatalogue)
