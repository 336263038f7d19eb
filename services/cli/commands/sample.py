"""The sample catalogue: a panel and fifteen tools, appended through the same commands as any other."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import msgspec
from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial import reviewers, takes, tools
from domain.events.editorial import Details, EditorialEvent
from domain.shared.log import EDITORIAL
from domain.shared.types import Choice
from eventstore.decisions import Author, Connection, Decide, decide_editorial, decide_tool
from eventstore.heads import read_heads
from services.auth.identity import Identity
from services.settings import Settings

CATALOGUE = Path(__file__).with_name("sample_catalogue.toml")


class SampleTake(Struct, frozen=True):
    reviewer: str
    score: int
    choice: Choice
    text: str


class Sample(Struct, frozen=True):
    reviewers: list[reviewers.PutReviewer]
    tools: list[dict[str, object]]


async def load_sample(settings: Settings, pool: Pool[Record]) -> bool:
    """Fill an empty catalogue. False when it is not empty."""
    if (await read_heads(pool))[EDITORIAL]:
        return False
    sample = msgspec.convert(tomllib.loads(CATALOGUE.read_text()), Sample)
    author = Author(Identity(settings, pool).pseudonym("user", b"sample"), "sample")
    async with pool.acquire() as conn:
        for reviewer in sample.reviewers:
            await decide_editorial(conn, _put_reviewer(reviewer), author)
        for tool in sample.tools:
            await _put_tool(conn, tool, author)
    return True


async def _put_tool(conn: Connection, tool: dict[str, object], author: Author) -> None:
    slug, published = str(tool.pop("slug")), tool.pop("takes", [])
    listed = tools.PutTool(slug, msgspec.convert(tool, Details))
    await decide_tool(conn, slug, lambda past: tools.decide(listed, reduce(tools.evolve, past, None)), author)
    for take in msgspec.convert(published, list[SampleTake]):
        command = takes.PublishTake(slug, take.reviewer, take.score, take.choice, take.text)
        await decide_tool(conn, slug, _publish(command), author)


def _put_reviewer(command: reviewers.PutReviewer) -> Decide:
    return lambda past: reviewers.decide(command, reduce(reviewers.evolve, past, {}))


def _publish(command: takes.PublishTake) -> Decide:
    def decide(past: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        return takes.decide(command, reduce(takes.evolve, past, takes.PanelTakes()))

    return decide
