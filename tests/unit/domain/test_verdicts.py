"""Verdicts: the default rulebook's labels, margins, and the same bytes for the same inputs."""

from __future__ import annotations

from decimal import Decimal
from hashlib import sha256
from itertools import combinations, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rulebooks.presets import DEFAULT, PRESETS
from domain.rulebooks.rulebook import Label, Rulebook, read_rulebook
from domain.shared.types import Choice
from domain.verdicts.decay import Ballots
from domain.verdicts.verdict import Judgement, count, inputs_digest, judge, split

NO_VOTES = Ballots()
TWO_THIRDS = read_rulebook('name = "two-thirds"\nship = "> 2/3"\nskip = "< 2/3"')
SMALL_PANELS = list(product(range(5), range(5)))


def takes(ship: int, skip: int) -> list[Judgement]:
    choices: list[Choice] = ["ship"] * ship + ["skip"] * skip
    return [Judgement(f"reviewer-{n}", 50, choice) for n, choice in enumerate(choices)]


@pytest.mark.parametrize(
    ("ship", "skip", "expected"),
    [
        (0, 0, "Unreviewed"),
        (1, 0, "Ship"),
        (0, 1, "Skip"),
        (1, 1, "Split"),
        (3, 1, "Ship"),
        (3, 4, "Skip"),
        (3, 3, "Split"),
    ],
)
def test_the_label_by_the_default_rulebook(ship: int, skip: int, expected: Label) -> None:
    assert judge(takes(ship, skip), NO_VOTES, DEFAULT).label == expected


def test_another_rulebook_has_another_threshold() -> None:
    labels = [judge(takes(ship, 3 - ship), NO_VOTES, TWO_THIRDS).label for ship in range(4)]
    assert labels == ["Skip", "Skip", "Split", "Ship"]


def test_votes_never_change_the_default_verdict() -> None:
    verdict = judge(takes(1, 0), Ballots(0, 10_000), DEFAULT)
    assert (verdict.label, verdict.margin.votes) == ("Ship", None)


def test_missing_takes_are_left_out_of_the_denominator() -> None:
    panel = split([Judgement("builder", 74, "ship"), Judgement("skeptic", 55, "skip")])
    assert (panel.ship, panel.skip, panel.share, panel.mean_score) == (
        1,
        1,
        Decimal("0.5000"),
        Decimal("64.5"),
    )


def test_no_takes_have_no_share_and_no_mean() -> None:
    panel = split([])
    assert (panel.ship, panel.skip, panel.share, panel.mean_score) == (0, 0, None, None)


@pytest.mark.parametrize("rulebook", [DEFAULT, TWO_THIRDS], ids=lambda rulebook: rulebook.name)
@pytest.mark.parametrize(("ship", "skip"), SMALL_PANELS)
def test_the_margin_is_the_fewest_takes_whose_removal_changes_the_label(
    ship: int, skip: int, rulebook: Rulebook
) -> None:
    panel = takes(ship, skip)
    verdict = judge(panel, NO_VOTES, rulebook)
    changing = (
        removed
        for removed in range(len(panel) + 1)
        for kept in combinations(panel, len(panel) - removed)
        if judge(kept, NO_VOTES, rulebook).label != verdict.label
    )
    assert verdict.margin.takes == next(changing, None)


def test_the_explanation_names_the_takes_and_the_threshold() -> None:
    assert judge(takes(3, 1), Ballots(2, 0), DEFAULT).explanation == (
        "The panel decided.",
        "3 of 4 takes say ship; by choice the panel's share is 0.7500.",
        "2 community votes are shown beside the verdict; this rulebook does not weigh them.",
        "Ship takes above 1/2 and Skip below 1/2; the share is 0.7500, which is Ship.",
        "0.2500 of a share is missing to Split.",
    )


def test_a_panel_of_weight_0_decides_nothing() -> None:
    verdict = judge(takes(1, 0), Ballots(1, 0), PRESETS["lower-bound"])
    assert (verdict.label, verdict.decided, verdict.shares.combined) == ("Unreviewed", "nothing", None)
    assert verdict.explanation == (
        "Nothing decided: there is no panel that counts, and no community that weighs.",
        "The only take says ship; this rulebook does not weigh the panel.",
        "1 community vote counts, fewer than the 10 from which they weigh.",
    )


def test_a_tally_is_preliminary_below_the_minimum() -> None:
    assert [count(total, 0, DEFAULT).preliminary for total in (0, 9, 10, 11)] == [True, True, False, False]


def test_a_tally_without_votes_has_nulls_not_zeros() -> None:
    none = count(0, 0, DEFAULT)
    assert (none.total, none.share, none.interval) == (0, None, None)


def test_the_digest_of_inputs_is_of_these_bytes() -> None:
    judged = [Judgement("skeptic", 55, "skip"), Judgement("builder", 74, "ship")]
    canonical = (
        b'{"ship":3,"skip":1,"takes":[{"choice":"ship","reviewer":"builder","score":74},'
        b'{"choice":"skip","reviewer":"skeptic","score":55}]}'
    )
    digest = inputs_digest(judged, Ballots(3, 1), DEFAULT)
    assert digest == "sha256:" + sha256(canonical).hexdigest()


def test_the_default_rulebooks_digest_is_of_these_bytes() -> None:
    canonical = (
        b'{"between":"Split","community":{"bound":"share","half_life_days":null,"minimum":10,"veto_below":null,'
        b'"weight":0,"window_days":null,"z":"1.96"},"comparison":["panel share","mean score","community lower bound"],'
        b'"description":"Most takes decide. The community is shown beside the verdict and does not change it.",'
        b'"name":"default","panel":{"bands":[],"counts":"choices","quorum":1,"weight":1,"weights":{}},'
        b'"ship":">1/2","skip":"<1/2","title":"Panel majority"}'
    )
    assert DEFAULT.digest == "sha256:" + sha256(canonical).hexdigest()


def test_the_order_of_takes_does_not_matter() -> None:
    panel = takes(2, 2)
    verdicts = {judge(order, NO_VOTES, DEFAULT) for order in permutations(panel)}
    assert len(verdicts) == 1


@given(st.integers(0, 100), st.integers(0, 100), st.sampled_from(["ship", "skip"]))
def test_different_inputs_have_different_digests(score: int, votes: int, choice: Choice) -> None:
    one = inputs_digest([Judgement("builder", score, choice)], Ballots(votes, 0), DEFAULT)
    others = {
        inputs_digest([Judgement("builder", score + 1, choice)], Ballots(votes, 0), DEFAULT),
        inputs_digest(
            [Judgement("builder", score, "skip" if choice == "ship" else "ship")], Ballots(votes, 0), DEFAULT
        ),
        inputs_digest([Judgement("skeptic", score, choice)], Ballots(votes, 0), DEFAULT),
        inputs_digest([Judgement("builder", score, choice)], Ballots(votes + 1, 0), DEFAULT),
        inputs_digest([Judgement("builder", score, choice)], Ballots(votes, 1), DEFAULT),
    }
    assert one not in others
    assert len(others) == 5
