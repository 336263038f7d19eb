"""Explanations: a verdict in words and in shares, rounded to four places. What decides is exact, and is in labels.py."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from domain.ages import Weighed
from domain.intervals import End, exactly, wilson_ends
from domain.labels import Decided, Rule
from domain.rulebooks import Bar, Community, Label

Ends = tuple[End, End]
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
    panel, community, together = _panel(standing), _community(standing, votes), _together(standing, votes)
    return Shares(
        None if panel is None else exactly(panel).rounded(),
        None if community is None else _both(community),
        None if together is None else _both(together),
    )


def distance_of(standing: Rule, votes: Weighed, label: Label, decided: Decided) -> Distance | None:
    """None where panel and community say nothing, where a veto stands before the bars, and where no share changes the label."""
    together = _together(standing, votes)
    if together is None or decided == "veto":
        return None
    return min(_ways(standing, together, label), key=lambda way: way.share, default=None)


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
    lines = [
        _of_decision(standing, decided),
        _of_panel(standing, choices, counted),
        _of_votes(standing, votes),
    ]
    if decided in ("panel", "community", "panel and community"):
        lines.append(_of_bars(standing, votes, label))
    if distance is not None:
        lines.append(f"{distance.share} of a share is missing to {distance.label}.")
    return tuple(lines)


def _of_decision(standing: Rule, decided: Decided) -> str:
    match decided:
        case "panel":
            return "The panel decided."
        case "community":
            return "The community decided."
        case "panel and community":
            return "The panel and the community decided together."
        case "veto":
            below = standing.book.community.veto_below
            return f"The community vetoed what would have been Ship: its interval lies wholly below {below}."
        case "nothing":
            return "Nothing decided: there is no panel that counts, and no community that weighs."


def _of_panel(standing: Rule, choices: tuple[int, int], counted: int) -> str:
    ship, takes = choices[0], sum(choices)
    panel = standing.book.panel
    if takes == 0:
        return "No reviewer has published a take."
    said = f"{ship} of {takes} takes {'says' if ship == 1 else 'say'} ship"
    if takes == 1:
        said = f"The only take says {'ship' if ship else 'skip'}"
    if panel.weight == 0:
        return f"{said}; this rulebook does not weigh the panel."
    count = f"{counted} {'counts' if counted == 1 else 'count'}"
    if standing.panel is None:
        return f"{said}; {count}, and the quorum is {panel.quorum}."
    how = ("score" if panel.counts == "scores" else "choice") + (" and weight" if panel.weights else "")
    return f"{said}; {f'{count}; ' if counted < takes else ''}by {how} the panel's share is {exactly(standing.panel).rounded()}."


def _of_votes(standing: Rule, votes: Weighed) -> str:
    community, one = standing.book.community, votes.count == 1
    named = f"{votes.count} community {'vote' if one else 'votes'}"
    if not standing.book.weighs_votes:
        return f"{named} {'is' if one else 'are'} shown beside the verdict; this rulebook does not weigh {'it' if one else 'them'}."
    counts = f"{named}{_of_window(community)} {'counts' if one else 'count'}"
    if not standing.speaks(votes):
        return f"{counts}, fewer than the {community.minimum} from which they weigh."
    low, high = _both(wilson_ends(votes.ship, votes.total, votes.unit, standing.book.z))
    aged = "" if community.half_life_days is None else ", weighed by age,"
    share = f"{counts}{aged or ','} with a share of {exactly(_share(votes)).rounded()}"
    return f"{share} and an interval of {low} to {high} at z = {community.z}."


def _of_window(community: Community) -> str:
    match community.window_days:
        case None:
            return ""
        case 1:
            return " of the last day"
        case days:
            return f" of the last {days} days"


def _of_bars(standing: Rule, votes: Weighed, label: Label) -> str:
    book, together = standing.book, _together(standing, votes)
    assert together is not None
    low, high = _both(together)
    stands = f"{low}" if low == high else f"{low} to {high}"
    between = "" if book.between == "Split" else f", and what lies between is {book.between}"
    hair = ", rounded," if _beside_a_bar(standing, together) else ","
    return f"Ship takes {_words(book.ship)} and Skip {_words(book.skip)}{between}; the share is {stands}{hair} which is {label}."


def _words(bound: str) -> str:
    return (
        bound.replace(">=", "at least ")
        .replace("<=", "at most ")
        .replace(">", "above ")
        .replace("<", "below ")
    )


def _beside_a_bar(standing: Rule, together: Ends) -> bool:
    """Whether an end is shown where a bar is, and is not quite there."""
    bars = standing.book.ship_bar.at, 1 - standing.book.skip_bar.at
    return any(
        end.rounded() == exactly(bar).rounded() and not end.equals(bar)
        for end, bar in zip(together, bars, strict=True)
    )


def _ways(standing: Rule, together: Ends, label: Label) -> list[Distance]:
    """Across each bar that is beside the label: to what lies on the other side, and how far."""
    book = standing.book
    low, high = together
    meet = book.ship_bar.at == 1 - book.skip_bar.at and (book.ship_bar.reach or book.skip_bar.reach)
    narrow = meet and low == high
    found = []
    beside: tuple[tuple[Label, Label, Bar, Distance], ...] = (
        ("Ship", "Skip", book.ship_bar, Distance("Ship", _far(low, book.ship_bar.at))),
        ("Skip", "Ship", book.skip_bar, Distance("Skip", _far(high, 1 - book.skip_bar.at))),
    )
    for name, opposite, bar, way in beside:
        across = opposite if narrow else book.between
        if across != name and label in (name, across) and _has_two_sides(bar):
            found.append(Distance(across if label == name else name, way.share))
    return found


def _has_two_sides(bar: Bar) -> bool:
    """Whether some share within 0 and 1 passes the bar, and some does not."""
    return not (bar.at == 1 and not bar.reach) and not (bar.at == 0 and bar.reach)


def _far(end: End, bar: Fraction) -> Decimal:
    return abs(end.plus(-bar).rounded())


def _panel(standing: Rule) -> Fraction | None:
    return standing.panel if standing.book.panel.weight else None


def _community(standing: Rule, votes: Weighed) -> Ends | None:
    community = standing.book.community
    if not standing.speaks(votes) or not community.weight:
        return None
    if community.bound == "interval":
        return wilson_ends(votes.ship, votes.total, votes.unit, standing.book.z)
    return exactly(_share(votes)), exactly(_share(votes))


def _share(votes: Weighed) -> Fraction:
    return Fraction(votes.ship, votes.total)


def _together(standing: Rule, votes: Weighed) -> Ends | None:
    panel, community = _panel(standing), _community(standing, votes)
    if panel is None or community is None:
        return community if panel is None else (exactly(panel), exactly(panel))
    mine, theirs = standing.book.panel.weight, standing.book.community.weight
    part = Fraction(theirs, mine + theirs)
    low, high = (end.times(part).plus(panel * (1 - part)) for end in community)
    return low, high


def _both(ends: Ends) -> Interval:
    return ends[0].rounded(), ends[1].rounded()
