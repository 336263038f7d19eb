"""Emmett: one event to a new stream per call, from Node."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.measured import Measured
from benchmarks.peers.database import new_database, stored
from benchmarks.peers.packages import node, version
from benchmarks.peers.peer import Peer, Setting
from benchmarks.peers.processes import ran
from services.embedded.postgres import Postgres

COUNTS = ("SELECT count(*) FROM emt_messages", "SELECT count(*) FROM emt_streams")


async def _prepare(postgres: Postgres) -> list[Setting]:
    home = node()
    url = await new_database(postgres, "emmett")
    await ran(["node", "emmett_votes.mjs", "0", "1"], home, {"DATABASE_URL": url})
    words = ", ".join(version(name) for name in ("@event-driven-io/emmett-postgresql", "pg"))
    return [
        Setting(f"{words}; pool of {callers}, as many calls at a time", partial(_run, url, home, callers))
        for callers in (4, 16, 32)
    ]


async def _run(url: str, home: Path, callers: int, votes: int) -> Measured:
    command = ["node", "emmett_votes.mjs", str(votes), str(callers)]
    return await stored(url, COUNTS, ran(command, home, {"DATABASE_URL": url}))


PEER = Peer("peer: Emmett, one event a call", 3_000, _prepare)
