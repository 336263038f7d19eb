"""Replay jobs: the state of each rebuild, and the commands that change it. run.py does the work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID, uuid4

from asyncpg import Pool, Record, UniqueViolationError
from msgspec import Struct

from domain.shared.errors import Rejected, Unknown
from projections.engine.parked import delete_parked
from projections.engine.projection import Projection

# Where the sealed part of the log is read. The rest is always read from Postgres.
Source: TypeAlias = Literal["postgres", "segments"]
State: TypeAlias = Literal["running", "paused", "equal", "different", "cut-over", "rolled-back", "cancelled"]

RUNNING: State = "running"

# ``rate`` is measured from when the replay was last resumed.
READ_REPLAYS = """
SELECT r.id, r.projection, r.state, r.hold, r.source, r.started_at, r.ended_at, r.position, r.digest, r.replaces, r.drift,
       r.rows, r.reason, coalesce(p.done, 0)::bigint, coalesce(p.total, 0)::bigint,
       coalesce(p.recent / nullif(extract(epoch FROM p.last - r.resumed_at), 0), 0)::float8
  FROM replays AS r
  LEFT JOIN LATERAL (
       SELECT sum(upto - after) AS total, sum(upto - after) FILTER (WHERE folded_at IS NOT NULL) AS done,
              sum(upto - after) FILTER (WHERE folded_at >= r.resumed_at) AS recent, max(folded_at) AS last
         FROM replay_ranges WHERE replay = r.id) AS p ON true
 WHERE $1::uuid IS NULL OR r.id = $1
 ORDER BY r.started_at DESC LIMIT 100
"""
READ_LAST_STARTS = "SELECT projection, max(started_at) AS began FROM replays GROUP BY projection"
READ_STATE = "SELECT state FROM replays WHERE id = $1"
CREATE_REPLAY = "INSERT INTO replays (id, projection, hold, source) VALUES ($1, $2, $3, $4)"
CHANGE_STATE = """
UPDATE replays SET state = $2, resumed_at = CASE WHEN $2 = 'running' THEN clock_timestamp() ELSE resumed_at END
 WHERE id = $1 AND state = $3
RETURNING id
"""
CANCEL_REPLAY = """
UPDATE replays SET state = 'cancelled', ended_at = clock_timestamp() WHERE id = $1 AND ended_at IS NULL
RETURNING projection
"""
DELETE_CHECKPOINTS = "DELETE FROM checkpoints WHERE projection = $1"
FIND_UNFINISHED = "SELECT id FROM replays WHERE projection = $1 AND ended_at IS NULL"


class WrongReplayState(Rejected):
    """This replay is {state}: it cannot be {wanted}."""

    slug = "not-now"


class ReplayUnderWay(Rejected):
    """A replay of {projection} is under way already: {id}. Wait for it, or cancel it."""

    slug = "under-way"


class MaintainedByAppend(Rejected):
    """{projection} is updated by the append itself, so there is nothing to rebuild; verify compares it with the log."""

    slug = "kept-by-the-append"


class Replay(Struct, frozen=True):
    """``done`` and ``total`` count events, ``rate`` is events per second since the replay was last resumed.

    ``digest`` is the rebuilt version's, ``replaces`` the live version's, both at ``position``.
    """

    id: UUID
    projection: str
    state: State
    hold: bool
    source: Source
    started_at: datetime
    ended_at: datetime | None
    position: str | None
    digest: str | None
    replaces: str | None
    drift: int | None
    rows: list[str]
    reason: str | None
    done: int
    total: int
    rate: float

    @property
    def is_active(self) -> bool:
        """Whether a worker continues it without a command."""
        return self.state == RUNNING or (self.state == "equal" and not self.hold)

    @property
    def eta_seconds(self) -> float | None:
        """None before the first range is folded, and when it is not running."""
        return (self.total - self.done) / self.rate if self.rate and self.state == "running" else None


def find(projections: Sequence[Projection], name: str) -> Projection:
    """The read model to rebuild. Raises Unknown or MaintainedByAppend."""
    found = next((each for each in projections if each.name == name), None)
    if found is None:
        raise Unknown(kind="read model", name=name)
    if found.view is not None:
        raise MaintainedByAppend(projection=name)
    return found


async def begin(
    pool: Pool[Record], projection: Projection, *, hold: bool = False, source: Source = "postgres"
) -> UUID:
    """Create a replay and the empty table of its version. With ``hold`` it waits for the command to cut over."""
    fresh = uuid4()
    try:
        async with pool.acquire() as conn, conn.transaction():
            await conn.execute(CREATE_REPLAY, fresh, projection.name, hold, source)
            await conn.execute(projection.shadow.drop)
            await delete_parked(conn, projection.shadow.name)
            await conn.execute(projection.shadow.create)
    except UniqueViolationError:
        raise ReplayUnderWay(projection=projection.name, id=await find_unfinished(pool, projection)) from None
    return fresh


async def begin_next(pool: Pool[Record], projections: Sequence[Projection], every: timedelta) -> UUID | None:
    """Begin the replay of the read model whose last replay is oldest, unless any replay began within ``every``."""
    began = {row["projection"]: row["began"] for row in await pool.fetch(READ_LAST_STARTS)}
    never = datetime.min.replace(tzinfo=UTC)
    if max(began.values(), default=never) > datetime.now(UTC) - every:
        return None
    waiting = (each for each in projections if each.view is None)
    return await begin(pool, min(waiting, key=lambda each: began.get(each.name, never)))


async def find_unfinished(pool: Pool[Record], projection: Projection) -> UUID | None:
    found: UUID | None = await pool.fetchval(FIND_UNFINISHED, projection.name)
    return found


async def read_replays(pool: Pool[Record]) -> list[Replay]:
    """The newest hundred, newest first."""
    return [Replay(*row) for row in await pool.fetch(READ_REPLAYS, None)]


async def read_replay(pool: Pool[Record], id: UUID) -> Replay:
    row = await pool.fetchrow(READ_REPLAYS, id)
    if row is None:
        raise Unknown(kind="replay", name=str(id))
    return Replay(*row)


async def is_running(pool: Pool[Record], id: UUID) -> bool:
    return bool(await pool.fetchval(READ_STATE, id) == "running")


async def pause(pool: Pool[Record], id: UUID) -> None:
    """Ranges that are being folded are finished first."""
    await _change_state(pool, id, "running", "paused")


async def resume(pool: Pool[Record], id: UUID) -> None:
    await _change_state(pool, id, "paused", "running")


async def cancel(pool: Pool[Record], projections: Sequence[Projection], id: UUID) -> None:
    """Abandon the replay and drop its version. The live read model is not changed."""
    async with pool.acquire() as conn, conn.transaction():
        name = await conn.fetchval(CANCEL_REPLAY, id)
        if name is None:
            raise WrongReplayState(state=(await read_replay(pool, id)).state, wanted="cancelled")
        shadow = find(projections, name).shadow
        await conn.execute(DELETE_CHECKPOINTS, shadow.name)
        await delete_parked(conn, shadow.name)
        await conn.execute(shadow.drop)


async def _change_state(pool: Pool[Record], id: UUID, before: State, after: State) -> None:
    if await pool.fetchval(CHANGE_STATE, id, after, before) is None:
        raise WrongReplayState(state=(await read_replay(pool, id)).state, wanted=after)
