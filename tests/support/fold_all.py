"""A process that folds a whole log in batches of a given size, while other processes do the same. Prints nothing."""

from __future__ import annotations

import asyncio
import sys

from projections.engine.advance import CheckpointMoved, advance, shards_behind
from projections.engine.registry import PROJECTIONS
from services.resources import open_pool
from services.settings import Settings


async def main(database_url: str, batch: int) -> None:
    async with await open_pool(
        Settings(database_url=database_url, secret=b"not needed, but there must be one"), size=2
    ) as pool:
        while shards := await shards_behind(pool):
            for shard in shards:
                try:
                    await advance(pool, PROJECTIONS, shard, batch=batch)
                except CheckpointMoved:
                    continue


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
