"""pgbench: the machine's limit for one durable insert per transaction."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import asyncpg

from benchmarks.limits import EQUAL_TABLE
from benchmarks.measured import Measured
from benchmarks.peers.database import Ran, new_database, stored
from benchmarks.peers.packages import NotHere
from benchmarks.peers.peer import Peer, Setting
from benchmarks.peers.processes import said
from eventstore.migrations import migrate
from services.embedded.binaries import POSTGRES, find_folder, server_account
from services.embedded.postgres import Postgres

INSERT = Path(__file__).with_suffix(".sql")
COUNTS = ("SELECT count(*) FROM equal_events",)


async def _prepare(postgres: Postgres) -> list[Setting]:
    program = find_folder(POSTGRES, server_account()) / "pgbench"
    if not program.exists():
        raise NotHere(f"no pgbench in {program.parent}")
    url = await new_database(postgres, "pgbench")
    conn = await asyncpg.connect(url)
    try:
        await migrate(conn)
        await conn.execute(EQUAL_TABLE)
    finally:
        await conn.close()
    return [
        Setting(f"prepared, {clients} clients", partial(_run, url, program, clients))
        for clients in (16, 32, 64)
    ]


async def _run(url: str, program: Path, clients: int, votes: int) -> Measured:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute("TRUNCATE equal_events")
    finally:
        await conn.close()
    return await stored(url, COUNTS, _inserted(url, program, clients, votes))


async def _inserted(url: str, program: Path, clients: int, votes: int) -> Ran:
    options = ["--no-vacuum", "--protocol=prepared", "--define=turn=0", f"--file={INSERT}"]
    load = [f"--client={clients}", "--jobs=2", f"--transactions={votes // clients}"]
    report = (await said([str(program), *options, *load, url], INSERT.parent, {})).decode()
    done = re.search(r"actually processed: (\d+)", report)
    rate = re.search(r"tps = ([\d.]+)", report)
    assert done is not None, report
    assert rate is not None, report
    return Ran(int(done[1]), float(rate[1]))


PEER = Peer("limit: pgbench, one durable insert a transaction", 20_000, _prepare)
