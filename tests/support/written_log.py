"""A log with events and times chosen by a test, inserted without the code that appends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg import Connection, Record

from domain.events.editorial import (
    Category,
    Details,
    EditorialEvent,
    Pricing,
    ReviewerRetired,
    ReviewerSeated,
    RulebookAdopted,
    RulebookWritten,
    TakePublished,
    TakeWithdrawn,
    ToolListed,
    ToolRetired,
    encode,
)
from domain.rulebooks.rulebook import Rulebook
from tests.support.stage import Log

EMPTY = "TRUNCATE events; UPDATE heads SET position = 0, recorded_at = 'epoch'"
APPEND = """
INSERT INTO events (shard, position, recorded_at, actor, id, tool, type, choice, replaced, origin, data, replaced_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'test', $10, $11)
"""
MOVE_HEADS = """
UPDATE heads AS h SET position = e.position, recorded_at = e.recorded_at
  FROM (SELECT shard, max(position) AS position, max(recorded_at) AS recorded_at FROM events GROUP BY shard) AS e
 WHERE h.shard = e.shard
"""
START = datetime(2025, 1, 1, 22, tzinfo=UTC)
DETAILS = Details(name="Any", category=Category("any", "Any"), pricing=Pricing("Free"))


@dataclass
class WrittenLog:
    """Collects the rows of the log. Tools have the numbers that the test gives them."""

    shards: int = 3
    time: datetime = START
    rows: list[tuple[object, ...]] = field(default_factory=list)
    heads: Counter[int] = field(default_factory=Counter)
    ballots: dict[tuple[int, int], tuple[str, datetime]] = field(default_factory=dict)
    written: dict[str, Rulebook] = field(default_factory=dict)
    in_force: str = ""

    def wait(self, hours: int) -> None:
        self.time += timedelta(hours=hours)

    def editorial(self, event: EditorialEvent, tool: int | None = None) -> None:
        self._add(0, UUID(int=0), tool, type(event).__name__, None, None, encode(event), None)

    def list_tool(self, tool: int) -> None:
        self.editorial(ToolListed(f"tool-{tool}", 1, DETAILS), tool)

    def retire(self, tool: int) -> None:
        self.editorial(ToolRetired(f"tool-{tool}", 2, DETAILS), tool)

    def take(self, tool: int, reviewer: str, take: tuple[int, str] | None) -> None:
        if take is None:
            self.editorial(TakeWithdrawn(reviewer, 2, "ship"), tool)
        else:
            self.editorial(TakePublished(reviewer, 1, *take, ""), tool)  # type: ignore[arg-type]

    def panel(self, reviewer: str, retired: bool) -> None:
        kind = ReviewerRetired if retired else ReviewerSeated
        self.editorial(kind(reviewer, 1, reviewer.title(), "", "", 2))

    def adopt(self, rulebook: Rulebook) -> None:
        if rulebook.digest not in self.written:
            self.written[rulebook.digest] = rulebook
            self.editorial(RulebookWritten(rulebook.digest, rulebook))
        self.editorial(RulebookAdopted(rulebook.digest, self.in_force, "Why not?"))
        self.in_force = rulebook.digest

    def vote(self, tool: int, voter: int, choice: str | None) -> None:
        before, at = self.ballots.pop((tool, voter), (None, None))
        if choice != before:
            kind = "VoteCast" if choice else "VoteRetracted"
            shard = 1 + voter % self.shards
            self._add(shard, UUID(int=voter), tool, kind, choice, before, None, at)
            at = self.time
        if choice and at:
            self.ballots[tool, voter] = choice, at

    def _add(self, shard: int, actor: UUID, tool: int | None, *rest: object) -> None:
        self.heads[shard] += 1
        kind, choice, replaced, data, replaced_at = rest
        row = (shard, self.heads[shard], self.time, actor, UUID(int=len(self.rows)), tool, kind)
        self.rows.append((*row, choice, replaced, data, replaced_at))

    async def put(self, log: Log, after: int = 0) -> None:
        """Insert all rows but the first ``after``."""
        await log.executemany(APPEND, self.rows[after:])
        await log.execute(MOVE_HEADS)


async def empty(owner: Connection[Record]) -> None:
    await owner.execute(EMPTY)
