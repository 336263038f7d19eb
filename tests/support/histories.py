"""Histories: logs written row by row, with times chosen by a test, and the flips that a plain fold finds in them.

The fold judges every prefix of the order of the log with the domain's verdict, without batches, frontier or fast forward.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
from asyncpg import Pool, Record

from domain.events import editorial
from domain.events.editorial import (
    EditorialEvent,
    ReviewerRetired,
    ReviewerSeated,
    RulebookAdopted,
    RulebookWritten,
    TakePublished,
    TakeWithdrawn,
)
from domain.rulebooks.presets import DEFAULT
from domain.rulebooks.rulebook import Label, Rulebook
from domain.shared.log import EDITORIAL, Shard
from domain.shared.types import Choice
from domain.timeline.flips import Flip, LogOrder
from domain.verdicts.decay import Ballots, DayVotes, weigh
from domain.verdicts.labels import rule_for
from domain.verdicts.verdict import Judgement, counted_takes, panel_share_of
from tests.support.instances import day_of

# So long ago that no history reaches the present: events of the future are not folded.
START = datetime(2016, 1, 1, tzinfo=UTC)
APPEND = """
INSERT INTO events (shard, position, recorded_at, type, tool, actor, choice, replaced, replaced_at, id, origin, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'test', $11)
"""
MOVE_HEADS = """
UPDATE heads AS h SET position = e.position, recorded_at = e.recorded_at
  FROM (SELECT shard, max(position) AS position, max(recorded_at) AS recorded_at FROM events GROUP BY shard) AS e
 WHERE h.shard = e.shard
"""
EMPTY = """
TRUNCATE events, parked_events; UPDATE heads SET position = 0, recorded_at = 'epoch'; UPDATE checkpoints SET position = 0
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A vote by ``actor``, or an editorial event."""

    order: LogOrder
    type: str
    tool: int | None
    actor: UUID
    choice: Choice | None = None
    replaced: Choice | None = None
    replaced_at: datetime | None = None
    event: EditorialEvent | None = None

    @property
    def columns(self) -> tuple[object, ...]:
        data = editorial.encode(self.event) if self.event else None
        order = self.order
        ballot = (self.choice, self.replaced, self.replaced_at)
        key = (order.shard, order.number, order.recorded_at)
        return (*key, self.type, self.tool, self.actor, *ballot, uuid4(), data)


@dataclass(slots=True)
class Writer:
    """Makes consistent rows: gapless by shard, each vote with the one it replaces and the time of that cast."""

    now: datetime = START
    rows: list[Row] = field(default_factory=list)
    _last: Counter[int] = field(default_factory=Counter)
    _ballots: dict[tuple[UUID, int], tuple[Choice, datetime]] = field(default_factory=dict)

    def wait(self, time: timedelta) -> None:
        self.now += time

    def vote(self, shard: int, actor: UUID, tool: int, choice: Choice | None) -> None:
        """Adds no row if the ballot does not change."""
        before, cast_at = self._ballots.pop((actor, tool), (None, None))
        if choice is not None:
            self._ballots[actor, tool] = choice, (cast_at if choice == before and cast_at else self.now)
        if choice != before:
            kind = "VoteCast" if choice else "VoteRetracted"
            self.rows.append(Row(self._next(shard), kind, tool, actor, choice, before, cast_at))

    def take(self, tool: int, reviewer: str, score: int | None, choice: Choice = "ship") -> None:
        """Publishes a take, or withdraws it if ``score`` is None."""
        event: EditorialEvent = TakePublished(reviewer, 1, score or 0, choice, "")
        if score is None:
            event = TakeWithdrawn(reviewer, 2, choice)
        self.editorial(event, tool)

    def panel(self, reviewer: str, retired: bool) -> None:
        """Retires the reviewer, or seats them again. Neither changes a verdict."""
        kind = ReviewerRetired if retired else ReviewerSeated
        self.editorial(kind(reviewer, 1, reviewer.title(), "", "", 2))

    def adopt(self, book: Rulebook) -> None:
        self.editorial(RulebookWritten(book.digest, book))
        self.editorial(RulebookAdopted(book.digest, DEFAULT.digest, "to see"))

    def editorial(self, event: EditorialEvent, tool: int | None = None) -> None:
        choice = event.choice if isinstance(event, TakePublished) else None
        self.rows.append(
            Row(self._next(EDITORIAL), type(event).__name__, tool, UUID(int=1), choice, event=event)
        )

    def _next(self, shard: int) -> LogOrder:
        self._last[shard] += 1
        return LogOrder(self.now, Shard(shard), self._last[shard])


async def append(log: Pool[Record], rows: Iterable[Row]) -> None:
    async with log.acquire() as conn, conn.transaction():
        await conn.executemany(APPEND, [row.columns for row in rows])
        await conn.execute(MOVE_HEADS)


async def empty(database_url: str) -> None:
    """Connects as the owner of the tables: no other role may truncate them."""
    owner = await asyncpg.connect(database_url)
    try:
        await owner.execute(EMPTY)
    finally:
        await owner.close()


def flips_of(rows: Sequence[Row]) -> list[Flip]:
    """Judges every prefix, in the order of the log."""
    books = {row.event.digest: row.event.rulebook for row in rows if isinstance(row.event, RulebookWritten)}
    prefix, labels, flips = Prefix(books), defaultdict[int, Label](lambda: "Unreviewed"), list[Flip]()
    for row in sorted(rows, key=lambda row: row.order):
        for tool in prefix.extend(row):
            before, after = labels[tool], prefix.label(tool)
            if before != after:
                flips.append(Flip(tool, before, after, row.order, row.type, prefix.book.digest))
                labels[tool] = after
    return flips


@dataclass(slots=True)
class Prefix:
    """The state of every tool at the end of a prefix: takes, and votes with the days of their casts."""

    books: Mapping[str, Rulebook]
    book: Rulebook = DEFAULT
    takes: dict[int, dict[str, Judgement]] = field(default_factory=lambda: defaultdict(dict))
    votes: dict[int, dict[UUID, tuple[Choice, int]]] = field(default_factory=lambda: defaultdict(dict))
    today: dict[int, int] = field(default_factory=dict)

    def extend(self, row: Row) -> Sequence[int]:
        """Returns the tools to judge again."""
        match row.event:
            case TakePublished(reviewer=reviewer, score=score, choice=choice):
                self.takes[row.tool or 0][reviewer] = Judgement(reviewer, score, choice)
            case TakeWithdrawn(reviewer=reviewer):
                self.takes[row.tool or 0].pop(reviewer, None)
            case RulebookAdopted(digest=digest):
                self.book = self.books[digest]
                return sorted({*self.takes, *self.votes})
            case None:
                self._vote(row, row.tool or 0)
        return [row.tool] if row.tool else []

    def _vote(self, row: Row, tool: int) -> None:
        self.today[tool] = day_of(row.order.recorded_at)
        self.votes[tool].pop(row.actor, None)
        if row.choice is not None:
            self.votes[tool][row.actor] = row.choice, self.today[tool]

    def label(self, tool: int) -> Label:
        ballots = _ballots(self.votes[tool].values(), self.today.get(tool))
        return _label(self.takes[tool].values(), ballots, self.book)


def _label(takes: Iterable[Judgement], ballots: Ballots, book: Rulebook) -> Label:
    """The label of ``judge``, without the rest of the verdict."""
    panel = panel_share_of(counted_takes(list(takes), book.panel), book.panel)
    return rule_for(book, panel).label(weigh(ballots, book.community))


def _ballots(votes: Iterable[tuple[Choice, int]], today: int | None) -> Ballots:
    counted = Counter(votes)
    days = sorted({day for _, day in counted})
    return Ballots(
        sum(count for (choice, _), count in counted.items() if choice == "ship"),
        sum(count for (choice, _), count in counted.items() if choice == "skip"),
        today,
        tuple(DayVotes(day, counted["ship", day], counted["skip", day]) for day in days),
    )
