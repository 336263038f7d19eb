"""Importing histories: whatever the packing, once however often it is sent, and bad lines named."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from domain.shared.log import shard_of
from eventstore.casts import PendingCast, append_casts
from eventstore.ids import mint
from services.auth.identity import Identity
from services.cli.commands.sample import load_sample
from services.embedded.postgres import Postgres
from services.ingest.decompression import zstd
from services.resources import open_pool
from services.settings import Settings
from tests.integration.conftest import fresh_database
from tests.support.stage import Log, catch_up

LONG_AGO = 1_600_000_000
TOOLS = ("uv", "zed", "neovim")
VOTES_STORED = "SELECT coalesce(sum(position), 0)::int FROM heads WHERE shard > 0"
STANDINGS = """
SELECT s.actor, s.tool, s.choice, coalesce(s.id, e.id) AS id
  FROM standings AS s LEFT JOIN events AS e USING (shard, position) WHERE s.kind = 'v' ORDER BY 1, 2
"""
TALLIES = "SELECT tool, sum(ship)::int, sum(skip)::int FROM read_models.tally GROUP BY tool ORDER BY tool"
GAPLESS = "SELECT bool_and(count = max) FROM (SELECT count(*), max(position) FROM events GROUP BY shard)"


@dataclass(frozen=True)
class LogOrder:
    """A log with the sample catalogue, and a folder for files."""

    settings: Settings
    log: Log
    folder: Path

    def file(self, lines: Sequence[str], name: str = "votes.ndjson") -> Path:
        path = self.folder / name
        path.write_text("\n".join(lines))
        os.utime(path, (LONG_AGO, LONG_AGO))
        return path

    async def start(self, *arguments: str | Path, stdin: int | None = None) -> Process:
        command = [sys.executable, "-m", "services.cli", "import", *map(str, arguments)]
        ours = {
            "DATABASE_URL": self.settings.database_url,
            "SHIPLOG_SECRET": self.settings.secret.decode(),
        }
        environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"} | ours
        return await asyncio.create_subprocess_exec(
            *command, stdin=stdin, stdout=PIPE, stderr=PIPE, env=environment
        )

    async def run(self, *arguments: str | Path, sent: bytes | None = None) -> Ended:
        process = await self.start(*arguments, stdin=PIPE if sent is not None else None)
        out, said = await process.communicate(sent)
        return Ended(process.returncode or 0, out.decode(), said.decode())

    async def imported(self, *arguments: str | Path, sent: bytes | None = None) -> dict[str, Any]:
        """The answer for scripts of an import that came to an end."""
        ended = await self.run(*arguments, "--json", sent=sent)
        assert ended.status in (0, 1), ended.said
        return json.loads(ended.out)  # type: ignore[no-any-return]

    async def stored(self) -> int:
        return int(await self.log.fetchval(VOTES_STORED))

    async def contents(self) -> list[Any]:
        """What stands, and the tallies."""
        await catch_up(self.log)
        return [await self.log.fetch(STANDINGS), await self.log.fetch(TALLIES)]


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    said: str


@pytest.fixture
async def place(settings: Settings, pool: Log, tmp_path: Path) -> LogOrder:
    await load_sample(settings, pool)
    return LogOrder(settings, pool, tmp_path)


@pytest.fixture
async def other(
    postgres: Postgres, template: str, settings: Settings, tmp_path: Path
) -> AsyncIterator[LogOrder]:
    """A second log with the same secret."""
    async with fresh_database(postgres, template, "other") as fresh:
        same = Settings(database_url=fresh.database_url, secret=settings.secret)
        async with await open_pool(same) as log:
            await load_sample(same, log)
            yield LogOrder(same, log, tmp_path)


def line(voter: object, choice: str = "ship", tool: str = "uv", **more: object) -> str:
    return json.dumps({"tool": tool, "choice": choice, "voter": f"v{voter}", **more})


def with_ids(voters: int) -> list[str]:
    return [line(voter, id=str(uuid7())) for voter in range(voters)]


def history(votes: int, voters: int, seed: int = 7) -> list[str]:
    """Voters who vote again and change their minds; no ids."""
    rng = Random(seed)
    return [
        line(rng.randrange(voters), rng.choice(["ship", "skip"]), rng.choice(TOOLS)) for _ in range(votes)
    ]


async def vote_live(place: LogOrder, voter: str, choice: str) -> None:
    actor = Identity(place.settings, place.log).pseudonym("voter", voter.encode())
    tool = await place.log.fetchval("SELECT tool FROM slugs WHERE slug = 'uv'")
    async with place.log.acquire() as conn:
        await append_casts(conn, shard_of(actor, 3), [PendingCast("v", actor, tool, choice, mint(), "web")])


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
async def test_a_history_is_imported_whatever_its_packing(place: LogOrder, pack: Any, piped: bool) -> None:
    path = place.file([])
    path.write_bytes(packed := pack("\n".join(with_ids(500)).encode()))
    answer = await (place.imported("votes", "-", sent=packed) if piped else place.imported("votes", path))
    assert (answer["received"], answer["counted"], answer["ended"]) == (500, 500, "complete")
    assert answer["seconds"] > 0
    assert answer["rate"] > 0
    assert await place.stored() == 500
    assert await place.log.fetchval("SELECT count(*) FROM events WHERE origin = 'import'") == 500


async def test_the_subcommand_may_be_left_out(place: LogOrder) -> None:
    assert (await place.imported(place.file(with_ids(3))))["counted"] == 3


@pytest.mark.parametrize("lines", [with_ids(300), history(3_000, 60)], ids=["with ids", "without ids"])
async def test_the_same_file_again_changes_nothing(place: LogOrder, lines: list[str]) -> None:
    path = place.file(lines)
    first = await place.imported("votes", path)
    stored, contents = await place.stored(), await place.contents()
    second = await place.imported("votes", path)
    assert (first["received"], second["received"]) == (len(lines), len(lines))
    assert first["rejected_total"] == second["rejected_total"] == 0
    assert (await place.stored(), await place.contents()) == (stored, contents)
    assert await place.log.fetchval(GAPLESS)


async def test_who_changed_their_mind_in_the_file_is_taken_at_their_last_word(place: LogOrder) -> None:
    path = place.file([line("a", choice) for choice in ("ship", "skip", "ship", "skip")])
    assert (await place.imported("votes", path))["counted"] == 4
    assert [row["choice"] for row in await place.log.fetch(STANDINGS)] == ["skip"]
    again = await place.imported("votes", path)
    assert (again["counted"], again["superseded"], await place.stored()) == (1, 3, 4)


async def test_votes_cast_after_the_files_time_win_and_older_ones_lose(place: LogOrder) -> None:
    path = place.file([line("a", "ship")])
    await vote_live(place, "va", "skip")
    assert (await place.imported("votes", path))["superseded"] == 1
    assert [row["choice"] for row in await place.log.fetch(STANDINGS)] == ["skip"]
    await asyncio.to_thread(os.utime, path)
    assert (await place.imported("votes", path))["counted"] == 1
    assert [row["choice"] for row in await place.log.fetch(STANDINGS)] == ["ship"]


async def test_a_pipe_may_be_sent_again_with_its_time(place: LogOrder) -> None:
    sent = "\n".join(history(200, 20)).encode()
    first = await place.run("votes", "-", "--json", sent=sent)
    at = json.loads(first.out)["at"]
    assert f"--at {at}" in first.said
    stored = await place.stored()
    assert (await place.imported("votes", "-", "--at", at, sent=sent))["at"] == at
    assert await place.stored() == stored


async def test_bad_lines_are_named_and_written_down(place: LogOrder) -> None:
    bad = {
        1: "{broken",
        40: line(1, tool="nothing-like-it"),
        41: "",
        300: line(1, "perhaps"),
        301: line(1, id="00000000-0000-0000-0000-000000000000"),
        500: line("x" * 200),
    }
    path, rejected = (
        place.file([bad.get(n, line(n)) for n in range(1, 501)]),
        place.folder / "rejected.ndjson",
    )
    ended = await place.run("votes", path, "--rejected", rejected, "--json")
    answer = json.loads(ended.out)
    assert (ended.status, answer["counted"], answer["rejected_total"]) == (1, 494, 6)
    assert [each["line"] for each in answer["rejected"]] == sorted(bad)
    assert [json.loads(each) for each in rejected.read_text().splitlines()] == answer["rejected"]


async def test_one_bad_line_in_ten_thousand(place: LogOrder) -> None:
    lines = [line(n) for n in range(10_000)]
    lines[6_543] = "nonsense"
    ended = await place.run("votes", place.file(lines))
    assert ended.status == 1
    assert "9,999 counted" in ended.out
    assert "line 6544:" in ended.said
    assert await place.stored() == 9_999


async def test_all_bad_lines_are_written_and_a_hundred_told(place: LogOrder) -> None:
    rejected = place.folder / "rejected.ndjson"
    answer = await place.imported("votes", place.file(["nonsense"] * 250), "--rejected", rejected)
    assert (answer["rejected_total"], len(answer["rejected"])) == (250, 100)
    assert len(rejected.read_text().splitlines()) == 250


async def test_killed_in_the_middle_and_sent_again_is_what_one_run_gives(
    place: LogOrder, other: LogOrder
) -> None:
    path = place.file(history(60_000, 20_000))
    process = await place.start("votes", path)
    while await place.stored() < 1_000:
        pass
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    killed_at = await place.stored()
    await place.imported("votes", path)
    await other.imported("votes", path)
    assert await place.contents() == await other.contents()
    assert killed_at < await place.stored() == await other.stored()
    assert await place.log.fetchval(GAPLESS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_it_cleanly(place: LogOrder, number: signal.Signals) -> None:
    """It waits for more that never comes, and says how far it got."""
    process = await place.start("votes", "-", "--at", "2020-01-01T00:00:00Z", "--json", stdin=PIPE)
    assert process.stdin is not None
    process.stdin.write("".join(line(n) + "\n" for n in range(15_000)).encode())
    await process.stdin.drain()
    while await place.stored() == 0:
        pass
    process.send_signal(number)
    out, said = await process.communicate()
    answer = json.loads(out)
    assert (process.returncode, answer["ended"]) == (128 + number, "stopped")
    assert answer["received"] == answer["counted"] == await place.stored() > 0
    assert f"Stopped after line {answer['received']:,}" in said.decode()
    assert f"--at {answer['at']}" in said.decode()


async def test_a_file_cut_short_is_stored_as_far_as_it_goes(place: LogOrder) -> None:
    path = place.file([])
    path.write_bytes(gzip.compress("\n".join(with_ids(2_000)).encode())[:-3_000])
    ended = await place.run("votes", path, "--json")
    answer = json.loads(ended.out)
    assert (ended.status, answer["ended"]) == (1, "damaged")
    assert 0 < answer["counted"] == await place.stored() < 2_000


@pytest.mark.parametrize(
    "arguments",
    [
        ["votes", "no-such-file"],
        ["votes"],
        ["votes", "FILE", "--at", "yesterday"],
        ["votes", "FILE", "--at", "2020-01-01T00:00:00"],
        ["votes", "FILE", "--at", "2999-01-01T00:00:00Z"],
        ["votes", "FILE", "--rejected", "FILE"],
    ],
    ids=["no file", "nothing", "no time", "no zone", "the future", "overwriting"],
)
async def test_used_wrongly(place: LogOrder, arguments: list[str]) -> None:
    path = str(place.file(with_ids(1)))
    ended = await place.run(*[path if word == "FILE" else word for word in arguments])
    assert (ended.status, ended.out) == (2, "")
    assert await place.stored() == 0


async def test_nothing_is_an_import_too(place: LogOrder) -> None:
    assert (await place.imported("votes", os.devnull))["received"] == 0
