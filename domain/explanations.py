"""Explanations: a verdict in words and in shares, rounded to four places. What decides is exact, and is in labels.py."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from domain.ages import Weighed
from domain.labels import Decided, Rule
from domain.rulebooks import Label, Rulebook
from domain.statistics import four_places, ratio, wilson_bounds

Exact = tuple[Fraction, Fraction]
Interval = tuple[Decimal, Decimal]


class Shares(Struct, frozen=True):
    """What was compared with the bars, lower and upper end; None of what does not weigh. Both ends of a plain share are equal."""

    panel: Decimal | None
    community: Interval | None
    together: Interval | None


class Distance(Struct, frozen=True):
    """How much of a share is missing to the next label."""

    label: Label
    share: Decimal


def shares_of(standing: Rule, votes: Weighed) -> Shares:
    """Rounded half to even."""
    panel, community = _panel(standing), _community(standing, votes)
    together = _together(standing.book, panel, community)
    return Shares(
        None if panel is None else _four(panel),
        None if community is None else _both(community),
        None if together is None else _both(together),
    )


def distance_of(standing: Rule, votes: Weighed, label: Label, decided: Decided) -> Distance | None:
    """None where the panel and the community say nothing, and where a veto stands before the bars."""
    together = _together(standing.book, _panel(standing), _community(standing, votes))
    if together is None or decided == "veto":
        return None
    between = standing.book.between
    to_ship = Distance("Ship", _four(abs(standing.book.ship_bar.at - together[0])))
    to_skip = Distance("Skip", _four(abs(together[1] - 1 + standing.book.skip_bar.at)))
    if between == "Split" and label == "Split":
        return min(to_ship, to_skip, key=lambda way: way.share)
    near = to_skip if between == "Ship" or (between == "Split" and label == "Skip") else to_ship
    after: dict[Label, Label] = {"Ship": "Skip", "Skip": "Ship"}
    return Distance("Split" if between == "Split" else after[label], near.share)


def explain(
    standing: Rule,
    votes: Weighed,
    choices: tuple[int, int],
    counted: int,
    label: Label,
    decided: Decided,
    distance: Distance | None,
) -> tuple[str, ...]:
    """What decided, what the panel and the community said, and how far the next label is."""
    lines = [_DECIDED[decided], _of_panel(standing, choices, counted), _of_community(standing, votes)]
    if decided in ("panel", "community", "panel and community"):
        lines.append(_of_bars(standing, votes, label))
    if distance is not None:
        lines.append(f"{distance.share} of a share is missing to {distance.label}.")
    return tuple(lines)


_DECIDED: dict[Decided, str] = {
    "panel": "The panel decided.",
    "community": "The community decided.",
    "panel and community": "The panel and the community decided together.",
    "veto": "The community vetoed what would have been Ship.",
    "nothing": "Nothing decided: there is no panel that counts, and no community that weighs.",
}


def _of_panel(standing: Rule, choices: tuple[int, int], counted: int) -> str:
    ship, skip = choices
    panel = standing.book.panel
    if ship + skip == 0:
        return "No reviewer has published a take."
    said = f"{ship} of {ship + skip} takes say ship"
    if standing.panel is None:
        return f"{said}; {counted} count, and the quorum is {panel.quorum}."
    if panel.weight == 0:
        return f"{said}; this rulebook does not weigh the panel."
    return f"{said}; by {'score' if panel.counts == 'scores' else 'choice'} the panel's share is {_four(standing.panel)}."


def _of_community(standing: Rule, votes: Weighed) -> str:
    community = standing.book.community
    if not standing.book.weighs_votes:
        return (
            f"{votes.count} community votes are shown beside the verdict; this rulebook does not weigh them."
        )
    if not standing.speaks(votes):
        return (
            f"{votes.count} community votes count, fewer than the {community.minimum} from which they weigh."
        )
    found = _interval(standing.book, votes)
    share = f"{votes.count} community votes count, with a share of {_four(_share(votes))}"
    return f"{share} and an interval of {_four(found[0])} to {_four(found[1])} at z = {community.z}."


def _of_bars(standing: Rule, votes: Weighed, label: Label) -> str:
    book = standing.book
    together = _together(book, _panel(standing), _community(standing, votes))
    assert together is not None
    low, high = _both(together)
    stands = f"{low}" if low == high else f"{low} to {high}"
    return f"Ship takes {_words(book.ship)} and Skip {_words(book.skip)}; the share is {stands}, which is {label}."


def _words(bound: str) -> str:
    return (
        bound.replace(">=", "at least ")
        .replace("<=", "at most ")
        .replace(">", "above ")
        .replace("<", "below ")
    )


def _panel(standing: Rule) -> Fraction | None:
    return standing.panel if standing.book.panel.weight else None


def _community(standing: Rule, votes: Weighed) -> Exact | None:
    book = standing.book
    if not standing.speaks(votes) or not book.community.weight:
        return None
    return _interval(book, votes) if book.community.bound == "interval" else (_share(votes), _share(votes))


def _share(votes: Weighed) -> Fraction:
    return Fraction(votes.ship, votes.total)


def _interval(book: Rulebook, votes: Weighed) -> Exact:
    """Of forty digits."""
    skip = votes.total - votes.ship
    found = wilson_bounds(Fraction(votes.ship, votes.unit), Fraction(skip, votes.unit), book.z)
    assert found is not None
    return Fraction(found[0]), Fraction(found[1])


def _together(book: Rulebook, panel: Fraction | None, community: Exact | None) -> Exact | None:
    if panel is None or community is None:
        return community if panel is None else (panel, panel)
    mine, theirs = book.panel.weight, book.community.weight
    low, high = ((mine * panel + theirs * end) / (mine + theirs) for end in community)
    return low, high


def _both(interval: Exact) -> Interval:
    return _four(interval[0]), _four(interval[1])


def _four(share: Fraction) -> Decimal:
    return four_places(ratio(share))
