"""A past: casts with times of their own, appended to a shard whose events are all older."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple, TypeAlias
from uuid import UUID

from asyncpg import Pool, Record
from asyncpg.pool import PoolConnectionProxy
from msgspec import Struct

from domain.shared.log import Shard
from domain.voting import votes
from domain.voting.votes import Ballot, Cast
from eventstore.cast_batch import Kind

LOCK_HEAD = "SELECT position, recorded_at FROM heads WHERE shard = $1 FOR NO KEY UPDATE"
MOVE_HEAD = "UPDATE heads SET position = $2, recorded_at = $3 WHERE shard = $1"
READ_BALLOTS = """
SELECT s.kind, s.actor, s.tool, coalesce(s.id, e.id) AS id, s.choice, s.position, e.recorded_at, e.id AS event_id
  FROM unnest($2::text[], $3::uuid[], $4::int[]) AS c (kind, actor, tool)
  JOIN standings AS s ON s.shard = $1 AND s.kind = c.kind::"char" AND s.actor = c.actor AND s.tool = c.tool
  LEFT JOIN events AS e ON e.shard = s.shard AND e.position = s.position
"""
WRITE_BALLOTS = """
INSERT INTO standings (shard, kind, actor, tool, id, choice, position)
SELECT $1, kind::"char", actor, tool, id, choice, position
  FROM unnest($2::text[], $3::uuid[], $4::int[], $5::uuid[], $6::text[], $7::bigint[])
       AS b (kind, actor, tool, id, choice, position)
ON CONFLICT (shard, kind, actor, tool)
DO UPDATE SET id = excluded.id, choice = excluded.choice, position = excluded.position
"""
HAS_SAMPLE_VOTES = """
SELECT EXISTS (SELECT FROM heads AS h JOIN events AS e ON e.shard = h.shard AND e.position = 1
                WHERE h.shard > 0 AND e.origin = $1)
"""
EVENT_COLUMNS = (
    *("shard", "position", "recorded_at", "type", "tool", "actor", "choice", "replaced", "id", "origin"),
    "replaced_at",
)
EVENT_TYPES = {
    ("v", True): "VoteCast",
    ("v", False): "VoteRetracted",
    ("b", True): "BookmarkSaved",
    ("b", False): "BookmarkDropped",
}

SAMPLE = "sample"  # the source of the events that `shiplog up` fills an empty log with

Connection: TypeAlias = "PoolConnectionProxy[Record]"


class PastCast(Struct, frozen=True):
    """A vote ('v') or a bookmark ('b') of an earlier time; ``choice`` None takes it back."""

    at: datetime
    kind: Kind
    actor: UUID
    tool: int
    choice: str | None
    id: UUID
    source: str


class BallotKey(NamedTuple):
    kind: Kind
    actor: UUID
    tool: int


class StoredBallot(Struct, frozen=True):
    """A ballot, the position of the event that set its choice (0 for none), and that event's time and id."""

    ballot: Ballot = votes.BLANK
    position: int = 0
    since: datetime | None = None
    event_id: UUID | None = None


class HistoryOutOfOrder(Exception):
    """A cast is older than the event before it: casts come in the order of time, after all events of their shard."""


async def append_history(conn: Connection, shard: Shard, casts: Sequence[PastCast]) -> int:
    """Append casts in this order, in one transaction. Returns the number of events. Raises HistoryOutOfOrder."""
    async with conn.transaction():
        (head,) = await conn.fetch(LOCK_HEAD, shard)
        _check_order([head["recorded_at"], *(cast.at for cast in casts)])
        ballots = await _read_ballots(conn, shard, casts)
        events = list(_fold(shard, head["position"], casts, ballots))
        if events:
            await conn.copy_records_to_table("events", records=events, columns=EVENT_COLUMNS)
            await conn.execute(MOVE_HEAD, shard, events[-1][1], events[-1][2])
        await _write_ballots(conn, shard, ballots)
        return len(events)


async def has_sample_votes(pool: Pool[Record]) -> bool:
    """Whether the voters' shards begin with votes of the sample: it goes into an empty log alone."""
    return bool(await pool.fetchval(HAS_SAMPLE_VOTES, SAMPLE))


def _check_order(times: Sequence[datetime]) -> None:
    for before, after in pairwise(times):
        if after < before:
            raise HistoryOutOfOrder(
                f"A vote of {after.isoformat()} comes after an event of {before.isoformat()}."
            )


def _fold(
    shard: Shard, position: int, casts: Sequence[PastCast], ballots: dict[BallotKey, StoredBallot]
) -> Iterator[tuple[object, ...]]:
    """The rows of the casts that change their ballots; leaves ``ballots`` as they are after the last cast."""
    for cast in casts:
        key = BallotKey(cast.kind, cast.actor, cast.tool)
        before = ballots.get(key, StoredBallot())
        ballot = votes.evolve(before.ballot, Cast(cast.id, cast.choice))
        if ballot.choice == before.ballot.choice:
            ballots[key] = StoredBallot(ballot, before.position, before.since, before.event_id)
            continue
        position += 1
        ballots[key] = StoredBallot(ballot, position, cast.at, cast.id)
        kind = EVENT_TYPES[cast.kind, cast.choice is not None]
        replaced, since = before.ballot.choice, before.since if before.ballot.choice else None
        yield (
            *(
                shard,
                position,
                cast.at,
                kind,
                cast.tool,
                cast.actor,
                cast.choice,
                replaced,
                cast.id,
                cast.source,
            ),
            since,
        )


async def _read_ballots(
    conn: Connection, shard: Shard, casts: Sequence[PastCast]
) -> dict[BallotKey, StoredBallot]:
    keys = {BallotKey(cast.kind, cast.actor, cast.tool) for cast in casts}
    rows = await conn.fetch(READ_BALLOTS, shard, *_columns(list(keys), 3))
    return {
        BallotKey(row["kind"].decode(), row["actor"], row["tool"]): StoredBallot(
            Ballot(row["id"], row["choice"]), row["position"], row["recorded_at"], row["event_id"]
        )
        for row in rows
    }


async def _write_ballots(conn: Connection, shard: Shard, ballots: dict[BallotKey, StoredBallot]) -> None:
    """An id that equals the id of the ballot's event is stored as null."""
    rows = [
        (
            *key,
            None if stored.ballot.id == stored.event_id else stored.ballot.id,
            stored.ballot.choice,
            stored.position,
        )
        for key, stored in ballots.items()
    ]
    await conn.execute(WRITE_BALLOTS, shard, *_columns(rows, 6))


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
