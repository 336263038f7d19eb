"""The advance lock of a shard: while a transaction holds it, no other can move the shard's checkpoints.

A worker takes it to advance read models, a replay to compare or swap two versions of one. It is an advisory lock that is
released when the transaction ends. A transaction that needs several takes them in the order of the shards.
"""

from __future__ import annotations

from asyncpg import Record
from asyncpg.pool import PoolConnectionProxy

from domain.shared.log import Shard

KEY = "hashtext('shiplog advance')"
TRY_LOCK = f"pg_try_advisory_xact_lock({KEY}, $1)"
LOCK_SHARD = f"SELECT pg_advisory_xact_lock({KEY}, $1)"
LOCK_ALL_SHARDS = (
    f"SELECT pg_advisory_xact_lock({KEY}, shard) FROM (SELECT shard FROM heads ORDER BY shard) AS h"
)


async def lock_advance(conn: PoolConnectionProxy[Record], shard: Shard) -> None:
    await conn.execute(LOCK_SHARD, shard)


async def lock_all_advances(conn: PoolConnectionProxy[Record]) -> None:
    await conn.execute(LOCK_ALL_SHARDS)
