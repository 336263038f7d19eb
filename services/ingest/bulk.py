"""Intake: votes by the line, from their columns to the columns of their shards, appended in large groups."""

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
from eventstore.casts import CastBatch, FirstVoteHeuristic, append_batch, outcomes
from eventstore.tool_directory import ToolDirectory
from services.auth.identity import Identity
from services.ingest.ndjson_votes import BadLine, Decoded, decode

REJECTED_LISTED_MAX = 100

OnCommitted: TypeAlias = Callable[[Shard, "Counter[Outcome]"], None]
# The id of a line that has none, by its number and actor: the same whenever the line is sent.
LineId: TypeAlias = Callable[[int, UUID], UUID]


class BulkResult(Struct):
    """What became of the lines so far. ``rejected`` lists the first hundred; ``rejected_total`` counts all."""

    received: int = 0
    counted: int = 0
    unchanged: int = 0
    superseded: int = 0
    rejected_total: int = 0
    rejected: list[BadLine] = []

    def reject(self, bad: Sequence[BadLine]) -> None:
        self.rejected_total += len(bad)
        self.rejected += bad[: REJECTED_LISTED_MAX - len(self.rejected)]

    def count(self, counts: Counter[Outcome]) -> None:
        self.counted += counts["counted"]
        self.unchanged += counts["unchanged"]
        self.superseded += counts["superseded"]


class BulkCommits:
    """What all senders of a process share: a shard's groups are in flight one by one, and few of all shards."""

    def __init__(self, pool: Pool[Record], shards: int, most: int, on_committed: OnCommitted) -> None:
        self.shards, self._pool, self._on_committed = shards, pool, on_committed
        self._room = asyncio.Semaphore(most)
        self._turns = [asyncio.Lock() for _ in range(shards + 1)]
        self._heuristics = [FirstVoteHeuristic() for _ in range(shards + 1)]

    async def append(self, shard: Shard, batch: CastBatch) -> Counter[Outcome]:
        # A group that waits for its shard takes no room from the others.
        async with self._turns[shard], self._room, self._pool.acquire() as conn:
            counts = outcomes(await append_batch(conn, shard, batch, self._heuristics[shard]))
        self._on_committed(shard, counts)
        return counts


class BulkIngest:
    """One sender's votes on their way into the log. ``submit`` returns as soon as there is room for more."""

    def __init__(
        self,
        commits: BulkCommits,
        tool_directory: ToolDirectory,
        identity: Identity,
        *,
        source: str,
        group: int,
        line_id: LineId | None = None,
    ) -> None:
        """Without ``line_id`` a line that has no id is given a minted one."""
        self._commits, self._tool_directory, self._identity = commits, tool_directory, identity
        self._source, self._group, self._line_id = source, group, line_id
        self._batches = [CastBatch() for _ in range(commits.shards + 1)]
        self._last: dict[int, asyncio.Task[None]] = {}
        self.result = BulkResult()

    async def submit(self, block: bytes) -> list[BadLine]:
        """Whole lines; the bad ones among them, in their order. Raises what the append raises."""
        if not block:
            return []
        decoded = decode(block, self.result.received + 1)
        tools = {slug: await self._look_up(slug) for slug in {vote.tool for vote in decoded.votes}}
        self.result.received += len(decoded.votes) + len(decoded.bad)
        self._place(decoded, tools)
        decoded.bad.sort(key=lambda bad: bad.line)
        self.result.reject(decoded.bad)
        for shard, batch in enumerate(self._batches):
            if len(batch) >= self._group:
                await self._send(Shard(shard))
        return decoded.bad

    async def finish(self) -> BulkResult:
        """Append what is left, and wait for all of it."""
        for shard, batch in enumerate(self._batches):
            if batch:
                await self._send(Shard(shard))
        await asyncio.gather(*self._last.values())
        return self.result

    def abandon(self) -> None:
        for task in self._last.values():
            task.cancel()

    async def _look_up(self, slug: str) -> str | Rejected:
        try:
            return str(await self._tool_directory.open_for_votes(slug))
        except Rejected as rejection:
            return rejection

    def _place(self, decoded: Decoded, tools: dict[str, str | Rejected]) -> None:
        """Each vote into the columns of its shard. This loop is most of what a vote costs here."""
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

    async def _send(self, shard: Shard) -> None:
        """One group of a shard is in flight at a time, so that a ballot's lines are decided in their order."""
        if shard in self._last:
            await self._last[shard]
        batch, self._batches[shard] = self._batches[shard], CastBatch()
        batch.kinds, batch.sources = ["v"] * len(batch), [self._source] * len(batch)
        self._last[shard] = asyncio.create_task(self._append(shard, batch))

    async def _append(self, shard: Shard, batch: CastBatch) -> None:
        self.result.count(await self._commits.append(shard, batch))
