"""Jobs: advance read models and flips, adopt rulebooks, run replays, verify read models, extend and seal the log."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NotRequired, TypedDict
from uuid import UUID

import structlog
from asyncpg import Pool, Record

from domain.editorial.adoptions import TakeEffect
from domain.shared.errors import UndecodableEvent
from domain.shared.log import EDITORIAL, Shard
from eventstore.as_of_positions import AppendInFlight, InTheFuture
from eventstore.decisions import Author
from eventstore.heads import extend_events
from eventstore.rulebook_decisions import decide_adoption
from eventstore.sealed.manifest import SegmentError
from eventstore.sealed.seal import find_due_segments
from eventstore.sealed.seal import seal as seal_segment
from projections.adoptions import is_due
from projections.engine.advance import CheckpointMoved, advance, shards_behind
from projections.engine.blocked import read_blocked
from projections.engine.registry import PROJECTIONS
from projections.flips.advance import FrontierMoved, advance_flips
from projections.flips.batches import read_flips_blocked
from projections.replays.jobs import ReplayUnderWay, WrongReplayState, begin_next, read_replays
from projections.replays.run import run
from projections.replays.sealed_replay import NoSegments
from projections.replays.verify import verify_next_shard
from services.public_address import PublicAddress
from services.resources import Sealing
from services.wakeups import Wakeups
from services.webhooks.sending import Sender
from services.workers.guard import survive_outages

# Per run of `seal_due`: a segment takes about ten seconds of a core, and a log that grows fast needs its cores for votes.
_SEGMENTS_MAX = 1
_WORKER = Author(UUID(int=0), "worker")
_log = structlog.get_logger()


class Context(TypedDict):
    """Passed to every job, by arq and by the worker's own loops."""

    pool: Pool[Record]
    wakeups: Wakeups
    sealing: NotRequired[Sealing | None]
    replay_every: NotRequired[timedelta | None]
    sender: NotRequired[Sender]
    public_address: NotRequired[PublicAddress | None]


@survive_outages
async def project(ctx: Context, shard: int) -> int:
    """Advance a shard's read models to its head. Returns the number of events folded.

    Stops at the head found: later events wake a worker again, and following them here would add half as many folds.
    """
    folded = 0
    with suppress(CheckpointMoved):  # another worker is advancing this shard
        while advanced := await advance(ctx["pool"], PROJECTIONS, Shard(shard)):
            folded += advanced.events
            for parked in advanced.parked:
                _log.error("an event was parked: the read model is incomplete", parked=str(parked))
            await ctx["wakeups"].announce(advanced.shard, advanced.position)
            if advanced.caught_up:
                break
    return folded


@survive_outages
async def sweep(ctx: Context) -> int:
    """Project every shard that is behind. Safe to run in several workers. Returns the number of events folded."""
    shards = await shards_behind(ctx["pool"])
    folded = sum(await asyncio.gather(*(project(ctx, shard) for shard in shards)))
    for blocked in await read_blocked(ctx["pool"], PROJECTIONS) if shards else []:
        _log_blocked_once(str(blocked))
    return folded


@survive_outages
async def find_flips(ctx: Context) -> int:
    """Find flips up to the end of the log. Safe to run in several workers. Returns the number of events examined."""
    examined = 0
    try:
        while (events := await advance_flips(ctx["pool"])) is not None:
            examined += events
        for blocked in await read_flips_blocked(ctx["pool"]) if examined else []:
            _log_blocked_once(str(blocked))
    except (FrontierMoved, AppendInFlight, InTheFuture) as error:
        _log.info("flips not found yet; retrying", error=str(error))
    return examined


@lru_cache(1_000)
def _log_blocked_once(blocked: str) -> None:
    """Every sweep meets the same blocked read models; each is logged once per process."""
    _log.error("a read model is blocked", blocked=blocked)


@survive_outages
async def extend_partitions(ctx: Context) -> None:
    """Create partitions of events ahead of the heads."""
    await extend_events(ctx["pool"])


@survive_outages
async def adopt_due(ctx: Context) -> int:
    """Adopt rulebooks whose scheduled time has come. Safe to run in several workers. Returns the number of events appended."""
    now = datetime.now(UTC)
    try:
        if not await is_due(ctx["pool"], now):
            return 0
        decided = (await decide_adoption(ctx["pool"], TakeEffect(now), _WORKER)).decision
        await project(ctx, EDITORIAL)
    except UndecodableEvent as error:
        _log.error("a scheduled adoption cannot take effect", error=str(error))
        return 0
    return len(decided.recorded)


@survive_outages
async def run_replays(ctx: Context) -> int:
    """Resume every replay that is under way and run it to its end. Returns the number of replays."""
    try:
        running = [each for each in await read_replays(ctx["pool"]) if each.is_active]
        sealing = ctx.get("sealing")
        for each in running:
            await run(ctx["pool"], PROJECTIONS, each.id, sealing.store if sealing else None)
    except (SegmentError, NoSegments) as error:
        _log.error("a replay is paused", error=str(error))
        return 0
    except WrongReplayState as error:
        _log.warning("a replay was interrupted; it resumes from its checkpoint", error=str(error))
        return 0
    return len(running)


@survive_outages
async def begin_due_replay(ctx: Context) -> None:
    """Begin the next scheduled replay when its time has come."""
    with suppress(ReplayUnderWay):
        if every := ctx.get("replay_every"):
            await begin_next(ctx["pool"], PROJECTIONS, every)


@survive_outages
async def recount(ctx: Context) -> None:
    """Verify the least recently verified read model and shard against the log."""
    verified = await verify_next_shard(ctx["pool"], PROJECTIONS)
    if verified.drift:
        _log.error("a read model differs from the log", read_model=verified.projection, rows=verified.rows)


@survive_outages
async def seal_due(ctx: Context) -> int:
    """Seal the oldest segment that is due. Safe to run in several workers. Returns the number of segments written."""
    sealing, written = ctx.get("sealing"), 0
    if sealing is None:
        return 0
    try:
        for segment in (await find_due_segments(ctx["pool"], sealing.store, sealing.plan))[:_SEGMENTS_MAX]:
            if await seal_segment(ctx["pool"], sealing.store, segment, sealing.threads):
                _log.info("segment sealed", segment=str(segment), events=segment.count)
                written += 1
    except SegmentError as error:
        _log.error("history cannot be sealed", error=str(error))
    return written
