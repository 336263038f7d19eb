"""Labels: no votes, one vote, unanimous votes, ties, no takes; thresholds at 0 and 1; margins around the minimum."""

from __future__ import annotations

import pytest

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Label, Rulebook, read_rulebook
from domain.verdicts.decay import Ballots, DayVotes
from domain.verdicts.labels import DecidedBy
from domain.verdicts.verdict import Judgement, Verdict, judge

VETO, BOUND, SIXTY = PRESETS["community-veto"], PRESETS["lower-bound"], PRESETS["sixty-days"]
TODAY = 20_000


def book(*lines: str) -> Rulebook:
    return read_rulebook("\n".join(['name = "x"', *lines]))


HALF_AND_HALF = book("[community]", "weight = 1", "minimum = 1")


def panel(ship: int, skip: int, score: int = 50) -> list[Judgement]:
    return [
        *(Judgement(f"for-{n}", score, "ship") for n in range(ship)),
        *(Judgement(f"against-{n}", score, "skip") for n in range(skip)),
    ]


def votes(ship: int, skip: int, ago: int = 0) -> Ballots:
    return Ballots(ship, skip, TODAY, (DayVotes(TODAY - ago, ship, skip),))


def outcome(verdict: Verdict) -> tuple[Label, DecidedBy]:
    return verdict.label, verdict.decided


@pytest.mark.parametrize(
    ("ship", "skip", "expected"),
    [
        (0, 0, ("Unreviewed", "nothing")),
        (1, 0, ("Unreviewed", "nothing")),
        (9, 0, ("Unreviewed", "nothing")),
        (10, 0, ("Ship", "community")),
        (0, 10, ("Skip", "community")),
        (5, 5, ("Split", "community")),
        (8, 2, ("Split", "community")),  # 0.4902
        (9, 2, ("Ship", "community")),  # 0.5230
        (60, 40, ("Ship", "community")),  # 0.5020
        (59, 41, ("Split", "community")),  # 0.4921
    ],
)
def test_the_community_alone_decides_by_its_lower_bound(
    ship: int, skip: int, expected: tuple[Label, DecidedBy]
) -> None:
    assert outcome(judge(panel(1, 3), votes(ship, skip), BOUND)) == expected


@pytest.mark.parametrize(
    ("takes", "ship", "skip", "expected"),
    [
        ((3, 0), 0, 0, ("Ship", "panel")),
        ((3, 0), 0, 29, ("Ship", "panel")),
        ((3, 0), 0, 30, ("Split", "veto")),
        ((0, 3), 0, 30, ("Skip", "panel")),
        ((3, 0), 30, 70, ("Split", "veto")),  # upper end 0.3958
        ((3, 0), 31, 69, ("Ship", "panel")),  # upper end 0.4063
        ((0, 0), 0, 30, ("Unreviewed", "nothing")),
    ],
)
def test_a_veto_turns_ship_into_split(
    takes: tuple[int, int], ship: int, skip: int, expected: tuple[Label, DecidedBy]
) -> None:
    assert outcome(judge(panel(*takes), votes(ship, skip), VETO)) == expected


@pytest.mark.parametrize(
    ("takes", "ship", "skip", "expected"),
    [
        ((1, 0), 0, 1, ("Split", "panel and community")),
        ((1, 0), 1, 99, ("Ship", "panel and community")),
        ((1, 1), 1, 1, ("Split", "panel and community")),
        ((0, 0), 1, 0, ("Ship", "community")),
        ((0, 0), 0, 0, ("Unreviewed", "nothing")),
        ((1, 0), 0, 0, ("Ship", "panel")),
    ],
)
def test_panel_and_community_decide_together(
    takes: tuple[int, int], ship: int, skip: int, expected: tuple[Label, DecidedBy]
) -> None:
    assert outcome(judge(panel(*takes), votes(ship, skip), HALF_AND_HALF)) == expected


@pytest.mark.parametrize(
    ("ship", "skip", "takes", "expected"),
    [
        (">= 1/2", "< 1/2", (1, 1), "Ship"),
        ("> 1/2", "<= 1/2", (1, 1), "Skip"),
        (">= 1", "< 1", (9, 1), "Skip"),
        (">= 1", "< 1", (9, 0), "Ship"),
        ("> 0", "<= 0", (1, 9), "Ship"),
        ("> 0", "<= 0", (0, 9), "Skip"),
        ("> 1", "< 1/2", (9, 0), "Split"),
        ("> 1/2", "< 0", (0, 9), "Split"),
        (">= 0", "< 0", (0, 9), "Ship"),
        (">= 3/4", "< 3/4", (3, 1), "Ship"),
        (">= 80%", "< 1/2", (4, 1), "Ship"),
        (">= 80%", "< 1/2", (3, 1), "Split"),
    ],
)
def test_thresholds_are_inclusive_or_exclusive(
    ship: str, skip: str, takes: tuple[int, int], expected: Label
) -> None:
    by = book(f'ship = "{ship}"', f'skip = "{skip}"')
    assert judge(panel(*takes), Ballots(), by).label == expected


@pytest.mark.parametrize(
    ("ship", "skip", "takes", "distance"),
    [
        (">= 1/2", "< 1/2", (3, 1), ("Skip", "0.2500")),  # no Split where the thresholds meet
        ("> 1/2", "< 1/2", (3, 1), ("Split", "0.2500")),
        ("> 1/2", "< 1/2", (1, 1), ("Ship", "0.0000")),
        ("> 3/4", "< 1/2", (3, 2), ("Skip", "0.1000")),
        (">= 0", "< 0", (3, 1), None),
        ("> 1", "< 0", (3, 1), None),
        ("> 1", "< 1/2", (3, 1), ("Skip", "0.2500")),  # no share passes 1
    ],
)
def test_the_distance_is_to_a_label_that_is_possible(
    ship: str, skip: str, takes: tuple[int, int], distance: tuple[Label, str] | None
) -> None:
    found = judge(panel(*takes), Ballots(), book(f'ship = "{ship}"', f'skip = "{skip}"')).distance
    assert (found and (found.label, str(found.share))) == distance


@pytest.mark.parametrize("between", ["Ship", "Skip"])
def test_shares_between_the_thresholds_may_have_another_label(between: Label) -> None:
    by = book('ship = ">= 80%"', 'skip = "< 20%"', f'between = "{between}"')
    verdict = judge(panel(1, 1), Ballots(), by)
    assert verdict.label == between
    assert verdict.explanation[3] == (
        f"Ship takes at least 4/5 and Skip below 1/5, and what lies between is {between}; "
        f"the share is 0.5000, which is {between}."
    )
    assert verdict.distance is not None
    assert (verdict.distance.label, str(verdict.distance.share)) == (
        "Skip" if between == "Ship" else "Ship",
        "0.3000",
    )


def test_a_panel_below_its_quorum_decides_nothing() -> None:
    verdict = judge(panel(1, 0), Ballots(), book("[panel]", "quorum = 2"))
    assert outcome(verdict) == ("Unreviewed", "nothing")
    assert verdict.explanation[1] == "The only take says ship; 1 counts, and the quorum is 2."
    assert verdict.margin.takes is None


def test_a_reviewer_of_weight_0_does_not_count() -> None:
    by = book("[panel]", "weights = { for-0 = 0, against-0 = 3 }")
    verdict = judge(panel(2, 1), Ballots(), by)
    assert outcome(verdict) == ("Skip", "panel")
    assert (
        verdict.explanation[1]
        == "2 of 3 takes say ship; 2 count; by choice and weight the panel's share is 0.2500."
    )


def test_a_panel_of_reviewers_of_weight_0_decides_nothing() -> None:
    by = book("[panel]", "weights = { for-0 = 0 }")
    verdict = judge(panel(1, 0), Ballots(), by)
    assert (outcome(verdict), verdict.margin.takes) == (("Unreviewed", "nothing"), None)
    assert verdict.explanation[1] == "The only take says ship; 0 count, and the quorum is 1."


@pytest.mark.parametrize(("score", "expected"), [(69, "Split"), (70, "Ship"), (50, "Split"), (49, "Skip")])
def test_scores_may_count_instead_of_choices(score: int, expected: Label) -> None:
    assert judge(panel(1, 1, score), Ballots(), PRESETS["score-weighted"]).label == expected


@pytest.mark.parametrize(("score", "worth"), [(0, "0.1000"), (49, "0.1000"), (50, "0.6000"), (80, "1.0000")])
def test_scores_may_count_by_bands(score: int, worth: str) -> None:
    by = book("[panel]", 'counts = "scores"', "bands = [[0, 10], [50, 60], [80, 100]]")
    assert str(judge(panel(1, 0, score), Ballots(), by).shares.panel) == worth


def test_a_share_that_rounds_to_its_threshold_is_marked_as_rounded() -> None:
    by = book("[panel]", "weight = 0", "[community]", "weight = 1")
    verdict = judge([], Ballots(500_001, 500_000), by)
    assert verdict.label == "Ship"
    assert "the share is 0.5000, rounded, which is Ship." in verdict.explanation[3]


@pytest.mark.parametrize(
    ("ship", "skip", "margin"),
    [
        (0, 0, None),
        (9, 0, None),
        (10, 0, 1),  # one vote less is below the minimum
        (15, 0, 6),  # the minimum is nearer than the threshold
        (60, 40, 1),  # 59 of 99 have 0.4972
        (40, 60, 1),
        (5, 5, 1),  # Split, and no label below the minimum
        (59, 41, 2),  # 59 of 98 ship
    ],
)
def test_the_margin_in_votes(ship: int, skip: int, margin: int | None) -> None:
    assert judge([], votes(ship, skip), BOUND).margin.votes == margin


def test_the_margin_removes_the_heaviest_votes_first() -> None:
    """For ship, 4 votes of today and 16 of a half-life ago, which weigh half; for skip, 10 of today."""
    days = (DayVotes(TODAY, 4, 10), DayVotes(TODAY - 60, 16, 0))
    verdict = judge([], Ballots(20, 10, TODAY, days), SIXTY)
    assert (verdict.label, verdict.margin.votes) == ("Ship", 2)  # 2 + 8 against 10 is Split


def test_votes_outside_the_window_have_no_margin() -> None:
    by = book("[panel]", "weight = 0", "[community]", "weight = 1", "minimum = 1", "window_days = 7")
    assert judge([], votes(5, 0, ago=7), by).margin.votes is None
    assert judge([], votes(5, 0, ago=6), by).margin.votes == 5


def test_a_veto_has_a_margin_too() -> None:
    assert judge(panel(1, 0), votes(0, 30), VETO).margin.votes == 1
    assert judge(panel(1, 0), votes(31, 69), VETO).margin.votes == 1  # 30 of 99 are vetoed
    assert judge(panel(0, 1), votes(31, 69), VETO).margin.votes is None


def test_votes_have_no_margin_under_the_default_rulebook() -> None:
    assert judge(panel(1, 0), votes(0, 10**6), DEFAULT).margin.votes is None
