"""Bulk ingest: lines of votes, sorted into a batch per shard and appended in large batches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeAlias
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.errors import Rejected
from domain.shared.log import Shard, shard_of
from domain.shared.plurals import count_of
from domain.voting.identifiers import ID_REQUIREMENT, VOTER_REQUIREMENT, valid_voter
from domain.voting.votes import IdConflict, Outcome
from eventstore import ids
from eventstore.cast_batch import CastBatch
from eventstore.casts import FirstVoteHeuristic, append_batch, conflicts, outcomes
from eventstore.deadlines import Deadline, limited_by
from eventstore.recent_ids import RecentIds
from eventstore.tool_directory import ToolDirectory
from services.auth.identity import Identity
from services.ingest.ndjson_votes import BadLine, DecodedLines, count_lines, decode
from services.ingest.yielding import EventLoopTurns, EventLoopYield

REJECTED_LISTED_MAX = 100
_REJECTED_TOOLS_MAX = 100_000
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OnCommitted: TypeAlias = Callable[[Shard, "Counter[Outcome]"], None]
# Derives the id of a line without one from its number and actor: sending the line again gives the same id.
LineId: TypeAlias = Callable[[int, UUID], UUID]


class TooManyBadLines(Exception):
    """More lines were rejected than the limit allows. The votes read so far are stored by ``finish``."""


def describe_stored(lines: int) -> str:
    if lines == 0:
        return "Nothing was stored."
    return f"{count_of(lines, 'good line')} {'was' if lines == 1 else 'were'} stored."


class BulkResult(Struct):
    """Counts of lines by outcome, blank ones left out. ``rejected`` lists the first hundred, ``rejected_total`` counts all."""

    received: int = 0
    counted: int = 0
    unchanged: int = 0
    superseded: int = 0
    rejected_total: int = 0
    rejected: list[BadLine] = []

    @property
    def stored(self) -> int:
        """Lines that are in the log now, or whose ballot has a newer vote."""
        return self.counted + self.unchanged + self.superseded

    def reject(self, bad: Sequence[BadLine]) -> None:
        self.rejected_total += len(bad)
        self.rejected += bad[: REJECTED_LISTED_MAX - len(self.rejected)]

    def count(self, counts: Counter[Outcome]) -> None:
        self.counted += counts["counted"]
        self.unchanged += counts["unchanged"]
        self.superseded += counts["superseded"]


def bad_line(number: int, rejection: Rejected) -> BadLine:
    return BadLine(number, f"urn:shiplog:{rejection.slug}", str(rejection))


class BatchCommit(Struct, frozen=True):
    """Casts by outcome, those counted before, and the indexes of those whose id belongs to another choice."""

    counts: Counter[Outcome]
    resent: int
    conflicts: list[int]


class BulkCommits:
    """The commits of all bulk ingests of a process: one in flight per shard, and at most ``commits_max`` in all.

    A batch is stored within ``seconds``, with its turn awaited, or raises TimeoutError or what append_batch raises.
    """

    def __init__(
        self,
        pool: Pool[Record],
        shards: int,
        commits_max: int,
        on_committed: OnCommitted,
        *,
        seconds: float | None = None,
        turns: EventLoopTurns | None = None,
    ) -> None:
        self.shards, self._pool, self._on_committed, self._seconds = shards, pool, on_committed, seconds
        self.turns = turns or EventLoopTurns()
        self._slots = asyncio.Semaphore(commits_max)
        self._shard_locks = [asyncio.Lock() for _ in range(shards + 1)]
        self._heuristics = [FirstVoteHeuristic() for _ in range(shards + 1)]

    async def append(self, shard: Shard, batch: CastBatch) -> BatchCommit:
        # The shard's lock first: a batch that waits for it takes no slot from other shards.
        with limited_by(Deadline(self._seconds) if self._seconds else None):
            async with (
                asyncio.timeout(self._seconds),
                self._shard_locks[shard],
                self._slots,
                self._pool.acquire() as conn,
            ):
                appended = await append_batch(conn, shard, batch, self._heuristics[shard])
        counts, resent = outcomes(appended)
        self._on_committed(shard, counts)
        return BatchCommit(counts, resent, conflicts(appended) if counts["conflict"] else [])


class BulkIngest:
    """The votes of one bulk request or import. ``submit`` waits when a batch is full and the one before it still in flight."""

    def __init__(
        self,
        commits: BulkCommits,
        tool_directory: ToolDirectory,
        identity: Identity,
        *,
        source: str,
        group: int,
        recent_ids: RecentIds | None = None,
        line_id: LineId | None = None,
        rejected_max: int | None = None,
    ) -> None:
        """``group`` is the number of votes in a batch. Without ``line_id``, a line that has no id gets a new one."""
        self._commits, self._tool_directory, self._identity = commits, tool_directory, identity
        self._source, self._group, self._line_id = source, group, line_id
        self._recent_ids = recent_ids or RecentIds()
        self._batches = [CastBatch() for _ in range(commits.shards + 1)]
        self._lines: list[list[int]] = [[] for _ in self._batches]  # the line of each vote in a batch
        self._conflicts: list[BadLine] = []  # found by commits
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._rejected_max, self._event_loop = rejected_max, EventLoopYield(commits.turns)
        self.lines_read = 0  # blank ones too
        self.resent = 0  # votes that count as counted, but were stored before
        self.result = BulkResult()
        self._rejected_tools: dict[str, Rejected] = {}

    async def submit(self, block: bytes) -> list[BadLine]:
        """Takes whole lines; returns those rejected since the last call. Raises TooManyBadLines, and what append_batch raises."""
        if not self.lines_read:
            block = block.removeprefix(_BYTE_ORDER_MARK)
        if not block:
            return []
        first, rejected = self.lines_read + 1, list[BadLine]()
        self.lines_read += count_lines(block)
        for decoded in decode(block, first):
            rejected += await self._place(decoded)
            await self._event_loop.pause()
        return rejected + self.take_conflicts()

    async def pause(self) -> None:
        """Lets other tasks run, if it is time."""
        await self._event_loop.pause()

    def take_conflicts(self) -> list[BadLine]:
        """The lines that commits rejected since the last call, because of their ids."""
        found, self._conflicts = self._conflicts, []
        return found

    async def finish(self) -> BulkResult:
        """Append the incomplete batches, and wait for all commits. Lines that they reject are left in take_conflicts."""
        for shard, batch in enumerate(self._batches):
            if batch:
                await self._commit(Shard(shard))
        await asyncio.gather(*self._in_flight.values())
        self.result.rejected.sort(key=lambda bad: bad.line)
        return self.result

    async def finish_without_pending(self) -> BulkResult:
        """Drop the incomplete batches, and wait for the commits in flight."""
        self._batches = [CastBatch() for _ in self._batches]
        return await self.finish()

    def abandon(self) -> None:
        for task in self._in_flight.values():
            task.cancel()

    async def _place(self, decoded: DecodedLines) -> list[BadLine]:
        tools = {slug: await self._find_tool(slug) for slug in {vote.tool for vote in decoded.votes}}
        self.result.received += len(decoded.votes) + len(decoded.bad)
        self._add(decoded, tools)
        decoded.bad.sort(key=lambda bad: bad.line)
        self.result.reject(decoded.bad)
        for shard, batch in enumerate(self._batches):
            if len(batch) >= self._group:
                await self._commit(Shard(shard))
        if self._rejected_max is not None and self.result.rejected_total > self._rejected_max:
            raise TooManyBadLines
        return decoded.bad

    async def _find_tool(self, slug: str) -> str | Rejected:
        """Slugs that are not found are looked up once, until ``forget_rejected_tools``."""
        if slug in self._rejected_tools:
            return self._rejected_tools[slug]
        try:
            return str(await self._tool_directory.open_for_votes(slug))
        except Rejected as rejection:
            if len(self._rejected_tools) >= _REJECTED_TOOLS_MAX:
                self._rejected_tools.clear()
            self._rejected_tools[slug] = rejection
            return rejection

    def forget_rejected_tools(self) -> None:
        """Looks them up again, since they may be listed by now."""
        self._rejected_tools.clear()

    def _add(self, decoded: DecodedLines, tools: dict[str, str | Rejected]) -> None:
        """Adds each vote to the batch of its shard. Most of the time of bulk ingest is spent in this loop."""
        batches, shards, pseudonym = self._batches, self._commits.shards, self._identity.pseudonym
        line_id, is_acceptable = self._line_id, ids.id_check()
        lines, any_sent, counts = self._lines, False, [len(batch) for batch in batches]
        for number, vote in zip(decoded.numbers, decoded.votes, strict=True):
            tool, voter, vote_id = tools[vote.tool], vote.voter.encode(), vote.id
            if isinstance(tool, Rejected):
                decoded.bad.append(bad_line(number, tool))
            elif not valid_voter(voter):
                decoded.reject(number, "invalid", VOTER_REQUIREMENT)
            elif vote_id is not None and not is_acceptable(vote_id):
                decoded.reject(number, "invalid-id", ID_REQUIREMENT)
            else:
                actor = pseudonym("voter", voter)
                shard = shard_of(actor, shards)
                batch = batches[shard]
                if vote_id is None:
                    vote_id = batch.mint() if line_id is None else line_id(number, actor)
                else:
                    any_sent = True
                lines[shard].append(number)
                batch.actors.append(actor)
                batch.tools.append(tool)
                batch.choices.append(vote.choice)
                batch.ids.append(vote_id)
        if any_sent:
            decoded.bad += self._claim_ids(counts)

    def _claim_ids(self, counts: Sequence[int]) -> list[BadLine]:
        """Takes lines whose id was used for another vote out of the batches again, which had ``counts`` votes before."""
        added = list(zip(self._batches, self._lines, counts, strict=True))
        ids, actors, tools, choices = (
            list(chain.from_iterable(getattr(batch, column)[count:] for batch, _, count in added))
            for column in ("ids", "actors", "tools", "choices")
        )
        if self._recent_ids.claim_new(ids, actors, tools, choices):
            return []
        numbers = list(chain.from_iterable(lines[count:] for _, lines, count in added))
        in_order = sorted(zip(numbers, ids, actors, tools, choices, strict=True))
        used = {number: sent for number, sent, *vote in in_order if not self._recent_ids.claim(sent, *vote)}
        for shard, lines in enumerate(self._lines):
            if indexes := [index for index, number in enumerate(lines) if number in used]:
                self._batches[shard] = self._batches[shard].without(indexes)
                self._lines[shard] = [number for number in lines if number not in used]
        return [bad_line(number, IdConflict(id=sent)) for number, sent in used.items()]

    async def _commit(self, shard: Shard) -> None:
        """Starts the commit of a shard's batch after the one before, so that lines of one ballot are decided in order."""
        if shard in self._in_flight:
            await self._in_flight[shard]
        batch, self._batches[shard] = self._batches[shard], CastBatch()
        lines, self._lines[shard] = self._lines[shard], []
        batch.kinds, batch.sources = ["v"] * len(batch), [self._source] * len(batch)
        self._in_flight[shard] = asyncio.create_task(self._append(shard, batch, lines))

    async def _append(self, shard: Shard, batch: CastBatch, lines: Sequence[int]) -> None:
        commit = await self._commits.append(shard, batch)
        self.result.count(commit.counts)
        self.resent += commit.resent
        bad = [bad_line(lines[n], IdConflict(id=batch.ids[n])) for n in commit.conflicts]
        self.result.reject(bad)
        self._conflicts += bad
