"""Fill an empty log with the sample: half a year of editorial decisions, votes and bookmarks at their own times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import reduce
from random import Random

from asyncpg import Pool, Record
from msgspec import Struct

from domain.editorial import reviewers, takes, tools
from domain.events.editorial import EditorialEvent
from domain.shared.log import Shard, shard_of
from eventstore.decisions import Author, Connection, Decide, decide_editorial, decide_tool
from eventstore.heads import read_heads
from eventstore.history import SAMPLE, PastCast, append_history
from eventstore.ids import ids_at
from services.auth.identity import Identity
from services.cli.sample.catalogue import SampleCatalogue, SampleTake, SampleTool, read_catalogue
from services.cli.sample.votes import SEED, sample_casts
from services.settings import Settings

_READ_NOW = "SELECT clock_timestamp()"
_FIND_TOOLS = "SELECT slug, tool FROM slugs"
_TAKES_DAYS = (0.2, 12.0)  # after the tool was listed


class SampleDecision(Struct, frozen=True):
    """``tool`` is None for a decision on the panel."""

    age: timedelta
    tool: str | None
    decide: Decide


async def load_sample(settings: Settings, pool: Pool[Record], *, with_votes: bool = True) -> bool:
    """False, and no change, if the log has events. Without votes, takes are published as they are now."""
    if any((await read_heads(pool)).values()):
        return False
    catalogue, identity = read_catalogue(), Identity(settings, pool)
    async with pool.acquire() as conn:
        now = await conn.fetchval(_READ_NOW)
        author = Author(identity.pseudonym("user", SAMPLE.encode()), SAMPLE)
        for decision in sorted(_decisions(catalogue, with_earlier=with_votes), key=lambda each: -each.age):
            await _append(conn, decision, author, now - decision.age if with_votes else now)
        if with_votes:
            await _append_votes(conn, catalogue, identity, now)
    return True


async def _append(conn: Connection, decision: SampleDecision, author: Author, at: datetime) -> None:
    if decision.tool is None:
        await decide_editorial(conn, decision.decide, author, at)
    else:
        await decide_tool(conn, decision.tool, decision.decide, author, at)


def _decisions(catalogue: SampleCatalogue, *, with_earlier: bool) -> Iterator[SampleDecision]:
    rng = Random(SEED)  # noqa: S311 - a sample, not a secret
    first = timedelta(days=1 + max(tool.listed for tool in catalogue.tools))
    for reviewer in catalogue.reviewers:
        yield SampleDecision(first, None, _put_reviewer(reviewer))
    for tool in catalogue.tools:
        listed = timedelta(days=tool.listed)
        yield SampleDecision(listed, tool.slug, _put_tool(tool))
        for take in tool.takes:
            published = listed - timedelta(days=rng.uniform(*_TAKES_DAYS)) * min(1, tool.listed / 20)
            yield from _takes(tool, take, published, with_earlier=with_earlier)


def _takes(
    tool: SampleTool, take: SampleTake, published: timedelta, *, with_earlier: bool
) -> Iterator[SampleDecision]:
    current = takes.PublishTake(tool.slug, take.reviewer, take.score, take.choice, take.text)
    if take.earlier is None or not with_earlier:
        yield SampleDecision(published, tool.slug, _publish(current))
        return
    earlier = take.earlier
    first = takes.PublishTake(tool.slug, take.reviewer, earlier.score, earlier.choice, earlier.text)
    yield SampleDecision(published, tool.slug, _publish(first))
    yield SampleDecision(timedelta(days=take.revised), tool.slug, _publish(current))


async def _append_votes(
    conn: Connection, catalogue: SampleCatalogue, identity: Identity, now: datetime
) -> None:
    numbers = {row["slug"]: row["tool"] for row in await conn.fetch(_FIND_TOOLS)}
    shards = len(await read_heads(conn)) - 1
    by_shard = defaultdict[Shard, list[PastCast]](list)
    for order, cast in enumerate(sample_casts(catalogue.tools)):
        actor, at = identity.pseudonym("voter", f"sample-{cast.voter}".encode()), now - cast.age
        vote_id = ids_at(int(at.timestamp() * 1000))(order, actor)
        past = PastCast(at, cast.kind, actor, numbers[cast.tool], cast.choice, vote_id, SAMPLE)
        by_shard[shard_of(actor, shards)].append(past)
    for shard, casts in by_shard.items():
        await append_history(conn, shard, casts)


def _put_reviewer(command: reviewers.PutReviewer) -> Decide:
    return lambda past: reviewers.decide(command, reduce(reviewers.evolve, past, {}))


def _put_tool(tool: SampleTool) -> Decide:
    command = tools.PutTool(tool.slug, tool.details)
    return lambda past: tools.decide(command, reduce(tools.evolve, past, None))


def _publish(command: takes.PublishTake) -> Decide:
    def decide(past: Sequence[EditorialEvent]) -> list[EditorialEvent]:
        return takes.decide(command, reduce(takes.evolve, past, takes.PanelTakes()))

    return decide
