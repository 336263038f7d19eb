"""An oracle for votes: the expected ballots, answers and log, folded in plain Python from calls and their answers.

It shares no code with the product. Its rule: on a ballot, one voter's vote on one tool, the newest id wins, compared as
bytes; the choice None is a retraction.
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
    """A vote as sent. Without ``id`` the server assigns one and returns it."""

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
    """One request with a cast, from ``sent`` to ``ended`` in nanoseconds. Without an answer it may have been committed."""

    cast: Cast
    sent: int
    ended: int
    answer: Answer | None

    @property
    def id(self) -> bytes | None:
        return self.cast.id or (self.answer.id if self.answer else None)


@dataclass(frozen=True, slots=True)
class BallotState:
    """The choice of the newest id, and what that id did when it arrived: ``replaced`` and ``changed``."""

    id: bytes
    choice: str | None
    replaced: str | None = None
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the log, or of the table standings, which has no type, time or replaced choice."""

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
    def location(self) -> str:
        return f"{self.shard}.{self.position}"


@dataclass(slots=True)
class Findings:
    """Violations found in a log; every list should be empty. ``unanswered`` calls may or may not have been committed."""

    acknowledged: int = 0
    resent: int = 0
    unanswered: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.lost, *self.duplicated, *self.wrong]


def last_positions(calls: Iterable[Call]) -> str:
    """The last acknowledged position of each shard, in the form of ``min_position``."""
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


def final_states(calls: Iterable[Call]) -> dict[Ballot, BallotState]:
    """The expected state of every ballot, which does not depend on the order in which casts arrived."""
    states: dict[Ballot, BallotState] = {}
    for call in calls:
        if call.id is not None:
            before = states.get(call.cast.ballot)
            if before is None or call.id > before.id:
                states[call.cast.ballot] = BallotState(call.id, call.cast.choice)
    return states


def tallies(states: Mapping[Ballot, BallotState], tools: Iterable[str]) -> dict[str, tuple[int, int]]:
    """(ship, skip) of each tool."""
    counted = Counter((tool, state.choice) for (_, tool), state in states.items())
    return {tool: (counted[tool, "ship"], counted[tool, "skip"]) for tool in tools}


def apply(state: BallotState | None, id: bytes, choice: str | None) -> BallotState:
    """The ballot after a cast has arrived."""
    if state is not None and id <= state.id:
        return state
    before = state.choice if state else None
    changed = choice != before
    return BallotState(id, choice, before if changed else None, changed)


def answer_to(state: BallotState, id: bytes) -> tuple[str, str | None, str | None]:
    """The expected outcome, choice and replaced choice for a cast with this id, given the ballot after it."""
    if state.id != id:
        return "superseded", state.choice, None
    if not state.changed:
        return "unchanged", state.choice, None
    return "counted" if state.choice else "retracted", state.choice, state.replaced


# The answers and the log, compared with the fold.

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
    """Vote events by shard and position, the rows of standings, and counts per shard."""

    events: list[Event]
    standings: list[Event]
    shards: list[dict[str, int]]


async def read_log(data: Path) -> Log:
    """Directly from the database of the instance in ``data``, not through its API."""
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
    """Compare answers and log with the calls."""
    found, events, standings = Findings(), log.events, log.standings
    ballots = by_ballot(calls)
    answered = [call for call in calls if call.answer]
    found.acknowledged = len({call.id for call in answered})
    found.resent = len(calls) - found.acknowledged
    found.unanswered = len(calls) - len(answered)
    for ballot in ballots.values():
        found.wrong += _wrong_answers(ballot)
    found.wrong += _gaps(log.shards)
    found.wrong += _wrong_positions(answered)
    found.lost += _lost(answered, events)
    found.duplicated += _duplicated(events)
    found.wrong += _unsent(calls, events)
    found.wrong += _wrong_event_counts(ballots, events, standings)
    found.wrong += _broken_chains(events)
    found.lost += _wrong_standings(final_states(calls), standings, events)
    return found


def _gaps(shards: Sequence[dict[str, int]]) -> Iterator[str]:
    """A shard's positions are gapless up to its head, and its times do not decrease."""
    for each in shards:
        if len({each["head"], each["events"], each["last"], each["places"]}) > 1 or each["back"]:
            yield f"a shard has gaps, or its times decrease: {each}"


def _wrong_answers(calls: Sequence[Call]) -> Iterator[str]:
    """For a ballot whose calls did not overlap, every answer is determined."""
    if not _sequential(calls) or any(call.id is None for call in calls):
        return
    state: BallotState | None = None
    for call in calls:
        if call.answer is None or call.id is None:
            continue
        state = apply(state, call.id, call.cast.choice)
        expected = answer_to(state, call.id)
        actual = (call.answer.outcome, call.answer.choice, call.answer.replaced)
        if actual != expected or call.answer.id != state.id:
            yield f"{call.cast} was answered {call.answer}, expected {expected} and id {state.id.hex()}"


def _sequential(calls: Sequence[Call]) -> bool:
    """No two calls overlap, and an unanswered one was repeated before any other."""
    return all(
        call.ended <= after.sent and (call.answer or call.cast == after.cast)
        for call, after in pairwise(calls)
    )


def _wrong_positions(answered: Sequence[Call]) -> Iterator[str]:
    """The same id always gets the same position, unless a newer id has superseded it."""
    places: dict[bytes, str] = {}
    for call in answered:
        if call.answer and call.answer.outcome != "superseded":
            before = places.setdefault(call.answer.id, call.answer.position)
            if before != call.answer.position:
                yield f"{call.answer.id.hex()} was first at {before}, then at {call.answer.position}"


def _is_event(answer: Answer) -> bool:
    return answer.outcome in ("counted", "retracted")


def _lost(answered: Sequence[Call], events: Sequence[Event]) -> Iterator[str]:
    """Casts that were acknowledged as events but are not in the log at that position."""
    logged = {(event.id, event.location) for event in events}
    answered_at = {
        (c.answer.id, c.answer.position): c.cast for c in answered if c.answer and _is_event(c.answer)
    }
    for key in answered_at.keys() - logged:
        yield f"{answered_at[key]} was acknowledged at {key[1]} and is not in the log there"


def _duplicated(events: Sequence[Event]) -> Iterator[str]:
    for cast_id, times in Counter(event.id for event in events).items():
        if times > 1:
            yield f"{cast_id.hex()} is in the log {times} times"


def _unsent(calls: Sequence[Call], events: Sequence[Event]) -> Iterator[str]:
    """Events without a call that sent them. An unanswered call without an id may have left an event with an unknown id."""
    sent = {call.id: call.cast for call in calls if call.id}
    without_id = sum(call.id is None for call in calls)
    unknown = [event for event in events if event.id not in sent]
    if len(unknown) > without_id:
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


def _wrong_event_counts(
    ballots: Mapping[Ballot, Sequence[Call]], events: Sequence[Event], standings: Sequence[Event]
) -> Iterator[str]:
    """A ballot has one event for each change, provided that all its calls were answered."""
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
    """Along a ballot's events ids increase, and each event names the previous choice and its time."""
    last: dict[tuple[bytes, str], Event] = {}
    for event in sorted(events, key=lambda event: (event.shard, event.position)):
        before = last.get((event.actor, event.tool))
        if before and before.id >= event.id:
            yield f"{event} comes after the newer {before}"
        if event.replaced != (before.choice if before else None) or event.choice == event.replaced:
            yield f"{event} does not follow from {before}"
        if event.replaced_at != (before.recorded_at if before and event.replaced else None):
            yield f"{event} does not have the time of {before}"
        last[event.actor, event.tool] = event


def _wrong_standings(
    expected: Mapping[Ballot, BallotState], standings: Sequence[Event], events: Sequence[Event]
) -> Iterator[str]:
    """The table standings has one row for each ballot, with the expected choice; ids identify rows."""
    rows = {row.id: row for row in standings}
    if len(standings) != len(expected):
        yield f"{len(expected)} ballots were cast, and standings has {len(standings)} rows"
    last = {(event.actor, event.tool): event.location for event in events}
    for (voter, tool), state in expected.items():
        row = rows.get(state.id)
        if row is None or (row.tool, row.choice) != (tool, state.choice):
            yield f"{voter} on {tool} should be {state}, and the table has {row}"
        elif row.position and row.location != last.get((row.actor, row.tool)):
            yield f"{row} is not at its last event, {last.get((row.actor, row.tool))}"


# Numbers, computed exactly and rounded to four places, as answers show them.

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
    """A tally as answers show it."""
    counts = {"ship": ship, "skip": skip, "total": ship + skip}
    return counts | {"share": share(ship, skip), "interval": interval(ship, skip)}


def _square_root(value: Fraction) -> Fraction:
    """To fifty places."""
    return Fraction(isqrt(value.numerator * 10**100 // value.denominator), 10**50)


Take = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Side:
    """One tool of a comparison: its takes as (score, choice), and its tally."""

    name: str
    takes: Sequence[Take]
    ship: int
    skip: int


def winner(left: Side, right: Side) -> dict[str, str | None]:
    """By panel share, then mean score, then the community's lower bound, unrounded; a missing value loses to any other."""
    for clause, value in _CLAUSES.items():
        a, b = (value(side) for side in (left, right))
        if a != b:
            left_wins = a is not None and (b is None or a > b)
            return {
                "side": "left" if left_wins else "right",
                "label": (left if left_wins else right).name,
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
    """Exactly 0 without votes for ship, as in the formula."""
    if not side.ship + side.skip:
        return None
    return _interval_end(side.ship, side.skip, -1) if side.ship else Fraction(0)


_CLAUSES: dict[str, Callable[[Side], Fraction | None]] = {
    "panel share": panel_share,
    "mean score": mean_score,
    "community lower bound": lower_bound,
}
