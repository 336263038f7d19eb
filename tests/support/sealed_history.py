"""A random history, with everything in it that could trip one engine and not the other, and where it is sealed."""

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
from eventstore.sealed.seal import Plan, due, seal
from eventstore.sealed.store import Store
from tests.support.stage import AUTHOR, Log

NASTY = [
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
# Time does not go back along a shard: what comes next is recorded at its head's time, if that is ahead of the clock.
LATER = (
    "UPDATE heads SET recorded_at = greatest(recorded_at, clock_timestamp()) + $2::interval WHERE shard = $1"
)
PEOPLE = [Shard(1), Shard(2), Shard(3)]


async def write_history(log: Log, seed: int, casts: int = 300) -> None:
    random, hours = Random(seed), Random(seed)
    for slug in NASTY[4:12]:
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
                random.choice(["k1", "web", *NASTY]),
            )
            for _ in range(10)
        ]
        shard = random.choice(PEOPLE)
        async with log.acquire() as conn:
            await conn.execute(LATER, shard, timedelta(hours=hours.choice([0, 1, 30])))
            await append_casts(conn, shard, group)


async def _editorial(log: Log, random: Random, slug: str) -> None:
    def details() -> Details:
        one = lambda: random.choice(NASTY)  # noqa: E731
        return Details(name=one(), tagline=one(), category=Category(one(), one()), pricing=Pricing(one()))

    def take(revision: int) -> TakePublished:
        choice, replaced = random.choice(["ship", "skip"]), random.choice(["ship", "skip", None])
        return TakePublished(random.choice(NASTY), revision, 70, choice, random.choice(NASTY), replaced)

    events: list[EditorialEvent] = [
        ToolListed(slug, 1, details()),
        take(1),
        take(2),
        ToolRevised(slug, 2, details()),
        TakeWithdrawn(random.choice(NASTY), 3, "ship"),
    ]
    if random.random() < 0.5:
        events.append(ToolRetired(slug, 3, details()))
    async with log.acquire() as conn:
        await decide_tool(conn, slug, lambda _: events, AUTHOR)


async def _seats_and_rulebooks(log: Log, random: Random) -> None:
    events: list[EditorialEvent] = [
        ReviewerSeated(slug, seat, random.choice(NASTY), "", random.choice(NASTY))
        for seat, slug in enumerate(NASTY)
    ] + _rulebooks(random)
    async with log.acquire() as conn:
        await decide_editorial(conn, lambda _: events, AUTHOR)


def _rulebooks(random: Random) -> list[EditorialEvent]:
    """Digests stand twice, so that a newer row meets an older one."""
    at = datetime(2027, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
    digests = [random.choice(NASTY) for _ in NASTY]
    return [
        *(RulebookWritten(each, Rulebook("mine", title=random.choice(NASTY))) for each in digests),
        *(RulebookAdopted(each, random.choice(NASTY), random.choice(NASTY)) for each in digests),
        *(AdoptionScheduled(each, at, random.choice(NASTY)) for each in digests),
        *(AdoptionCalledOff(each) for each in digests),
        RulebookAdopted(digests[0], digests[1], random.choice(NASTY), rolls_back=True),
    ]


async def seal_all(log: Log, store: Store, size: int = 64) -> list[Segment]:
    segments = await due(log, store, Plan(size, short=True))
    assert all([await seal(log, store, segment) for segment in segments])
    return segments
