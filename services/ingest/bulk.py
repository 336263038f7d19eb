"""Bulk ingest: lines of votes, sorted into a batch per shard and appended in large batches."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeAlias
from uuid import UUID

from asyncpg import Pool, Record
from msgspec import Struct

from domain.shared.errors import Rejected
from domain.shared.log import Shard, shard_of
from domain.voting.identifiers import ID_REQUIREMENT, VOTER_REQUIREMENT, valid_voter
from domain.voting.votes import Outcome
from eventstore import ids
from eventstore.cast_batch import CastBatch
from eventstore.casts import FirstVoteHeuristic, append_batch, outcomes
from eventstore.tool_directory import ToolDirectory
from services.auth.identity import Identity
from services.ingest.ndjson_votes import BadLine, DecodedLines, count_lines, decode
from services.ingest.yielding import EventLoopYield

REJECTED_LISTED_MAX = 100
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

OnCommitted: TypeAlias = Callable[[Shard, "Counter[Outcome]"], None]
# Derives the id of a line without one from its number and actor: sending the line again gives the same id.
LineId: TypeAlias = Callable[[int, UUID], UUID]


class TooManyBadLines(Exception):
    """More lines were rejected than the limit allows. The votes read so far are stored by ``finish``."""


def describe_stored(lines: int) -> str:
    match lines:
        case 0:
            return "Nothing was stored."
        case 1:
            return "1 good line was stored."
        case _:
            return f"{lines:,} good lines were stored."


class BulkResult(Struct):
    """Counts of lines by outcome, blank ones left out. ``rejected`` lists the first hundred, ``rejected_total`` counts all."""

    received: int = 0
    counted: int = 0
    unchanged: int = 0
    superseded: int = 0
    rejected_total: int = 0
    rejected: list[BadLine] = []

    def reject(self, bad: Sequence[BadLine]) -> None:
        self.rejected_total += len(bad)
        self.rejected += bad[: REJECTED_LISTED_MAX - len(self.rejected)]

    @property
    def stored(self) -> str:
        return describe_stored(self.received - self.rejected_total)

    def count(self, counts: Counter[Outcome]) -> None:
        self.counted += counts["counted"]
        self.unchanged += counts["unchanged"]
        self.superseded += counts["superseded"]


class BulkCommits:
    """The commits of all bulk ingests of a process: one in flight per shard, and at most ``commits_max`` in all."""

    def __init__(self, pool: Pool[Record], shards: int, commits_max: int, on_committed: OnCommitted) -> None:
        self.shards, self._pool, self._on_committed = shards, pool, on_committed
        self._slots = asyncio.Semaphore(commits_max)
        self._shard_locks = [asyncio.Lock() for _ in range(shards + 1)]
        self._heuristics = [FirstVoteHeuristic() for _ in range(shards + 1)]

    async def append(self, shard: Shard, batch: CastBatch) -> Counter[Outcome]:
        # The shard's lock first: a batch that waits for it takes no slot from other shards.
        async with self._shard_locks[shard], self._slots, self._pool.acquire() as conn:
            counts = outcomes(await append_batch(conn, shard, batch, self._heuristics[shard]))
        self._on_committed(shard, counts)
        return counts


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
        line_id: LineId | None = None,
        rejected_max: int | None = None,
    ) -> None:
        """``group`` is the number of votes in a batch. Without ``line_id``, a line that has no id gets a new one."""
        self._commits, self._tool_directory, self._identity = commits, tool_directory, identity
        self._source, self._group, self._line_id = source, group, line_id
        self._batches = [CastBatch() for _ in range(commits.shards + 1)]
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._rejected_max, self._event_loop = rejected_max, EventLoopYield()
        self.lines_read = 0  # blank ones too
        self.result = BulkResult()

    async def submit(self, block: bytes) -> list[BadLine]:
        """Takes whole lines; returns the rejected ones, in order. Raises TooManyBadLines, and what append_batch raises."""
        if not self.lines_read:
            block = block.removeprefix(_BYTE_ORDER_MARK)
        if not block:
            return []
        first, rejected = self.lines_read + 1, list[BadLine]()
        self.lines_read += count_lines(block)
        for decoded in decode(block, first):
            rejected += await self._place(decoded)
            await self._event_loop.pause()
        return rejected

    async def pause(self) -> None:
        """Lets other tasks run, if it is time."""
        await self._event_loop.pause()

    async def finish(self) -> BulkResult:
        """Append the incomplete batches, and wait for all commits."""
        for shard, batch in enumerate(self._batches):
            if batch:
                await self._commit(Shard(shard))
        await asyncio.gather(*self._in_flight.values())
        return self.result

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
        try:
            return str(await self._tool_directory.open_for_votes(slug))
        except Rejected as rejection:
            return rejection

    def _add(self, decoded: DecodedLines, tools: dict[str, str | Rejected]) -> None:
        """Adds each vote to the batch of its shard. Most of the time of bulk ingest is spent in this loop."""
        batches, shards, pseudonym = self._batches, self._commits.shards, self._identity.pseudonym
        line_id, is_acceptable = self._line_id, ids.id_check()
        for number, vote in zip(decoded.numbers, decoded.votes, strict=True):
            tool, voter, vote_id = tools[vote.tool], vote.voter.encode(), vote.id
            if isinstance(tool, Rejected):
                decoded.reject(number, tool.slug, str(tool))
            elif not valid_voter(voter):
                decoded.reject(number, "invalid", VOTER_REQUIREMENT)
            elif vote_id is not None and not is_acceptable(vote_id):
                decoded.reject(number, "invalid-id", ID_REQUIREMENT)
            else:
                actor = pseudonym("voter", voter)
                batch = batches[shard_of(actor, shards)]
                if vote_id is None:
                    vote_id = batch.mint() if line_id is None else line_id(number, actor)
                batch.actors.append(actor)
                batch.tools.append(tool)
                batch.choices.append(vote.choice)
                batch.ids.append(vote_id)

    async def _commit(self, shard: Shard) -> None:
        """Starts the commit of a shard's batch after the one before, so that lines of one ballot are decided in order."""
        if shard in self._in_flight:
            await self._in_flight[shard]
        batch, self._batches[shard] = self._batches[shard], CastBatch()
        batch.kinds, batch.sources = ["v"] * len(batch), [self._source] * len(batch)
        self._in_flight[shard] = asyncio.create_task(self._append(shard, batch))

    async def _append(self, shard: Shard, batch: CastBatch) -> None:
        self.result.count(await self._commits.append(shard, batch))
