"""Jobs: project a shard that moved, sweep for those nobody was woken for; partitions, adoptions, flips, replays, recounts, sealing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NotRequired, TypedDict
from uuid import UUID

import structlog
from asyncpg import InterfaceError, Pool, PostgresError, Record

from domain.editorial.adoptions import TakeEffect
from domain.shared.errors import NotUnderstood
from domain.shared.log import EDITORIAL, Shard
from eventstore.as_of_positions import AppendInFlight, InTheFuture
from eventstore.decisions import Author
from eventstore.heads import extend_events
from eventstore.rulebook_decisions import decide_adoption
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.seal import due
from eventstore.sealed.seal import seal as seal_segment
from projections.adoptions import is_due
from projections.engine.advance import CheckpointMoved, advance, behind
from projections.engine.blocked import read_blocked
from projections.engine.registry import PROJECTIONS
from projections.flips.advance import FrontierMoved, advance_flips
from projections.flips.batches import read_flips_blocked
from projections.replays.jobs import NotNow, ReplayUnderWay, begin_next, read_replays
from projections.replays.run import run
from projections.replays.sealed_replay import NoSegments
from projections.replays.verify import verify_slice
from services.resources import Sealing
from services.wakeups import Wakeups
from services.webhooks.sending import Sender

# In one run of `seal`, so that a log that grows fast keeps its cores for votes: a segment takes some ten seconds of one.
_SEGMENTS_MAX = 1
_UNREACHABLE = (PostgresError, InterfaceError, OSError, TimeoutError)
# What is done by the clock is nobody's doing.
_CLOCK = Author(UUID(int=0), "worker")
_log = structlog.get_logger()


class Context(TypedDict):
    """What arq hands to every job."""

    pool: Pool[Record]
    wakeups: Wakeups
    sealing: NotRequired[Sealing | None]
    replay_every: NotRequired[timedelta | None]
    sender: NotRequired[Sender]


async def project(ctx: Context, shard: int) -> int:
    """Advance a shard's read models to its head. Returns the events folded.

    What comes meanwhile wakes a worker anew: chasing the head would be half as many folds again.
    """
    folded = 0
    try:
        while advanced := await advance(ctx["pool"], PROJECTIONS, Shard(shard)):
            folded += advanced.events
            for parked in advanced.parked:
                _log.error("an event was parked: the read model is incomplete", parked=str(parked))
            await ctx["wakeups"].announce(advanced.shard, advanced.position)
            if advanced.caught_up:
                break
    except CheckpointMoved:
        _log.info("another worker advanced this shard", shard=shard)
    except _UNREACHABLE as error:
        _log.warning("Postgres did not answer; the next sweep goes on", shard=shard, error=str(error))
    return folded


async def sweep(ctx: Context) -> int:
    """Project every shard that is behind. Safe beside any other worker; returns the events folded."""
    try:
        shards = await behind(ctx["pool"])
        folded = sum(await asyncio.gather(*(project(ctx, shard) for shard in shards)))
        for stop in await read_blocked(ctx["pool"], PROJECTIONS) if shards else []:
            _tell(str(stop))
        return folded
    except _UNREACHABLE as error:
        _log.warning("Postgres did not answer; the next sweep goes on", error=str(error))
        return 0


async def flip(ctx: Context) -> int:
    """Find the flips in all there is. Safe beside any other worker; returns the events gone past."""
    passed = 0
    try:
        while (events := await advance_flips(ctx["pool"])) is not None:
            passed += events
        for stop in await read_flips_blocked(ctx["pool"]) if passed else []:
            _tell(str(stop))
    except (FrontierMoved, AppendInFlight, InTheFuture) as error:
        _log.info("flips are looked for again soon", error=str(error))
    except _UNREACHABLE as error:
        _log.warning("flips could not be looked for; they are again soon", error=str(error))
    return passed


@lru_cache(1_000)
def _tell(stop: str) -> None:
    """Once in a process: each sweep meets it again."""
    _log.error("a read model is stopped", stop=stop)


async def extend(ctx: Context) -> None:
    """Keep partitions of events ahead of the heads."""
    try:
        await extend_events(ctx["pool"])
    except _UNREACHABLE as error:
        _log.warning("Postgres did not answer; partitions are looked at again in a minute", error=str(error))


async def take_effect(ctx: Context) -> int:
    """Adopt the rulebooks whose time has come. Safe beside any other worker; returns the events this made."""
    now = datetime.now(UTC)
    try:
        if not await is_due(ctx["pool"], now):
            return 0
        decided = (await decide_adoption(ctx["pool"], TakeEffect(now), _CLOCK)).decided
        await project(ctx, EDITORIAL)
    except NotUnderstood as error:
        _log.error("a scheduled adoption cannot take effect", error=str(error))
        return 0
    except _UNREACHABLE as error:
        _log.warning("Postgres did not answer; adoptions are looked at again soon", error=str(error))
        return 0
    return len(decided.recorded)


async def replay(ctx: Context) -> int:
    """Take replays that are under way on to their end, whoever began them. Returns how many there were."""
    try:
        going_on = [each for each in await read_replays(ctx["pool"]) if each.goes_on]
        sealing = ctx.get("sealing")
        for each in going_on:
            await run(ctx["pool"], PROJECTIONS, each.id, sealing.store if sealing else None)
    except (SegmentError, NoSegments) as error:
        _log.error("a replay is paused", error=str(error))
        return 0
    except (*_UNREACHABLE, NotNow) as error:
        _log.warning("a replay was interrupted; it goes on from where it was", error=str(error))
        return 0
    return len(going_on)


async def schedule(ctx: Context) -> None:
    """Begin a replay when it is time for the next one."""
    with suppress(*_UNREACHABLE, ReplayUnderWay):
        if every := ctx.get("replay_every"):
            await begin_next(ctx["pool"], PROJECTIONS, every)


async def recount(ctx: Context) -> None:
    """Hold one read model to the log in one shard: in turn, all of them."""
    try:
        verified = await verify_slice(ctx["pool"], PROJECTIONS)
    except _UNREACHABLE as error:
        _log.warning("a recount did not end; what it was to find is unknown", error=str(error))
        return
    if verified.drift:
        _log.error("a read model differs from the log", read_model=verified.projection, rows=verified.rows)


async def seal(ctx: Context) -> int:
    """Seal the oldest of what is due. Safe beside any other worker; returns the segments made."""
    sealing, made = ctx.get("sealing"), 0
    if sealing is None:
        return 0
    try:
        for segment in (await due(ctx["pool"], sealing.store, sealing.plan))[:_SEGMENTS_MAX]:
            if await seal_segment(ctx["pool"], sealing.store, segment, sealing.threads):
                _log.info("sealed", segment=str(segment), events=segment.count)
                made += 1
    except SegmentError as error:
        _log.error("history cannot be sealed", error=str(error))
    except _UNREACHABLE as error:
        _log.warning("sealing is tried again in a minute", error=str(error))
    return made
