"""Emmett: each call appends one event to a new stream, from Node."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.measurement import Measurement
from benchmarks.peers.database import check_stored, new_database
from benchmarks.peers.packages import node, version
from benchmarks.peers.peer import Peer, Setting
from benchmarks.peers.processes import run_json
from services.embedded.postgres import Postgres

COUNTS = ("SELECT count(*) FROM emt_messages", "SELECT count(*) FROM emt_streams")


async def _prepare(postgres: Postgres) -> list[Setting]:
    home = node()
    url = await new_database(postgres, "emmett")
    await run_json(["node", "emmett_votes.mjs", "0", "1"], home, {"DATABASE_URL": url})
    versions = ", ".join(version(name) for name in ("@event-driven-io/emmett-postgresql", "pg"))
    return [
        Setting(f"{versions}; pool of {callers}, as many concurrent calls", partial(_run, url, home, callers))
        for callers in (4, 16, 32)
    ]


async def _run(url: str, home: Path, callers: int, votes: int) -> Measurement:
    command = ["node", "emmett_votes.mjs", str(votes), str(callers)]
    return await check_stored(url, COUNTS, run_json(command, home, {"DATABASE_URL": url}))


PEER = Peer("peer: Emmett, one event per call", 3_000, _prepare)
