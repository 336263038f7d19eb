"""Random cases for verdicts: a rulebook, takes, and votes by day."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from domain.rulebooks.rulebook import Rulebook, decode_rulebook
from domain.verdicts.decay import Ballots, DayVotes
from domain.verdicts.verdict import Judgement

REVIEWERS = ("builder", "founder", "futurist", "pm", "skeptic", "writer")
RATIOS = ("0", "1/4", "1/3", "2/5", "1/2", "3/5", "2/3", "3/4", "4/5", "1")
REMOVALS_MAX = 600  # subsets of the votes, which the oracle tries one by one


@dataclass(frozen=True)
class Case:
    book: Rulebook
    takes: tuple[Judgement, ...]
    ballots: Ballots


@st.composite
def bounds(draw: Callable[..., Any]) -> tuple[str, str]:
    low, high = sorted(draw(st.tuples(st.integers(0, len(RATIOS) - 1), st.integers(0, len(RATIOS) - 1))))
    ship = draw(st.sampled_from((">", ">=")))
    skip = draw(st.sampled_from(("<", "<=") if low < high or ship == ">" else ("<",)))
    return ship + RATIOS[high], skip + RATIOS[low]


@st.composite
def bands(draw: Callable[..., Any]) -> list[list[int]]:
    starts = sorted(draw(st.sets(st.integers(1, 100), max_size=3)) | {0})
    values = sorted(draw(st.lists(st.integers(0, 100), min_size=len(starts), max_size=len(starts))))
    return [list(each) for each in zip(starts, values, strict=True)]


@st.composite
def panels(draw: Callable[..., Any], weight_min: int) -> dict[str, Any]:
    counts = draw(st.sampled_from(("choices", "scores")))
    return {
        "weight": draw(st.integers(weight_min, 3)),
        "quorum": draw(st.sampled_from((1, 2, 1, 4))),
        "counts": counts,
        "bands": draw(bands()) if counts == "scores" and draw(st.booleans()) else [],
        "weights": draw(
            st.dictionaries(st.sampled_from(REVIEWERS), st.sampled_from((3, 0, 20, 1)), max_size=4)
        ),
    }


communities = st.fixed_dictionaries(
    {
        "weight": st.integers(0, 3),
        "minimum": st.sampled_from((1, 3, 2, 6)),
        "bound": st.sampled_from(("share", "interval")),
        "z": st.sampled_from(("1.96", "1", "0.5", "2.5758", "0.0001")),
        "half_life_days": st.sampled_from((None, 7, 30, 13)),
        "window_days": st.sampled_from((None, 40, None, 7, 1)),
        "veto_below": st.sampled_from((None, *RATIOS[::-1])),
    }
)


@st.composite
def rulebooks(draw: Callable[..., Any]) -> Rulebook:
    community = draw(communities)
    ship, skip = draw(bounds())
    written = {
        "name": "any",
        "title": draw(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=5)),
        "ship": ship,
        "skip": skip,
        "between": draw(st.sampled_from(("Split", "Ship", "Skip"))),
        "panel": draw(panels(weight_min=0 if community["weight"] else 1)),
        "community": community,
    }
    return decode_rulebook(json.dumps(written).encode())


panel_takes = st.builds(
    lambda takes, reviewers: tuple(map(Judgement, reviewers, *zip(*takes, strict=True))) if takes else (),
    st.sampled_from((3, 2, 1, 0)).flatmap(
        lambda count_min: st.lists(
            st.tuples(st.integers(0, 100), st.sampled_from(("ship", "skip"))), min_size=count_min, max_size=6
        )
    ),
    st.permutations(REVIEWERS),
)


@st.composite
def ballots(draw: Callable[..., Any]) -> Ballots:
    today = draw(st.integers(20_000, 20_050))
    days, removals = [], 1
    for day in draw(
        st.lists(
            st.integers(today - 60, today),
            min_size=draw(st.sampled_from((2, 1, 3, 0))),
            max_size=4,
            unique=True,
        )
    ):
        ship, skip = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        removals *= (ship + 1) * (skip + 1)
        if removals > REMOVALS_MAX:
            break
        days.append(DayVotes(day, ship, skip))
    return Ballots(
        sum(each.ship for each in days), sum(each.skip for each in days), today if days else None, tuple(days)
    )


cases = st.builds(Case, rulebooks(), panel_takes, ballots())
