"""The flip log: every change of a verdict with its cause, its tables, and the reads of workers.

A flip is neither a sum over events nor a newest row, so no projection can fold it; advance.py does, in the order of the
log across shards.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeAlias

from asyncpg import Connection, Pool, Record

from domain.shared.log import EDITORIAL, Position, Shard
from domain.timeline.flips import Flip, LogOrder
from eventstore.roles import become_app
from eventstore.sql import read_sql
from projections.engine.install import READ_DEFINITIONS, WRITE_DEFINITION
from projections.engine.parked import AnyConnection, delete_parked
from projections.engine.snapshot import Freshness
from projections.engine.upcasting import upcasts_of

ConnectionOrPool: TypeAlias = "AnyConnection | Pool[Record]"

BEFORE_ALL = LogOrder(datetime.min.replace(tzinfo=UTC), EDITORIAL, 0)
AFTER_ALL = LogOrder(datetime.max.replace(tzinfo=UTC), Shard(2**15 - 1), 2**63 - 1)
NAME = "flips"
FAMILIES = (
    "RulebookAdopted",
    "RulebookWritten",
    "TakePublished",
    "TakeWithdrawn",
    "VoteCast",
    "VoteRetracted",
)
# Increase it when a change of the code changes the flips that are found: all are then found again.
VERSION = 1

# All rows are in the editorial shard, but for the frontier, which has a row for every shard: flips are found up to
# ``position``, votes are in verdict_timelines up to ``counted`` and in timeline_days up to ``dated``; the last event folded
# was recorded at ``recorded_at``.
CREATE_TABLES = read_sql(__file__, "tables")
# The last two are names of earlier definitions.
DROP_TABLES = """
DROP TABLE IF EXISTS read_models.flips, read_models.verdict_timelines, read_models.timeline_days,
                     read_models.flips_frontier, read_models.courses, read_models.course_days
"""
START_FRONTIER = "INSERT INTO flips_frontier (shard) SELECT shard FROM heads ORDER BY shard"
EMPTY_TABLES = (
    "DELETE FROM flips; DELETE FROM verdict_timelines; DELETE FROM timeline_days; DELETE FROM flips_frontier"
)

# With ties, so that a reader that continues after the last flip has seen all flips of that event: an adoption flips many tools.
READ_FLIPS_AFTER = """
SELECT * FROM (
    SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
     WHERE shard = 0 AND (recorded_at, cause_shard, cause_position) > ($1, $2, $3)
     ORDER BY recorded_at, cause_shard, cause_position FETCH FIRST $4 ROWS WITH TIES) AS next
 ORDER BY recorded_at, cause_shard, cause_position, tool
"""
READ_FRONTIER = """
SELECT f.shard, f.position, f.recorded_at,
       CASE WHEN f.position < h.position THEN
            (SELECT extract(epoch FROM clock_timestamp() - e.recorded_at) * 1000
               FROM events AS e WHERE e.shard = f.shard AND e.position = f.position + 1)
       END::bigint AS lag_ms,
       (SELECT count(*) FROM parked_events AS p WHERE p.shard = f.shard AND p.projection = 'flips') AS parked
  FROM flips_frontier AS f JOIN heads AS h USING (shard)
 ORDER BY f.shard
"""


async def install_flips(conn: Connection[Record]) -> list[str]:
    """Create the tables again if their definition changed. Returns the names of the read models that were reset."""
    known = {row[0]: row[1] for row in await conn.fetch(READ_DEFINITIONS)}
    if known.get(NAME) == definition():
        return []
    async with conn.transaction():
        await become_app(conn, locally=True)
        await conn.execute("SET LOCAL search_path = public, read_models")
        await conn.execute(DROP_TABLES)
        await conn.execute(CREATE_TABLES)
        await begin(conn)
        await conn.execute(WRITE_DEFINITION, NAME, definition())
    return [NAME]


def definition() -> str:
    """A digest of the tables, the version, and the upcasts through which events are read."""
    return sha256(f"{VERSION} {CREATE_TABLES}".encode() + upcasts_of(FAMILIES)).hexdigest()


async def begin(conn: AnyConnection) -> None:
    """Empty the flip log and start before the first event. Cursors that readers hold stay valid."""
    await conn.execute(EMPTY_TABLES)
    await conn.execute(START_FRONTIER)
    await delete_parked(conn, NAME)


async def flips_after(conn: ConnectionOrPool, order: LogOrder | None, limit: int) -> list[Flip]:
    """In the order of the log: ``limit`` flips, and those with the same cause as the last of them."""
    after = order or BEFORE_ALL
    rows = await conn.fetch(READ_FLIPS_AFTER, after.recorded_at, after.shard, after.number, limit)
    return [flip_of(row) for row in rows]


def flip_of(row: Record) -> Flip:
    order = LogOrder(row["recorded_at"], Shard(row["cause_shard"]), row["cause_position"])
    return Flip(row["tool"], row["before"], row["after"], order, row["event"], row["rulebook"])


async def read_frontier(conn: ConnectionOrPool) -> Freshness:
    """The positions up to which all flips are known."""
    rows = await conn.fetch(READ_FRONTIER)
    positions = tuple(Position(Shard(row["shard"]), row["position"]) for row in rows)
    lag_ms = max((row["lag_ms"] or 0 for row in rows), default=0)
    return Freshness(positions, lag_ms, sum(row["parked"] for row in rows))
