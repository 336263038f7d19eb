"""A random history with values that the two engines might treat differently, and a function that seals it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from domain.events.editorial import (
    AdoptionCalledOff,
    AdoptionScheduled,
    Category,
    Details,
    EditorialEvent,
    Pricing,
    ReviewerRetired,
    ReviewerSeated,
    RulebookAdopted,
    RulebookWritten,
    TakePublished,
    TakeWithdrawn,
    ToolListed,
    ToolRetired,
    ToolRevised,
)
from domain.rulebooks.rulebook import Rulebook
from domain.shared.log import Shard
from eventstore.casts import PendingCast, append_casts
from eventstore.decisions import decide_editorial, decide_tool
from eventstore.ids import mint
from eventstore.sealed.manifest import Segment
from eventstore.sealed.seal import SealPlan, find_due_segments, seal
from eventstore.sealed.store import Store
from tests.support.stage import AUTHOR, Log

TRICKY_TEXTS = [
    "",
    " ",
    '"',
    '""',
    "a,b",
    "\\",
    "\\.",
    "\\N",
    "NULL",
    "null",
    "two\nlines",
    "two\r\nlines",
    "\t",
    "'; --",
    "{events}",
    "naïve",
    "👩‍👧 e\u0301 \u202e",
    "-",
]
# The next event gets the head's time if that is ahead of the clock.
ADVANCE_HEAD_TIME = (
    "UPDATE heads SET recorded_at = greatest(recorded_at, clock_timestamp()) + $2::interval WHERE shard = $1"
)
VOTER_SHARDS = [Shard(1), Shard(2), Shard(3)]


async def write_history(log: Log, seed: int, casts: int = 300) -> None:
    random, hours = Random(seed), Random(seed)
    for slug in TRICKY_TEXTS[4:12]:
        await _editorial(log, random, slug)
    await _seats_and_rulebooks(log, random)
    actors = [UUID(int=random.getrandbits(128)) for _ in range(20)]
    for _ in range(casts // 10):
        group = [
            PendingCast(
                random.choice(["v", "v", "b"]),
                random.choice(actors),
                random.randint(1, 5),
                random.choice(["ship", "skip", None]),
                mint(),
                random.choice(["k1", "web", *TRICKY_TEXTS]),
            )
            for _ in range(10)
        ]
        shard = random.choice(VOTER_SHARDS)
        async with log.acquire() as conn:
            await conn.execute(ADVANCE_HEAD_TIME, shard, timedelta(hours=hours.choice([0, 1, 30])))
            await append_casts(conn, shard, group)


async def _editorial(log: Log, random: Random, slug: str) -> None:
    def details() -> Details:
        one = lambda: random.choice(TRICKY_TEXTS)  # noqa: E731
        return Details(name=one(), tagline=one(), category=Category(one(), one()), pricing=Pricing(one()))

    def take(revision: int) -> TakePublished:
        choice, replaced = random.choice(["ship", "skip"]), random.choice(["ship", "skip", None])
        return TakePublished(
            random.choice(TRICKY_TEXTS), revision, 70, choice, random.choice(TRICKY_TEXTS), replaced
        )

    events: list[EditorialEvent] = [
        ToolListed(slug, 1, details()),
        take(1),
        take(2),
        ToolRevised(slug, 2, details()),
        TakeWithdrawn(random.choice(TRICKY_TEXTS), 3, "ship"),
    ]
    if random.random() < 0.5:
        events.append(ToolRetired(slug, 3, details()))
    async with log.acquire() as conn:
        await decide_tool(conn, slug, lambda _: events, AUTHOR)


async def _seats_and_rulebooks(log: Log, random: Random) -> None:
    events: list[EditorialEvent] = [
        ReviewerSeated(f"reviewer-{seat}", seat, f"Reviewer {seat}", "", text if text.isprintable() else "")
        for seat, text in enumerate(TRICKY_TEXTS)
    ]
    events += [
        ReviewerRetired("reviewer-0", 0, "Reviewer 0", "", "", 2),
        *_rulebooks(random),
    ]
    async with log.acquire() as conn:
        await decide_editorial(conn, lambda _: events, AUTHOR)


def _rulebooks(random: Random) -> list[EditorialEvent]:
    """Digests repeat, so that newer rows replace older ones."""
    at = datetime(2027, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
    digests = [random.choice(TRICKY_TEXTS) for _ in TRICKY_TEXTS]
    return [
        *(RulebookWritten(each, Rulebook("mine", title=random.choice(TRICKY_TEXTS))) for each in digests),
        *(
            RulebookAdopted(each, random.choice(TRICKY_TEXTS), random.choice(TRICKY_TEXTS))
            for each in digests
        ),
        *(AdoptionScheduled(each, at, random.choice(TRICKY_TEXTS)) for each in digests),
        *(AdoptionCalledOff(each) for each in digests),
        RulebookAdopted(digests[0], digests[1], random.choice(TRICKY_TEXTS), rolls_back=True),
    ]


async def seal_all(log: Log, store: Store, size: int = 64) -> list[Segment]:
    segments = await find_due_segments(log, store, SealPlan(size, short=True))
    assert all([await seal(log, store, segment) for segment in segments])
    return segments
