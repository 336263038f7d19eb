"""pgbench: the machine's limit for one durable INSERT per transaction."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import asyncpg

from benchmarks.limits import CREATE_EQUAL_TABLE
from benchmarks.measurement import Measurement
from benchmarks.peers.database import RunResult, check_stored, new_database
from benchmarks.peers.packages import Unavailable
from benchmarks.peers.peer import Peer, Setting
from benchmarks.peers.processes import output_of
from eventstore.migrations import migrate
from services.embedded.binaries import POSTGRES, find_folder, server_account
from services.embedded.postgres import Postgres

INSERT = Path(__file__).with_suffix(".sql")
COUNTS = ("SELECT count(*) FROM equal_events",)


async def _prepare(postgres: Postgres) -> list[Setting]:
    program = find_folder(POSTGRES, server_account()) / "pgbench"
    if not program.exists():
        raise Unavailable(f"no pgbench in {program.parent}")
    url = await new_database(postgres, "pgbench")
    conn = await asyncpg.connect(url)
    try:
        await migrate(conn)
        await conn.execute(CREATE_EQUAL_TABLE)
    finally:
        await conn.close()
    return [
        Setting(f"prepared, {clients} clients", partial(_run, url, program, clients))
        for clients in (16, 32, 64)
    ]


async def _run(url: str, program: Path, clients: int, votes: int) -> Measurement:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute("TRUNCATE equal_events")
    finally:
        await conn.close()
    return await check_stored(url, COUNTS, _insert(url, program, clients, votes))


async def _insert(url: str, program: Path, clients: int, votes: int) -> RunResult:
    options = ["--no-vacuum", "--protocol=prepared", "--define=turn=0", f"--file={INSERT}"]
    load = [f"--client={clients}", "--jobs=2", f"--transactions={votes // clients}"]
    report = (await output_of([str(program), *options, *load, url], INSERT.parent, {})).decode()
    done = re.search(r"actually processed: (\d+)", report)
    rate = re.search(r"tps = ([\d.]+)", report)
    assert done is not None, report
    assert rate is not None, report
    return RunResult(int(done[1]), float(rate[1]))


PEER = Peer("limit: pgbench, one durable INSERT per transaction", 20_000, _prepare)
