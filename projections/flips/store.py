"""Flips: the log of verdicts that changed, each with its cause. Its tables, and what is read of it.

A flip is no sum over events and no newest row, so flip_engine.py folds them, in the log's own order across shards.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeAlias

from asyncpg import Connection, Pool, Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import EDITORIAL, Position, Shard
from domain.timeline.flips import Flip, LogOrder
from projections.engine.install import READ_DEFINITIONS, WRITE_DEFINITION
from projections.engine.parked import delete_parked
from projections.engine.snapshot import Freshness
from projections.engine.upcasting import upcasts_of

Writing: TypeAlias = "Connection[Record] | PoolConnectionProxy[Record]"
Reading: TypeAlias = "Writing | Pool[Record]"

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
# What flips are changes with the code that finds them: count this up, and they are found anew.
VERSION = 1

# All in the house's shard, but the frontier, which has a row for every shard: its flips are found up to ``position``,
# and votes are in ``courses`` up to ``counted``, in ``course_days`` up to ``dated``. The last event was at recorded_at.
TABLES = """
CREATE TABLE read_models.flips (
    shard           smallint     NOT NULL,
    recorded_at     timestamptz  NOT NULL,
    cause_shard     smallint     NOT NULL,
    cause_position  bigint       NOT NULL,
    tool            integer      NOT NULL,
    event           text         NOT NULL,
    before          text         NOT NULL,
    after           text         NOT NULL,
    rulebook        text         NOT NULL,
    PRIMARY KEY (shard, recorded_at, cause_shard, cause_position, tool)
);
CREATE INDEX ON read_models.flips (shard, tool, recorded_at, cause_shard, cause_position);
CREATE TABLE read_models.courses (
    shard           smallint     NOT NULL,
    tool            integer      NOT NULL,
    label           text         NOT NULL DEFAULT 'Unreviewed',
    ship            bigint       NOT NULL DEFAULT 0,
    skip            bigint       NOT NULL DEFAULT 0,
    today           integer,
    takes           jsonb        NOT NULL DEFAULT '[]',
    first_day       integer,
    aged_count      bigint,
    aged_ship       numeric,
    aged_skip       numeric,
    PRIMARY KEY (shard, tool)
) WITH (fillfactor = 70);
CREATE TABLE read_models.course_days (
    shard           smallint     NOT NULL,
    tool            integer      NOT NULL,
    day             integer      NOT NULL,
    ship            bigint       NOT NULL,
    skip            bigint       NOT NULL,
    PRIMARY KEY (shard, tool, day)
) WITH (fillfactor = 70);
CREATE TABLE read_models.flips_frontier (
    shard           smallint     PRIMARY KEY,
    position        bigint       NOT NULL DEFAULT 0,
    counted         bigint       NOT NULL DEFAULT 0,
    dated           bigint       NOT NULL DEFAULT 0,
    recorded_at     timestamptz  NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 10);
"""
DROP = "DROP TABLE IF EXISTS read_models.flips, read_models.courses, read_models.course_days, read_models.flips_frontier"
BEGIN = "INSERT INTO flips_frontier (shard) SELECT shard FROM heads ORDER BY shard"
EMPTY = "DELETE FROM flips; DELETE FROM courses; DELETE FROM course_days; DELETE FROM flips_frontier"

# With ties: whoever goes on from a place has seen every flip at it. One adoption flips many tools, in their order.
AFTER = """
SELECT * FROM (
    SELECT tool, before, after, recorded_at, cause_shard, cause_position, event, rulebook FROM flips
     WHERE shard = 0 AND (recorded_at, cause_shard, cause_position) > ($1, $2, $3)
     ORDER BY recorded_at, cause_shard, cause_position FETCH FIRST $4 ROWS WITH TIES) AS next
 ORDER BY recorded_at, cause_shard, cause_position, tool
"""
FRONTIER = """
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
    """Create the tables; drop and start again those of another definition. Returns what starts from position 0."""
    known = {row[0]: row[1] for row in await conn.fetch(READ_DEFINITIONS)}
    if known.get(NAME) == definition():
        return []
    async with conn.transaction():
        await conn.execute("SET LOCAL ROLE shiplog_app; SET LOCAL search_path = public, read_models")
        await conn.execute(DROP)
        await conn.execute(TABLES)
        await begin(conn)
        await conn.execute(WRITE_DEFINITION, NAME, definition())
    return [NAME]


def definition() -> str:
    """A digest: of the tables, of the version, and of the upcasts through which events are read."""
    return sha256(f"{VERSION} {TABLES}".encode() + upcasts_of(FAMILIES)).hexdigest()


async def begin(conn: Writing) -> None:
    """With nothing found, before the first event. Whoever has been told of flips keeps a place of their own."""
    await conn.execute(EMPTY)
    await conn.execute(BEGIN)
    await delete_parked(conn, NAME)


async def flips_after(conn: Reading, place: LogOrder | None, limit: int) -> list[Flip]:
    """In the log's order: so many, and those that have their cause with the last of them."""
    at = place or BEFORE_ALL
    rows = await conn.fetch(AFTER, at.recorded_at, at.shard, at.number, limit)
    return [flip_of(row) for row in rows]


def flip_of(row: Record) -> Flip:
    place = LogOrder(row["recorded_at"], Shard(row["cause_shard"]), row["cause_position"])
    return Flip(row["tool"], row["before"], row["after"], place, row["event"], row["rulebook"])


async def read_frontier(conn: Reading) -> Freshness:
    """Up to where all flips are known."""
    rows = await conn.fetch(FRONTIER)
    positions = tuple(Position(Shard(row["shard"]), row["position"]) for row in rows)
    lag_ms = max((row["lag_ms"] or 0 for row in rows), default=0)
    return Freshness(positions, lag_ms, sum(row["parked"] for row in rows))
