"""`shiplog import`: every encoding, idempotent, and rejected lines are reported."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner
from uuid_utils.compat import uuid7

from domain.shared.log import shard_of
from eventstore.casts import PendingCast, append_casts
from eventstore.ids import mint
from eventstore.tool_directory import DirectoryEntry, ToolDirectory
from services.auth.identity import Identity
from services.cli.main import shiplog
from services.cli.sample.load import load_sample
from services.embedded.postgres import Postgres
from services.ingest.bulk import BulkCommits, BulkIngest
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
class ImportTarget:
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

    async def run(self, *arguments: str | Path, stdin: bytes | None = None) -> CommandResult:
        process = await self.start(*arguments, stdin=PIPE if stdin is not None else None)
        out, err = await process.communicate(stdin)
        return CommandResult(process.returncode or 0, out.decode(), err.decode())

    async def imported(self, *arguments: str | Path, stdin: bytes | None = None) -> dict[str, Any]:
        """The JSON of an import that ran to its end."""
        ended = await self.run(*arguments, "--json", stdin=stdin)
        assert ended.status in (0, 1), ended.err
        return json.loads(ended.out)  # type: ignore[no-any-return]

    async def stored(self) -> int:
        return int(await self.log.fetchval(VOTES_STORED))

    async def contents(self) -> list[Any]:
        """Ballots and tallies."""
        await catch_up(self.log)
        return [await self.log.fetch(STANDINGS), await self.log.fetch(TALLIES)]


@dataclass(frozen=True)
class CommandResult:
    status: int
    out: str
    err: str


@pytest.fixture
async def target(settings: Settings, pool: Log, tmp_path: Path) -> ImportTarget:
    await load_sample(settings, pool, with_votes=False)
    return ImportTarget(settings, pool, tmp_path)


@pytest.fixture
async def other(
    postgres: Postgres, template: str, settings: Settings, tmp_path: Path
) -> AsyncIterator[ImportTarget]:
    """A second log with the same secret."""
    async with fresh_database(postgres, template, "other") as fresh:
        same = Settings(database_url=fresh.database_url, secret=settings.secret)
        async with await open_pool(same) as log:
            await load_sample(same, log, with_votes=False)
            yield ImportTarget(same, log, tmp_path)


def line(voter: object, choice: str = "ship", tool: str = "uv", **more: object) -> str:
    return json.dumps({"tool": tool, "choice": choice, "voter": f"v{voter}", **more})


def with_ids(voters: int) -> list[str]:
    return [line(voter, id=str(uuid7())) for voter in range(voters)]


def history(votes: int, voters: int, seed: int = 7) -> list[str]:
    """Voters who vote again and change their votes, without ids."""
    rng = Random(seed)
    return [
        line(rng.randrange(voters), rng.choice(["ship", "skip"]), rng.choice(TOOLS)) for _ in range(votes)
    ]


async def vote_live(target: ImportTarget, voter: str, choice: str) -> None:
    actor = Identity(target.settings, target.log).pseudonym("voter", voter.encode())
    tool = await target.log.fetchval("SELECT tool FROM slugs WHERE slug = 'uv'")
    async with target.log.acquire() as conn:
        await append_casts(conn, shard_of(actor, 3), [PendingCast("v", actor, tool, choice, mint(), "web")])


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd.compress], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("piped", [False, True], ids=["file", "stdin"])
async def test_a_history_is_imported_from_any_encoding(
    target: ImportTarget, compress: Any, piped: bool
) -> None:
    path = target.file([])
    path.write_bytes(compressed := compress("\n".join(with_ids(500)).encode()))
    answer = await (
        target.imported("votes", "-", stdin=compressed) if piped else target.imported("votes", path)
    )
    assert (answer["received"], answer["counted"], answer["ended"]) == (500, 500, "complete")
    assert answer["seconds"] > 0
    assert answer["rate"] > 0
    assert await target.stored() == 500
    assert await target.log.fetchval("SELECT count(*) FROM events WHERE origin = 'import'") == 500


async def test_the_subcommand_may_be_left_out(target: ImportTarget) -> None:
    assert (await target.imported(target.file(with_ids(3))))["counted"] == 3


@pytest.mark.parametrize("lines", [with_ids(300), history(3_000, 60)], ids=["with ids", "without ids"])
async def test_importing_a_file_again_changes_nothing(target: ImportTarget, lines: list[str]) -> None:
    path = target.file(lines)
    first = await target.imported("votes", path)
    stored, contents = await target.stored(), await target.contents()
    second = await target.imported("votes", path)
    assert (first["received"], second["received"]) == (len(lines), len(lines))
    assert first["rejected_total"] == second["rejected_total"] == 0
    assert (await target.stored(), await target.contents()) == (stored, contents)
    assert await target.log.fetchval(GAPLESS)


async def test_the_last_vote_of_a_voter_in_the_file_counts(target: ImportTarget) -> None:
    path = target.file([line("a", choice) for choice in ("ship", "skip", "ship", "skip")])
    assert (await target.imported("votes", path))["counted"] == 4
    assert [row["choice"] for row in await target.log.fetch(STANDINGS)] == ["skip"]
    again = await target.imported("votes", path)
    assert (again["counted"], again["superseded"], await target.stored()) == (1, 3, 4)


async def test_newer_votes_win_over_the_files_time_and_older_ones_lose(target: ImportTarget) -> None:
    path = target.file([line("a", "ship")])
    await vote_live(target, "va", "skip")
    assert (await target.imported("votes", path))["superseded"] == 1
    assert [row["choice"] for row in await target.log.fetch(STANDINGS)] == ["skip"]
    await asyncio.to_thread(os.utime, path)
    assert (await target.imported("votes", path))["counted"] == 1
    assert [row["choice"] for row in await target.log.fetch(STANDINGS)] == ["ship"]


async def test_a_pipe_can_be_imported_again_with_its_time(target: ImportTarget) -> None:
    lines = "\n".join(history(200, 20)).encode()
    first = await target.run("votes", "-", "--json", stdin=lines)
    at = json.loads(first.out)["at"]
    assert f"--at {at}" in first.err
    stored = await target.stored()
    assert (await target.imported("votes", "-", "--at", at, stdin=lines))["at"] == at
    assert await target.stored() == stored


async def test_rejected_lines_are_reported_and_written_to_a_file(target: ImportTarget) -> None:
    bad = {
        1: "{broken",
        40: line(1, tool="nothing-like-it"),
        41: "[]",
        300: line(1, "perhaps"),
        301: line(1, id="00000000-0000-0000-0000-000000000000"),
        500: line("x" * 200),
    }
    path, rejected = (
        target.file([bad.get(n, line(n)) for n in range(1, 501)]),
        target.folder / "rejected.ndjson",
    )
    ended = await target.run("votes", path, "--rejected", rejected, "--json")
    answer = json.loads(ended.out)
    assert (ended.status, answer["counted"], answer["rejected_total"]) == (1, 494, 6)
    assert [each["line"] for each in answer["rejected"]] == sorted(bad)
    assert [json.loads(each) for each in rejected.read_text().splitlines()] == answer["rejected"]


async def test_blank_lines_and_a_byte_order_mark_are_skipped_and_blank_lines_are_numbered(
    target: ImportTarget,
) -> None:
    path = target.file(["\ufeff" + line(1), "", line(2), "  ", "{broken", "", ""])
    answer = await target.imported("votes", path)
    assert (answer["received"], answer["counted"], answer["rejected_total"]) == (3, 2, 1)
    assert answer["rejected"][0]["line"] == 5
    good = target.file(["\ufeff", line(3), "", ""], "good.ndjson")
    assert (await target.run("votes", good)).status == 0


async def test_one_bad_line_in_ten_thousand(target: ImportTarget) -> None:
    lines = [line(n) for n in range(10_000)]
    lines[6_543] = "nonsense"
    ended = await target.run("votes", target.file(lines))
    assert ended.status == 1
    assert "9,999 counted" in ended.out
    assert "line 6544:" in ended.err
    assert await target.stored() == 9_999


async def test_all_rejected_lines_are_written_and_a_hundred_reported(target: ImportTarget) -> None:
    rejected = target.folder / "rejected.ndjson"
    answer = await target.imported("votes", target.file(["nonsense"] * 250), "--rejected", rejected)
    assert (answer["rejected_total"], len(answer["rejected"])) == (250, 100)
    assert len(rejected.read_text().splitlines()) == 250


async def test_an_import_that_was_killed_and_run_again_equals_one_run(
    target: ImportTarget, other: ImportTarget
) -> None:
    path = target.file(history(60_000, 20_000))
    process = await target.start("votes", path)
    while await target.stored() < 1_000:
        pass
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    killed_at = await target.stored()
    await target.imported("votes", path)
    await other.imported("votes", path)
    assert await target.contents() == await other.contents()
    assert killed_at < await target.stored() == await other.stored()
    assert await target.log.fetchval(GAPLESS)


async def test_unlisted_tools_are_told_once_each_with_a_count_and_a_line(target: ImportTarget) -> None:
    lines = [line(n, tool=("gone", "uv", "lost", "gone")[n % 4]) for n in range(4_000)] + ["{broken"]
    path = target.file(["", *lines])
    ended = await target.run("votes", path)
    told = [each for each in ended.err.splitlines() if each.startswith(("1", "2", "line"))]
    assert told == [
        "2,000 lines, the first is 2: There is no tool 'gone'. Check the slug.",
        "1,000 lines, the first is 4: There is no tool 'lost'. Check the slug.",
        told[2],
    ]
    assert told[2].startswith("line 4002: ")
    assert "first hundred" not in ended.err
    answer = await target.imported("votes", path)
    assert [(each["line"], each["lines"]) for each in answer["rejected_tools"]] == [(2, 2_000), (4, 1_000)]
    assert (answer["rejected_total"], len(answer["rejected"]), answer["lines"]) == (3_001, 100, 4_002)


async def test_an_unlisted_tool_is_looked_up_once(target: ImportTarget) -> None:
    asked = Counter[str]()

    class CountingTools(ToolDirectory):
        async def find(self, slug: str) -> DirectoryEntry:
            asked[slug] += 1
            return await super().find(slug)

    tools = CountingTools(target.log)
    commits = BulkCommits(target.log, 3, 1, lambda *_: None)
    identity = Identity(target.settings, target.log)
    ingest = BulkIngest(commits, tools, identity, source="test", group=100)
    for n in range(20):
        await ingest.submit((line(n, tool="gone") + "\n" + line(n, tool="uv") + "\n").encode())
    assert asked["gone"] == 1
    assert (await ingest.finish()).rejected_total == 20


async def test_a_second_import_says_that_nothing_changed(target: ImportTarget) -> None:
    path = target.file([*with_ids(30), line("without an id")])
    assert ": 31 counted, 0 unchanged, 0 superseded, 0 rejected\n" in (await target.run("votes", path)).out
    again = await target.run("votes", path)
    assert ": 0 counted, 31 counted before, " in again.out
    assert again.out.endswith(" Nothing changed.\n")
    answer = await target.imported("votes", path)
    assert (answer["changed"], answer["counted"]) == (0, 31)
    more = await target.imported(
        "votes", target.file([*path.read_text().splitlines(), line("new", id=str(uuid7()))])
    )
    assert (more["changed"], more["counted"]) == (1, 32)


async def test_an_id_that_another_vote_has_is_a_rejected_line(target: ImportTarget) -> None:
    sent, rejected = str(uuid7()), target.folder / "rejected.ndjson"
    lines = [line(1, id=sent), line(1, "skip", id=sent), line(2, id=sent), line(1, id=sent)]
    answer = await target.imported("votes", target.file(lines), "--rejected", rejected)
    assert [each["line"] for each in answer["rejected"]] == [2, 3]
    assert {json.loads(each)["line"] for each in rejected.read_text().splitlines()} == {2, 3}
    assert (answer["counted"], answer["changed"], await target.stored()) == (2, 1, 1)


async def test_blank_lines_count_where_an_import_ended(target: ImportTarget) -> None:
    path = target.file([])
    path.write_bytes(gzip.compress("\n\n".join(with_ids(2_000)).encode())[:-3_000])
    ended = await target.run("votes", path, "--json")
    answer = json.loads(ended.out)
    assert answer["lines"] >= 2 * answer["received"] - 1 > 0
    assert f"cut short after {answer['lines']:,} lines" in ended.err


async def test_a_file_of_1970_keeps_its_time(target: ImportTarget) -> None:
    path = target.file([line(1)])
    os.utime(path, (0, 0))
    assert (await target.imported("votes", path))["at"] == "1970-01-01T00:00:00.000Z"
    epoch = await target.imported("votes", target.file([line(2)]), "--at", "1970-01-01T00:00:00Z")
    assert epoch["at"] == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_an_import_cleanly(target: ImportTarget, number: signal.Signals) -> None:
    """It is waiting for input, commits what it has read and reports how much that is."""
    process = await target.start("votes", "-", "--at", "2020-01-01T00:00:00Z", "--json", stdin=PIPE)
    assert process.stdin is not None
    process.stdin.write("".join(line(n) + "\n" for n in range(15_000)).encode())
    await process.stdin.drain()
    while await target.stored() == 0:
        pass
    process.send_signal(number)
    out, err = await process.communicate()
    answer = json.loads(out)
    assert (process.returncode, answer["ended"]) == (128 + number, "stopped")
    assert answer["received"] == answer["counted"] == await target.stored() > 0
    assert f"Stopped after {answer['received']:,} lines" in err.decode()
    assert f"--at {answer['at']}" in err.decode()


async def test_the_readable_part_of_a_truncated_file_is_stored(target: ImportTarget) -> None:
    path = target.file([])
    path.write_bytes(gzip.compress("\n".join(with_ids(2_000)).encode())[:-3_000])
    ended = await target.run("votes", path, "--json")
    answer = json.loads(ended.out)
    assert (ended.status, answer["ended"]) == (1, "damaged")
    assert 0 < answer["counted"] == await target.stored() < 2_000
    assert f"{answer['counted']:,} good lines were stored." in ended.err


async def test_a_file_that_is_cut_before_its_first_line_stores_nothing_and_says_so(
    target: ImportTarget,
) -> None:
    path = target.file([])
    path.write_bytes(gzip.compress(with_ids(1)[0].encode())[:12])
    ended = await target.run("votes", path)
    assert (ended.status, await target.stored()) == (1, 0)
    assert "Nothing was stored." in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["votes", "no-such-file"],
        ["votes"],
        ["votes", "FILE", "--at", "yesterday"],
        ["votes", "FILE", "--at", "2020-01-01T00:00:00"],
        ["votes", "FILE", "--at", "2999-01-01T00:00:00Z"],
        ["votes", "FILE", "--at", "1969-12-31T23:59:59Z"],
        ["votes", "FILE", "--rejected", "FILE"],
    ],
    ids=["no file", "nothing", "no time", "no zone", "the future", "before ids", "overwriting"],
)
async def test_wrong_usage_is_refused(target: ImportTarget, arguments: list[str]) -> None:
    path = str(target.file(with_ids(1)))
    words = ["import", *(path if word == "FILE" else word for word in arguments)]
    environment = {"DATABASE_URL": target.settings.database_url, "REDIS_URL": None}
    done = await asyncio.to_thread(CliRunner().invoke, shiplog, words, env=environment)
    assert (done.exit_code, done.stdout) == (2, "")
    assert await target.stored() == 0


async def test_an_empty_file_is_imported(target: ImportTarget) -> None:
    assert (await target.imported("votes", os.devnull))["received"] == 0
