"""The library eventsourcing: a ballot is an aggregate, saved alone or in batches of 100."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from benchmarks.measurement import Measurement
from benchmarks.peers.database import check_stored, new_database
from benchmarks.peers.packages import PYTHON, python, version
from benchmarks.peers.peer import Peer, Setting
from benchmarks.peers.processes import run_json
from services.embedded.postgres import Postgres

COUNTS = ("SELECT count(*) FROM ballots_events", "SELECT count(DISTINCT originator_id) FROM ballots_events")
THREADS = (1, 4, 16)


async def _prepare(each: int, postgres: Postgres) -> list[Setting]:
    """Settings with and without the library's database functions, which are off by default."""
    interpreter = python()
    url = await new_database(postgres, f"eventsourcing_{each}")
    await run_json([interpreter, "eventsourcing_votes.py", "0", "1", "1"], PYTHON, _environment(url, "no"))
    versions = ", ".join(version(name) for name in ("eventsourcing", "psycopg"))
    return [
        Setting(
            f"{versions}; {threads} threads, database functions: {functions}",
            partial(_run, url, interpreter, each, threads, functions),
        )
        for functions in ("no", "yes")
        for threads in THREADS
    ]


async def _run(
    url: str, interpreter: str, each: int, threads: int, functions: str, votes: int
) -> Measurement:
    command = [interpreter, "eventsourcing_votes.py", str(votes), str(each), str(threads)]
    return await check_stored(url, COUNTS, run_json(command, PYTHON, _environment(url, functions)))


def _environment(url: str, functions: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.strip("/"),
        "POSTGRES_HOST": str(parts.hostname),
        "POSTGRES_PORT": str(parts.port),
        "POSTGRES_USER": str(parts.username),
        "POSTGRES_PASSWORD": str(parts.password),
        "POSTGRES_POOL_SIZE": str(max(THREADS)),
        "POSTGRES_ENABLE_DB_FUNCTIONS": functions,
    }


PEERS = (
    Peer("peer: eventsourcing, one ballot per save", 1_500, partial(_prepare, 1)),
    Peer("peer: eventsourcing, 100 ballots per save", 12_000, partial(_prepare, 100)),
)
