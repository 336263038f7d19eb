"""A course, event by event or in leaps over any stretches, has the flips that judging every prefix anew has."""

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
from domain.timeline.flips import Flip, LogOrder
from domain.timeline.running_votes import RunningVotes
from domain.timeline.search import fold
from domain.timeline.timeline import Change, RulebookChange, TakeChange, VerdictTimeline, rule_of
from domain.timeline.transitions import TRANSITIONS, key_of
from domain.timeline.transitions import VoteEvent as SingleVote
from domain.timeline.vote_delta import VoteDelta, VotesByDay
from domain.verdicts.decay import Ballots, DayVotes, weigh
from domain.verdicts.verdict import Judgement
from tests.support.instances import day_of
from tests.support.random_rulebooks import rulebooks

VoteEvent: TypeAlias = tuple[LogOrder, Choice | None, Choice | None, int, int | None]
Happened: TypeAlias = VoteEvent | Change

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
def test_any_stretches(books: list[Rulebook], steps: list[tuple[int, object]], slices: list[int]) -> None:
    history = list(_history(books, steps))
    expected, ballots = _judged(history, books[0])
    timeline = VerdictTimeline(1, books[0], votes=RunningVotes(days={}))
    found, left, turn = [], iter(history), 0
    while part := list(islice(left, slices[turn % len(slices)])):
        found += _moved(timeline, part)
        turn += 1
    assert [(flip.place, flip.before, flip.after) for flip in found] == expected
    votes = timeline.votes
    days = tuple(DayVotes(day, *counts) for day, counts in (votes.days or {}).items())
    assert _standing(Ballots(votes.ship, votes.skip, votes.today, days)) == _standing(ballots)


def _history(books: list[Rulebook], steps: list[tuple[int, object]]) -> list[Happened]:
    time, standing, happened = datetime(2025, 1, 1, tzinfo=UTC), dict[int, tuple[Choice, int]](), []
    for number, (hours, what) in enumerate(steps, 1):
        time += timedelta(hours=hours)
        place, day = LogOrder(time, Shard(1), number), day_of(time)
        match what:
            case int(book):
                happened.append(RulebookChange(place, "RulebookAdopted", books[book]))
            case (str(reviewer), take):
                judgement = take and Judgement(reviewer, *take)
                happened.append(TakeChange(place, "Take", reviewer, judgement))
            case (voter, choice):
                before, before_day = standing.pop(voter, (None, None))
                if choice != before:
                    happened.append((place, choice, before, day, before_day))
                if choice:
                    standing[voter] = choice, (day if choice != before else before_day)
    return happened


def _judged(history: list[Happened], book: Rulebook) -> tuple[list[tuple[LogOrder, Label, Label]], Ballots]:
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
            place = event[0] if isinstance(event, tuple) else event.place
            flips.append((place, label, after))
            label = after
    return flips, ballots


def _moved(timeline: VerdictTimeline, slice: list[Happened]) -> list[Flip]:
    changes = [event for event in slice if not isinstance(event, tuple)]
    delta = _cell([event for event in slice if isinstance(event, tuple)])
    if not changes and not timeline.can_flip(delta):
        timeline.fast_forward(delta)
        return []
    skipped = timeline.fast_forward_through(delta, changes)
    if skipped is not None:
        return skipped
    return list(fold(timeline, [_single(event) for event in slice if isinstance(event, tuple)], changes))


def _single(vote: VoteEvent) -> SingleVote:
    place, choice, before, _, before_day = vote
    moved = next(each for each in TRANSITIONS if (each.choice, each.replaced) == (choice, before))
    return *key_of(place), moved, before_day


def _cell(votes: list[VoteEvent]) -> VoteDelta:
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


def _standing(ballots: Ballots) -> tuple[int, int, int | None, list[DayVotes]]:
    days = sorted(each for each in ballots.days if each.ship or each.skip)
    return ballots.ship, ballots.skip, ballots.today, days
