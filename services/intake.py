"""Intake: votes as lines of JSON, decoded in blocks, spread over shards, appended in large groups."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Annotated
from uuid import UUID

import msgspec
from asyncpg import Pool, Record
from msgspec import Meta, Struct

from domain.log import Shard, shard_of
from domain.refusals import Refusal
from domain.words import Choice
from eventstore import ids
from eventstore.appender import OnAppended
from eventstore.casts import Submitted, append_casts
from eventstore.names import Names
from services import strict
from services.identity import Identity
from services.unpacking import LONGEST_LINE

MOST_LISTED = 100
_VOTER_BYTES = 128
_FIELDS = (b'"tool"', b'"choice"', b'"voter"')


class VoteLine(Struct, frozen=True, forbid_unknown_fields=True):
    tool: str
    choice: Choice
    voter: Annotated[str, Meta(min_length=1, max_length=_VOTER_BYTES)]
    id: UUID | None = None


class BadLine(Struct, frozen=True):
    """``line`` counts from 1."""

    line: int
    type: str
    detail: str


class Answered(Struct):
    """What became of the lines so far. ``rejected`` lists the first hundred; ``rejected_total`` counts all."""

    received: int = 0
    counted: int = 0
    unchanged: int = 0
    superseded: int = 0
    rejected_total: int = 0
    rejected: list[BadLine] = []

    def reject(self, line: int, slug: str, detail: str) -> None:
        self.rejected_total += 1
        if len(self.rejected) < MOST_LISTED:
            self.rejected.append(BadLine(line, f"urn:shiplog:{slug}", detail))

    def count(self, outcomes: Counter[str]) -> None:
        self.counted += outcomes["counted"]
        self.unchanged += outcomes["unchanged"]
        self.superseded += outcomes["superseded"]


class Intake:
    """One sender's votes on their way into the log. ``take`` returns as soon as there is room for more."""

    def __init__(
        self,
        pool: Pool[Record],
        shards: int,
        names: Names,
        identity: Identity,
        origin: str,
        on_appended: OnAppended,
        room: asyncio.Semaphore,
        group: int,
    ) -> None:
        self._pool, self._shards, self._names, self._identity = pool, shards, names, identity
        self._origin, self._on_appended, self._room, self._group = origin, on_appended, room, group
        self._lanes: list[list[Submitted]] = [[] for _ in range(shards + 1)]
        self._last: dict[int, asyncio.Task[None]] = {}
        self._tools: dict[str, int | Refusal] = {}
        self.answered = Answered()

    async def take(self, block: bytes) -> None:
        """Whole lines. Raises what the append raises."""
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        first = self.answered.received + 1
        self.answered.received += len(lines)
        for number, vote in self._decode(block, lines, first):
            tool = self._tools.get(vote.tool)
            if tool is None:
                tool = await self._look_up(vote.tool)
            self._place(number, vote, tool)
        for shard, lane in enumerate(self._lanes):
            if len(lane) >= self._group:
                await self._send(shard)

    async def finish(self) -> Answered:
        """Append what is left, and wait for all of it."""
        for shard, lane in enumerate(self._lanes):
            if lane:
                await self._send(shard)
        await asyncio.gather(*self._last.values())
        self.answered.rejected.sort(key=lambda bad: bad.line)
        return self.answered

    def abandon(self) -> None:
        for task in self._last.values():
            task.cancel()

    def _decode(self, block: bytes, lines: list[bytes], first: int) -> list[tuple[int, VoteLine]]:
        """All lines at once when nothing looks odd about the block; else one by one, to name the bad ones."""
        votes = _decode_plain(block, lines)
        if votes is not None:
            return list(enumerate(votes, first))
        decoded = ((number, self._decode_line(number, line)) for number, line in enumerate(lines, first))
        return [(number, vote) for number, vote in decoded if vote is not None]

    def _decode_line(self, number: int, line: bytes) -> VoteLine | None:
        if len(line) > LONGEST_LINE:
            self.answered.reject(number, "invalid", f"The line is longer than {LONGEST_LINE} bytes.")
            return None
        try:
            return strict.decode(line, _decoder)
        except strict.Malformed as error:
            self.answered.reject(number, "invalid", str(error))
            return None

    async def _look_up(self, slug: str) -> int | Refusal:
        try:
            tool: int | Refusal = await self._names.votable(slug)
        except Refusal as refusal:
            tool = refusal
        if len(self._tools) < 10_000:
            self._tools[slug] = tool
        return tool

    def _place(self, number: int, vote: VoteLine, tool: int | Refusal) -> None:
        voter = vote.voter.encode()
        if isinstance(tool, Refusal):
            self.answered.reject(number, tool.slug, str(tool))
        elif len(voter) > _VOTER_BYTES or 0 in voter:
            self.answered.reject(number, "invalid", "voter: 1 to 128 bytes, without NUL.")
        elif vote.id is not None and not ids.is_acceptable(vote.id):
            self.answered.reject(number, "invalid-id", ids.WANTED)
        else:
            actor = self._identity.pseudonym("voter", voter)
            cast = Submitted(
                "v", actor, tool, vote.choice, vote.id or ids.mint(), self._origin, vote.id is None
            )
            self._lanes[shard_of(actor, self._shards)].append(cast)

    async def _send(self, shard: int) -> None:
        """One group of a shard is in flight at a time, so that a ballot's lines are decided in their order."""
        if shard in self._last:
            await self._last[shard]
        casts, self._lanes[shard] = self._lanes[shard], []
        await self._room.acquire()
        self._last[shard] = asyncio.create_task(self._append(Shard(shard), casts))
        # Also when it is cancelled before it began.
        self._last[shard].add_done_callback(lambda _: self._room.release())

    async def _append(self, shard: Shard, casts: list[Submitted]) -> None:
        async with self._pool.acquire() as conn:
            stood = await append_casts(conn, shard, casts)
        self._on_appended(shard, stood)
        self.answered.count(Counter(answer.outcome for answer in stood))


_decoder = msgspec.json.Decoder(VoteLine)


def _decode_plain(block: bytes, lines: list[bytes]) -> list[VoteLine] | None:
    """Without escapes and with each field as often as there are values of it, no field can stand twice."""
    if b"\\" in block or any(block.count(field) != len(lines) for field in _FIELDS):
        return None
    try:
        votes = _decoder.decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    with_id = sum(vote.id is not None for vote in votes)
    return votes if len(votes) == len(lines) and block.count(b'"id"') == with_id else None
