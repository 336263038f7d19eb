"""Any verdict equals that of an oracle that shares no code with the domain: label, margins, shares and explanation."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.rulebooks.rulebook import Rulebook, decode_rulebook
from domain.verdicts.decay import Ballots
from domain.verdicts.verdict import Verdict, judge
from tests.oracles.verdicts import (
    Book,
    Judged,
    Number,
    Take,
    Votes,
    compare,
    fewest_takes,
    fewest_votes,
    four_places,
    judge_plainly,
    label_at,
)
from tests.support.random_verdicts import Case, cases, rulebooks

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(cases)
def test_any_verdict_equals_the_oracles(case: Case) -> None:
    check_with_oracle(case)


@pytest.mark.slow
@settings(quick, max_examples=10_000)
@given(cases)
def test_any_of_ten_thousand_verdicts_equals_the_oracles(case: Case) -> None:
    check_with_oracle(case)


@settings(max_examples=40, deadline=None)
@given(rulebooks(), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_any_margin_of_many_votes_is_the_fewest(book: Rulebook, ship: int, skip: int, some: int) -> None:
    """Removing the margin changes the label, in one of two extreme mixtures; removing one vote less never does."""
    ageless = json.loads(book.canonical)
    ageless["community"] |= {"half_life_days": None, "window_days": None}
    verdict = judge([], Ballots(ship, skip), decode_rulebook(json.dumps(ageless).encode()))
    margin = verdict.margin.votes or 0

    def label(ships: int, skips: int) -> str:
        left: Votes = {(0, "ship"): ship - ships, (0, "skip"): skip - skips}
        return judge_plainly(ageless, [], left, 0).label

    assert label(0, 0) == verdict.label
    if margin:
        extremes = (min(margin, ship), margin - min(margin, skip))
        assert {label(ships, margin - ships) for ships in extremes} != {verdict.label}
    for ships in (0, margin - 1, some % max(1, margin)):
        skips = margin - 1 - ships
        if 0 <= ships <= ship and 0 <= skips <= skip:
            assert label(ships, skips) == verdict.label


def check_with_oracle(case: Case) -> None:
    verdict = judge(case.takes, case.ballots, case.book)
    book, takes, votes, today = oracle_inputs(case)
    judged = judge_plainly(book, takes, votes, today)
    assert (verdict.label, verdict.decided) == (judged.label, judged.decided)
    assert verdict.margin.votes == fewest_votes(book, takes, votes, today)
    assert verdict.margin.takes == fewest_takes(book, takes, votes, today)
    check_shares(verdict, judged, book)
    check_distance(verdict, judged, book)
    check_explanation(verdict, judged, case)


def oracle_inputs(case: Case) -> tuple[Book, list[Take], Votes, int]:
    takes: list[Take] = [(take.reviewer, take.score, take.choice) for take in case.takes]
    votes: Votes = {}
    for each in case.ballots.days:
        votes |= {(each.day, "ship"): each.ship, (each.day, "skip"): each.skip}
    book = json.loads(case.book.canonical)
    if not case.book.weighs_votes:  # then the days of votes are not read
        book["community"] |= {"half_life_days": None, "window_days": None}
    return book, takes, votes, case.ballots.today or 0


def check_shares(verdict: Verdict, judged: Judged, book: Book) -> None:
    weighs = book["community"]["weight"] > 0
    by_interval = book["community"]["bound"] == "interval"
    share = None if judged.share is None else (judged.share, judged.share)
    community = judged.interval if by_interval else share
    assert verdict.shares.panel == (rounded(judged.panel) if book["panel"]["weight"] else None)
    assert verdict.shares.community == (both(community) if weighs else None)
    assert verdict.shares.combined == both(judged.combined)


def rounded(number: Number | None) -> Decimal | None:
    return None if number is None else four_places(number)


def both(ends: tuple[Number, Number] | None) -> tuple[Decimal, Decimal] | None:
    return None if ends is None else (four_places(ends[0]), four_places(ends[1]))


def check_distance(verdict: Verdict, judged: Judged, book: Book) -> None:
    """For a plain share: the distance to the nearest share within 0..1 that has another label."""
    if judged.combined is None or judged.decided == "veto":
        assert verdict.distance is None
        return
    low, high = judged.combined
    thresholds = Fraction(book["ship"].lstrip(">=")), Fraction(book["skip"].lstrip("<="))
    if compare(low, high) != 0:
        if verdict.distance is not None:
            assert verdict.distance.share in {
                abs(four_places(gap(low, thresholds[0]))),
                abs(four_places(gap(high, thresholds[1]))),
            }
            assert verdict.distance.label != verdict.label
        return
    nudge = Fraction(1, 10**9)
    near = {
        (abs(four_places(gap(low, threshold))), label)
        for threshold in thresholds
        for share in (threshold - nudge, threshold, threshold + nudge)
        if 0 <= share <= 1 and (label := label_at(book, share, share)) != verdict.label
    }
    if verdict.distance is None:
        assert not near
    else:
        assert (verdict.distance.share, verdict.distance.label) in near
        assert verdict.distance.share == min(share for share, _ in near)


def gap(end: Number, threshold: Fraction) -> Number:
    return (
        end - threshold
        if isinstance(end, Fraction)
        else end - Decimal(threshold.numerator) / threshold.denominator
    )


def check_explanation(verdict: Verdict, judged: Judged, case: Case) -> None:
    explanation = " ".join(verdict.explanation)
    check_counts(explanation, judged, case)
    if judged.panel is not None and case.book.panel.weight:
        assert numbers(r"the panel's share is ([\d.]+)\.", explanation) == [str(rounded(judged.panel))]
    if judged.interval is not None:
        shown = [str(rounded(each)) for each in (judged.share, *judged.interval)]
        assert numbers(r"share of ([\d.]+) and an interval of ([\d.]+) to ([\d.]+) at", explanation) == shown
    if judged.decided not in ("veto", "nothing"):
        ends = both(judged.combined)
        assert ends is not None
        shown_share = f"{ends[0]}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        assert re.search(
            rf"; the share is {shown_share},( rounded,)? which is {verdict.label}\.", explanation
        )
    if verdict.distance is not None:
        assert explanation.endswith(
            f"{verdict.distance.share} of a share is missing to {verdict.distance.label}."
        )


def check_counts(explanation: str, judged: Judged, case: Case) -> None:
    takes, ship = len(case.takes), sum(take.choice == "ship" for take in case.takes)
    if takes > 1:
        assert numbers(r"(\d+) of (\d+) takes says? ship", explanation) == [str(ship), str(takes)]
    number, vote, verb = numbers(
        r"(\d+) community (votes?)(?: of the last (?:\d+ )?days?)? (\w+)", explanation
    )
    assert int(number) == judged.count
    assert (vote, verb) in (
        [("vote", "counts"), ("vote", "is")] if judged.count == 1 else [("votes", "count"), ("votes", "are")]
    )


def numbers(pattern: str, explanation: str) -> list[str]:
    found = re.search(pattern, explanation)
    assert found is not None, explanation
    return list(found.groups())
