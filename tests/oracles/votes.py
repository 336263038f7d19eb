"""The judge: what votes must have come to, folded in plain Python from what was sent and what was answered.

It shares no code with the product. Its rule: a ballot, one voter's vote on one tool, only moves forward in
the order of its ids, compared as bytes; the newest id's choice stands; None has been taken back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from math import isqrt
from pathlib import Path

import asyncpg

from services.embedded.postgres import Postgres

Ballot = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cast:
    """What a voter said of a tool. Without ``id`` the server mints one, and the answer names it."""

    voter: str
    tool: str
    choice: str | None
    id: bytes | None

    @property
    def ballot(self) -> Ballot:
        return self.voter, self.tool


@dataclass(frozen=True, slots=True)
class Answer:
    outcome: str
    position: str
    id: bytes
    choice: str | None
    replaced: str | None


@dataclass(frozen=True, slots=True)
class Call:
    """One sending of a cast, from ``sent`` to ``ended`` in nanoseconds. Without an answer it may have happened."""

    cast: Cast
    sent: int
    ended: int
    answer: Answer | None

    @property
    def id(self) -> bytes | None:
        return self.cast.id or (self.answer.id if self.answer else None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a ballot says; ``replaced`` and ``changed`` are what its newest id did on arrival."""

    id: bytes
    choice: str | None
    replaced: str | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the log, or of the standings, where there is neither type nor time nor what was replaced."""

    shard: int
    position: int
    actor: bytes
    tool: str
    id: bytes
    choice: str | None
    type: str = ""
    replaced: str | None = None
    recorded_at: datetime | None = None
    replaced_at: datetime | None = None

    @property
    def place(self) -> str:
        return f"{self.shard}.{self.position}"


@dataclass(slots=True)
class Findings:
    """What the judge holds against a log; every list should be empty."""

    acknowledged: int = 0
    resent: int = 0
    unsettled: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.wrong]


def furthest(calls: Iterable[Call]) -> str:
    """The last acknowledged position of each shard, as ``min_position`` takes them."""
    reached: dict[int, int] = {}
    for call in calls:
        if call.answer:
            shard, number = map(int, call.answer.position.split("."))
            reached[shard] = max(reached.get(shard, 0), number)
    return ",".join(f"{shard}.{number}" for shard, number in sorted(reached.items()))


def by_ballot(calls: Iterable[Call]) -> dict[Ballot, list[Call]]:
    ballots: dict[Ballot, list[Call]] = defaultdict(list)
    for call in calls:
        ballots[call.cast.ballot].append(call)
    return ballots


def stand(calls: Iterable[Call]) -> dict[Ballot, Standing]:
    """Where every ballot must stand in the end, in whatever order its casts arrived."""
    standings: dict[Ballot, Standing] = {}
    for call in calls:
        if call.id is not None:
            before = standings.get(call.cast.ballot)
            if before is None or call.id > before.id:
                standings[call.cast.ballot] = Standing(call.id, call.cast.choice)
    return standings


def tallies(standings: Mapping[Ballot, Standing], tools: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Ship and skip of each tool."""
    counted = Counter((tool, standing.choice) for (_, tool), standing in standings.items())
    return {tool: (counted[tool, "ship"], counted[tool, "skip"]) for tool in tools}


def arrive(standing: Standing | None, id: bytes, choice: str | None) -> Standing:
    """The ballot after a cast has arrived."""
    if standing is not None and id <= standing.id:
        return standing
    before = standing.choice if standing else None
    changed = choice != before
    return Standing(id, choice, before if changed else None, changed)


def answer_to(standing: Standing, id: bytes) -> tuple[str, str | None, str | None]:
    """Outcome, choice and replaced that a cast with this id must be told, once the ballot stands so."""
    if standing.id != id:
        return "superseded", standing.choice, None
    if not standing.changed:
        return "unchanged", standing.choice, None
    return "counted" if standing.choice else "retracted", standing.choice, standing.replaced


# Evidence: the answers and the log, held against the fold.

EVENTS = """
SELECT e.shard, e.position, e.actor, s.slug, e.id, e.choice, e.type, e.replaced, e.recorded_at, e.replaced_at
  FROM events AS e JOIN slugs AS s USING (tool) WHERE e.shard > 0 ORDER BY e.shard, e.position
"""
STANDINGS = """
SELECT t.shard, t.position, t.actor, s.slug, coalesce(t.id, e.id), t.choice
  FROM standings AS t JOIN slugs AS s USING (tool) LEFT JOIN events AS e USING (shard, position)
 WHERE t.kind = 'v'
"""
SHARDS = """
SELECT h.shard, h.position AS head, count(e.position) AS events, coalesce(max(e.position), 0) AS last,
       count(DISTINCT e.position) AS places, count(*) FILTER (WHERE e.recorded_at < e.before) AS back
  FROM heads AS h
  LEFT JOIN (SELECT *, lag(recorded_at) OVER (PARTITION BY shard ORDER BY position) AS before FROM events) AS e
    USING (shard)
 GROUP BY h.shard, h.position ORDER BY h.shard
"""


@dataclass(slots=True)
class Log:
    """Votes in the order of their shards' positions, ballots as they stand, and each shard's numbers."""

    events: list[Event]
    standings: list[Event]
    shards: list[dict[str, int]]


async def read_log(data: Path) -> Log:
    """Straight from the database of the instance in ``data``, past everything that serves it."""
    server = Postgres.attach(data)
    assert server is not None
    conn = await asyncpg.connect(server.url())
    try:
        events = [_event(row) for row in await conn.fetch(EVENTS)]
        standings = [_event(row) for row in await conn.fetch(STANDINGS)]
        return Log(events, standings, [dict(row) for row in await conn.fetch(SHARDS)])
    finally:
        await conn.close()


def _event(row: asyncpg.Record) -> Event:
    shard, position, actor, tool, cast_id, *rest = row
    return Event(shard, position, actor.bytes, tool, cast_id.bytes, *rest)


def examine(calls: Sequence[Call], log: Log) -> Findings:
    """Everything that answers and log say, against what was sent."""
    found, events, standings = Findings(), log.events, log.standings
    ballots = by_ballot(calls)
    answered = [call for call in calls if call.answer]
    found.acknowledged = len({call.id for call in answered})
    found.resent = len(calls) - found.acknowledged
    found.unsettled = len(calls) - len(answered)
    for ballot in ballots.values():
        found.wrong += _misanswered(ballot)
    found.wrong += _gaps(log.shards)
    found.wrong += _misplaced(answered)
    found.lost += _lost(answered, events)
    found.doubled += _doubled(events)
    found.wrong += _strangers(calls, events)
    found.wrong += _miscounted(ballots, events, standings)
    found.wrong += _broken_chains(events)
    found.lost += _misstanding(stand(calls), standings, events)
    return found


def _gaps(shards: Sequence[dict[str, int]]) -> Iterator[str]:
    """Every place of a shard is taken once, up to its head, and time does not go back along it."""
    for each in shards:
        if len({each["head"], each["events"], each["last"], each["places"]}) > 1 or each["back"]:
            yield f"a shard has gaps, or goes back in time: {each}"


def _misanswered(calls: Sequence[Call]) -> Iterator[str]:
    """Of a ballot whose calls followed one another, every answer is known beforehand."""
    if not _one_by_one(calls) or any(call.id is None for call in calls):
        return
    standing: Standing | None = None
    for call in calls:
        if call.answer is None or call.id is None:
            continue
        standing = arrive(standing, call.id, call.cast.choice)
        expected = answer_to(standing, call.id)
        told = (call.answer.outcome, call.answer.choice, call.answer.replaced)
        if told != expected or call.answer.id != standing.id:
            yield f"{call.cast} was told {call.answer}, expected {expected} and id {standing.id.hex()}"


def _one_by_one(calls: Sequence[Call]) -> bool:
    """No two in flight together, and what may have happened was sent again before anything else."""
    return all(
        call.ended <= after.sent and (call.answer or call.cast == after.cast)
        for call, after in pairwise(calls)
    )


def _misplaced(answered: Sequence[Call]) -> Iterator[str]:
    """The same id is answered with the same position, unless a newer one has superseded it."""
    places: dict[bytes, str] = {}
    for call in answered:
        if call.answer and call.answer.outcome != "superseded":
            before = places.setdefault(call.answer.id, call.answer.position)
            if before != call.answer.position:
                yield f"{call.answer.id.hex()} was first at {before}, then at {call.answer.position}"


def _is_event(answer: Answer) -> bool:
    return answer.outcome in ("counted", "retracted")


def _lost(answered: Sequence[Call], events: Sequence[Event]) -> Iterator[str]:
    """Acknowledged as news, and not in the log where the answer said."""
    logged = {(event.id, event.place) for event in events}
    told = {(c.answer.id, c.answer.position): c.cast for c in answered if c.answer and _is_event(c.answer)}
    for key in told.keys() - logged:
        yield f"{told[key]} was acknowledged at {key[1]} and is not in the log there"


def _doubled(events: Sequence[Event]) -> Iterator[str]:
    for cast_id, times in Counter(event.id for event in events).items():
        if times > 1:
            yield f"{cast_id.hex()} is in the log {times} times"


def _strangers(calls: Sequence[Call], events: Sequence[Event]) -> Iterator[str]:
    """Events that nobody sent. An unsettled call without an id may have left one whose id nobody was told."""
    sent = {call.id: call.cast for call in calls if call.id}
    unsettled = sum(call.id is None for call in calls)
    unknown = [event for event in events if event.id not in sent]
    if len(unknown) > unsettled:
        yield f"{len(unknown)} events have ids that nobody sent, {unknown[0]} among them"
    people: dict[bytes, str] = {}
    for event in events:
        cast = sent.get(event.id)
        if cast is None:
            continue
        kind = "VoteCast" if cast.choice else "VoteRetracted"
        if (event.tool, event.choice, event.type) != (cast.tool, cast.choice, kind):
            yield f"{cast} is in the log as {event}"
        if people.setdefault(event.actor, cast.voter) != cast.voter:
            yield f"{cast.voter} and {people[event.actor]} are one actor in the log"


def _miscounted(
    ballots: Mapping[Ballot, Sequence[Call]], events: Sequence[Event], standings: Sequence[Event]
) -> Iterator[str]:
    """A ballot has as many events as it really changed, when every call of it was answered."""
    logged = Counter((event.actor, event.tool) for event in events)
    actors = {row.id: row.actor for row in standings}
    for (voter, tool), calls in ballots.items():
        if any(call.answer is None for call in calls):
            continue
        changes = {c.answer.id for c in calls if c.answer and _is_event(c.answer)}
        newest = max(call.id for call in calls if call.id)
        actor = actors.get(newest, b"")
        if actor and logged[actor, tool] != len(changes):
            yield f"{voter} on {tool}: {len(changes)} changes, {logged[actor, tool]} events"


def _broken_chains(events: Sequence[Event]) -> Iterator[str]:
    """Along a ballot's events ids rise, and each replaces what the one before it chose, and says when that was."""
    last: dict[tuple[bytes, str], Event] = {}
    for event in sorted(events, key=lambda event: (event.shard, event.position)):
        before = last.get((event.actor, event.tool))
        if before and before.id >= event.id:
            yield f"{event} comes after the newer {before}"
        if event.replaced != (before.choice if before else None) or event.choice == event.replaced:
            yield f"{event} does not follow from {before}"
        if event.replaced_at != (before.recorded_at if before and event.replaced else None):
            yield f"{event} does not say when {before} was"
        last[event.actor, event.tool] = event


def _misstanding(
    expected: Mapping[Ballot, Standing], standings: Sequence[Event], events: Sequence[Event]
) -> Iterator[str]:
    """The standings table, row by row; a row is found by its id, which no other ballot has."""
    rows = {row.id: row for row in standings}
    if len(standings) != len(expected):
        yield f"{len(expected)} ballots were cast, {len(standings)} stand"
    last = {(event.actor, event.tool): event.place for event in events}
    for (voter, tool), standing in expected.items():
        row = rows.get(standing.id)
        if row is None or (row.tool, row.choice) != (tool, standing.choice):
            yield f"{voter} on {tool} should stand at {standing}, and the table has {row}"
        elif row.position and row.place != last.get((row.actor, row.tool)):
            yield f"{row} is not at its last event, {last.get((row.actor, row.tool))}"


# Numbers, exact: what is shown has four places, and what is compared is what is shown.

_Z = Fraction(196, 100)


def places(value: Fraction, count: int = 4) -> str:
    """As a decimal string, rounded half to even."""
    scaled = round(value * 10**count)
    return f"{scaled // 10**count}.{scaled % 10**count:0{count}}"


def share(ship: int, skip: int) -> str | None:
    return places(Fraction(ship, ship + skip)) if ship + skip else None


def interval(ship: int, skip: int) -> list[str] | None:
    """Wilson's, from its quadratic: (2s + z^2 -+ z sqrt(z^2 + 4 s k / n)) / 2(n + z^2)."""
    return [places(_interval_end(ship, skip, sign)) for sign in (-1, 1)] if ship + skip else None


def _interval_end(ship: int, skip: int, sign: int) -> Fraction:
    n = ship + skip
    root = _square_root(_Z**2 + Fraction(4 * ship * skip, n))
    end = (2 * ship + _Z**2 + sign * _Z * root) / (2 * (n + _Z**2))
    return min(max(end, Fraction(0)), Fraction(1))


def tally(ship: int, skip: int) -> dict[str, object]:
    """The numbers as every answer shows them."""
    counts = {"ship": ship, "skip": skip, "total": ship + skip}
    return counts | {"share": share(ship, skip), "interval": interval(ship, skip)}


def _square_root(value: Fraction) -> Fraction:
    """To fifty places."""
    return Fraction(isqrt(value.numerator * 10**100 // value.denominator), 10**50)


Take = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Side:
    """One tool of a comparison: the takes on it, as score and choice, and its tally."""

    name: str
    takes: Sequence[Take]
    ship: int
    skip: int


def winner(left: Side, right: Side) -> dict[str, str | None]:
    """Panel share, then mean score, then the community's lower bound, unrounded; a missing value loses to any."""
    for clause, value in _CLAUSES.items():
        a, b = (value(side) for side in (left, right))
        if a != b:
            wins = a is not None and (b is None or a > b)
            return {
                "side": "left" if wins else "right",
                "label": (left if wins else right).name,
                "clause": clause,
            }
    return {"side": None, "label": "Toss-up", "clause": "none"}


def panel_share(side: Side) -> Fraction | None:
    ship = sum(choice == "ship" for _, choice in side.takes)
    return Fraction(ship, len(side.takes)) if side.takes else None


def mean_score(side: Side) -> Fraction | None:
    scores = [score for score, _ in side.takes]
    return Fraction(sum(scores), len(scores)) if scores else None


def lower_bound(side: Side) -> Fraction | None:
    """None of the votes says ship: exactly 0, as the formula has it."""
    if not side.ship + side.skip:
        return None
    return _interval_end(side.ship, side.skip, -1) if side.ship else Fraction(0)


_CLAUSES: dict[str, Callable[[Side], Fraction | None]] = {
    "panel share": panel_share,
    "mean score": mean_score,
    "community lower bound": lower_bound,
}
