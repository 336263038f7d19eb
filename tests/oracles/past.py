"""An oracle of past states: the log up to any moment, folded one event at a time in plain Python.

It shares no code with the product. Events are in order of time, shard and position. The last event of a ballot (one
actor's vote on one tool), a bookmark, a reviewer's take or a tool's details decides its state.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

EVENTS = """
SELECT shard, position, recorded_at, type, tool, actor, choice, data::text FROM events
 ORDER BY recorded_at, shard, position
"""
Order = tuple[datetime, int, int]


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    shard: int
    position: int
    recorded_at: datetime
    type: str
    tool: int
    actor: bytes
    choice: str | None
    data: dict[str, Any]

    @property
    def order(self) -> Order:
        return self.recorded_at, self.shard, self.position

    @property
    def position_text(self) -> str:
        return f"{self.shard}.{self.position}"


@dataclass(slots=True)
class State:
    """Everything that answers show, as of the last event added."""

    heads: dict[int, int]
    ballots: dict[tuple[bytes, int], str | None] = field(default_factory=dict)
    saved: dict[tuple[bytes, int], bool] = field(default_factory=dict)
    takes: dict[tuple[int, str], LoggedEvent] = field(default_factory=dict)
    tools: dict[int, LoggedEvent] = field(default_factory=dict)
    panel: dict[str, tuple[bool, int]] = field(default_factory=dict)
    votes: Counter[tuple[int, str | None]] = field(default_factory=Counter)
    since: dict[tuple[bytes, int], date] = field(default_factory=dict)
    dated: Counter[tuple[int, date, str | None]] = field(default_factory=Counter)
    newest: dict[int, date] = field(default_factory=dict)

    def add(self, event: LoggedEvent) -> None:
        self.heads[event.shard] = event.position
        match event.type:
            case "VoteCast" | "VoteRetracted":
                key = event.actor, event.tool
                self.votes[event.tool, self.ballots.get(key)] -= 1
                self.votes[event.tool, event.choice] += 1
                self._date(event)
                self.ballots[key] = event.choice
            case "BookmarkSaved" | "BookmarkDropped":
                self.saved[event.actor, event.tool] = event.type == "BookmarkSaved"
            case "TakePublished" | "TakeWithdrawn":
                self.takes[event.tool, event.data["reviewer"]] = event
            case "ToolListed" | "ToolRevised" | "ToolRetired":
                self.tools[event.tool] = event
            case "ReviewerSeated" | "ReviewerRetired":
                self.panel[event.data["slug"]] = event.type == "ReviewerRetired", event.data["seat"]

    def _date(self, event: LoggedEvent) -> None:
        key, today = (event.actor, event.tool), event.recorded_at.astimezone(UTC).date()
        if key in self.since:
            self.dated[event.tool, self.since[key], self.ballots[key]] -= 1
        self.dated[event.tool, today, event.choice] += 1
        self.since[key] = self.newest[event.tool] = today

    @property
    def vector(self) -> str:
        return ",".join(f"{shard}.{position}" for shard, position in sorted(self.heads.items()))

    def tally(self, tool: int) -> tuple[int, int]:
        return self.votes[tool, "ship"], self.votes[tool, "skip"]

    def days(self, tool: int) -> list[tuple[date, int, int]]:
        """(day, ship, skip) of each day with current votes, oldest first."""
        found = {day for (of, day, choice), votes in self.dated.items() if of == tool and choice and votes}
        return [(day, self.dated[tool, day, "ship"], self.dated[tool, day, "skip"]) for day in sorted(found)]

    def bookmarks(self, tool: int) -> int:
        return sum(saved for (_, of), saved in self.saved.items() if of == tool)

    def scorecard(self, tool: int) -> list[tuple[str, int | None, str | None, int | None]]:
        """(reviewer, score, choice, revision) in the order of seats, retired reviewers last, and only with a take.

        Without a take all but the reviewer is None.
        """
        rows = []
        for reviewer in sorted(self.panel, key=lambda slug: self.panel[slug]):
            take = self.takes.get((tool, reviewer))
            is_current = take is not None and take.type == "TakePublished"
            shown = (
                (take.data["score"], take.choice, take.data["revision"])
                if take and is_current
                else (None,) * 3
            )
            if is_current or not self.panel[reviewer][0]:
                rows.append((reviewer, *shown))
        return rows

    def card(self, tool: int) -> dict[str, Any]:
        """What a card shows, in the form of ``card_in``."""
        listed, (ship, skip) = self.tools[tool], self.tally(tool)
        retired = listed.type == "ToolRetired"
        return {
            "slug": listed.data["slug"],
            "name": listed.data["details"]["name"],
            "revision": listed.data["revision"],
            "retired": listed.recorded_at if retired else None,
            "ship": ship,
            "skip": skip,
            "bookmarks": self.bookmarks(tool),
            "scorecard": self.scorecard(tool),
            "label": self.label(tool),
            "position": self.vector,
        }

    def label(self, tool: int) -> str:
        choices = [choice for _, _, choice, _ in self.scorecard(tool) if choice]
        ship, skip = choices.count("ship"), choices.count("skip")
        return "Unreviewed" if not choices else "Ship" if ship > skip else "Skip" if skip > ship else "Split"


def card_in(card: dict[str, Any]) -> dict[str, Any]:
    """The parts of a card in an answer that ``State.card`` predicts."""
    takes = [(row["reviewer"]["slug"], row["take"] or {}) for row in card["scorecard"]]
    retired = card["retired_at"]
    return {
        **{part: card[part] for part in ("slug", "name", "revision", "bookmarks")},
        "retired": retired and datetime.fromisoformat(retired),
        "ship": card["tally"]["ship"],
        "skip": card["tally"]["skip"],
        "scorecard": [
            (slug, take.get("score"), take.get("choice"), take.get("revision")) for slug, take in takes
        ],
        "label": card["verdict"]["label"],
        "position": card["verdict"]["position"],
    }


async def read_history(conn: asyncpg.Connection[asyncpg.Record]) -> list[LoggedEvent]:
    """Every event, in order of time, shard and position."""
    rows = await conn.fetch(EVENTS)
    return [
        LoggedEvent(*row[:4], row[4] or 0, row[5].bytes, row[6], json.loads(row[7] or "{}")) for row in rows
    ]


def state_of(history: Iterable[LoggedEvent], shards: Sequence[int]) -> State:
    state = State(dict.fromkeys(shards, 0))
    for event in history:
        state.add(event)
    return state


def state_at_each(
    history: Sequence[LoggedEvent], ends: Iterable[Order], shards: Sequence[int]
) -> Iterator[State]:
    """The state after each of ``ends``, which must be in order."""
    state, left = State(dict.fromkeys(shards, 0)), deque(history)
    for end in ends:
        while left and left[0].order <= end:
            state.add(left.popleft())
        yield state


def end_of(time: datetime) -> Order:
    """After every event recorded at that time."""
    return time, 2**15, 0


def up_to(history: Sequence[LoggedEvent], vector: str) -> list[LoggedEvent]:
    """The events of each shard up to its position in the vector."""
    ends = dict(tuple(map(int, part.split("."))) for part in vector.split(","))
    return [event for event in history if event.position <= ends[event.shard]]


Bucket = tuple[datetime, int, int, int]


def history_of(events: Iterable[LoggedEvent], size: str, start: datetime, end: datetime) -> list[Bucket]:
    """(start of the hour or day in UTC, casts in it, ship and skip at its end) of the votes on one tool.

    Votes before ``start`` are in the tallies only; votes from ``end`` on are left out.
    """
    ballots: dict[bytes, str | None] = {}
    tally, buckets = Counter[str | None](), dict[datetime, Bucket]()
    for event in events:
        if event.recorded_at >= end:
            break
        tally[ballots.get(event.actor)] -= 1
        tally[event.choice] += 1
        ballots[event.actor] = event.choice
        time = max(event.recorded_at, start).astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        bucket = time.replace(hour=0) if size == "day" else time
        casts = buckets[bucket][1] if bucket in buckets else 0
        buckets[bucket] = (bucket, casts + (event.recorded_at >= start), tally["ship"], tally["skip"])
    return list(buckets.values())
