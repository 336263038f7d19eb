"""A timeline in slices of any lengths has the same flips as judging every prefix of the history."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.rulebooks.rulebook import Label, Rulebook
from domain.shared.log import Shard
from domain.shared.types import Choice
from domain.timeline.changes import Change, RulebookChange, TakeChange
from domain.timeline.flips import Flip, LogOrder
from domain.timeline.running_votes import RunningVotes
from domain.timeline.timeline import VerdictTimeline, rule_of
from domain.timeline.transitions import TRANSITIONS, vote_key
from domain.timeline.transitions import VoteEvent as VoteRow
from domain.timeline.vote_delta import VoteDelta, VotesByDay
from domain.verdicts.decay import Ballots, DayVotes, weigh
from domain.verdicts.verdict import Judgement
from tests.support.instances import day_of
from tests.support.random_rulebooks import rulebooks

VoteEvent: TypeAlias = tuple[LogOrder, Choice | None, Choice | None, int, int | None]
Event: TypeAlias = VoteEvent | Change

choices = st.sampled_from(["ship", "ship", "skip", None, None])
takes = st.tuples(
    st.sampled_from("abc"), st.none() | st.tuples(st.integers(0, 100), st.sampled_from(["ship", "skip"]))
)
steps = st.tuples(
    st.sampled_from([0, 0, 1, 1, 1, 5, 40, 500]),  # hours since the one before
    st.one_of(*[st.tuples(st.integers(0, 15), choices)] * 8, takes, st.integers(0, 2)),
)


@settings(max_examples=60, deadline=None)
@given(
    books=st.lists(rulebooks, min_size=3, max_size=3),
    steps=st.lists(steps, min_size=50, max_size=100),
    slices=st.lists(st.integers(1, 12), min_size=3, max_size=5),
)
def test_flips_are_the_same_for_any_slices(
    books: list[Rulebook], steps: list[tuple[int, object]], slices: list[int]
) -> None:
    history = list(_history(books, steps))
    expected, ballots = _judged(history, books[0])
    timeline = VerdictTimeline(1, books[0], votes=RunningVotes(days={}))
    found, left, turn = list[Flip](), iter(history), 0
    while part := list(islice(left, slices[turn % len(slices)])):
        found += _advance(timeline, part)
        turn += 1
    assert [(flip.order, flip.before, flip.after) for flip in found] == expected
    votes = timeline.votes
    days = tuple(DayVotes(day, *counts) for day, counts in (votes.days or {}).items())
    assert _current(Ballots(votes.ship, votes.skip, votes.today, days)) == _current(ballots)


def _history(books: list[Rulebook], steps: list[tuple[int, object]]) -> list[Event]:
    time, ballots, history = datetime(2025, 1, 1, tzinfo=UTC), dict[int, tuple[Choice, int]](), []
    for number, (hours, step) in enumerate(steps, 1):
        time += timedelta(hours=hours)
        order, day = LogOrder(time, Shard(1), number), day_of(time)
        match step:
            case int(book):
                history.append(RulebookChange(order, "RulebookAdopted", books[book]))
            case (str(reviewer), take):
                judgement = take and Judgement(reviewer, *take)
                history.append(TakeChange(order, "Take", reviewer, judgement))
            case (voter, choice):
                before, before_day = ballots.pop(voter, (None, None))
                if choice != before:
                    history.append((order, choice, before, day, before_day))
                if choice:
                    ballots[voter] = choice, (day if choice != before else before_day)
    return history


def _judged(history: list[Event], book: Rulebook) -> tuple[list[tuple[LogOrder, Label, Label]], Ballots]:
    votes, judgements = Counter[tuple[int | None, str | None]](), dict[str, Judgement]()
    today, label, flips, ballots = None, "Unreviewed", [], Ballots()
    for event in history:
        match event:
            case RulebookChange():
                book = event.rulebook
            case TakeChange():
                judgements.pop(event.reviewer, None)
                judgements |= {event.reviewer: event.judgement} if event.judgement else {}
            case (_, choice, before, day, before_day):
                votes[day, choice] += 1
                votes[before_day, before] -= 1
                today = day
        days = [DayVotes(d, votes[d, "ship"], votes[d, "skip"]) for d in {d for d, c in votes if d and c}]
        ship, skip = sum(each.ship for each in days), sum(each.skip for each in days)
        ballots = Ballots(ship, skip, today, tuple(days))
        after = rule_of(book, judgements).label(weigh(ballots, book.community))
        if after != label:
            order = event[0] if isinstance(event, tuple) else event.order
            flips.append((order, label, after))
            label = after
    return flips, ballots


def _advance(timeline: VerdictTimeline, slice: list[Event]) -> list[Flip]:
    changes = [event for event in slice if not isinstance(event, tuple)]
    votes = [event for event in slice if isinstance(event, tuple)]
    delta = _delta(votes)
    flips = timeline.fast_forward(delta, timeline.votes.weigh(delta), changes)
    return timeline.fold([_row(vote) for vote in votes], changes) if flips is None else flips


def _row(vote: VoteEvent) -> VoteRow:
    order, choice, before, _, before_day = vote
    return *vote_key(order), TRANSITIONS[choice, before], before_day


def _delta(votes: list[VoteEvent]) -> VoteDelta:
    moved = Counter[tuple[int | None, str, str | None]]()
    for _, choice, before, day, before_day in votes:
        moved.update([(day, "in", choice), (before_day, "out", before)])
    days = {day for day, _, choice in moved if day and choice} | {day for _, _, _, day, _ in votes}
    added, removed = (
        VotesByDay(
            tuple(days), *(tuple(moved[day, way, choice] for day in days) for choice in ("ship", "skip"))
        )
        for way in ("in", "out")
    )
    totals = [sum(each) for each in (added.ship, removed.ship, added.skip, removed.skip)]
    return VoteDelta(*totals, until=votes[-1][3] if votes else None, added=added, removed=removed)


def _current(ballots: Ballots) -> tuple[int, int, int | None, list[DayVotes]]:
    days = sorted(each for each in ballots.days if each.ship or each.skip)
    return ballots.ship, ballots.skip, ballots.today, days
