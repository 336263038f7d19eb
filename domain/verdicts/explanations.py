"""Explanations: a verdict in words. What decides is exact, and is in labels.py; the words round to four places."""

from __future__ import annotations

from domain.rulebooks.rulebook import Community, Label
from domain.verdicts.decay import WeightedVotes
from domain.verdicts.intervals import exactly, wilson_interval
from domain.verdicts.labels import DecidedBy, Rule
from domain.verdicts.shares import DistanceToNextLabel, Ends, combined_of, rounded, share_of


def explain(
    standing: Rule,
    votes: WeightedVotes,
    choices: tuple[int, int],
    counted: int,
    label: Label,
    decided: DecidedBy,
    distance: DistanceToNextLabel | None,
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


def _of_decision(standing: Rule, decided: DecidedBy) -> str:
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


def _of_votes(standing: Rule, votes: WeightedVotes) -> str:
    community, one = standing.book.community, votes.count == 1
    named = f"{votes.count} community {'vote' if one else 'votes'}"
    if not standing.book.weighs_votes:
        return f"{named} {'is' if one else 'are'} shown beside the verdict; this rulebook does not weigh {'it' if one else 'them'}."
    counts = f"{named}{_of_window(community)} {'counts' if one else 'count'}"
    if not standing.has_quorum(votes):
        return f"{counts}, fewer than the {community.minimum} from which they weigh."
    low, high = rounded(wilson_interval(votes.ship, votes.total, votes.vote_weight_today, standing.book.z))
    aged = "" if community.half_life_days is None else ", weighed by age,"
    share = f"{counts}{aged or ','} with a share of {exactly(share_of(votes)).rounded()}"
    return f"{share} and an interval of {low} to {high} at z = {community.z}."


def _of_window(community: Community) -> str:
    match community.window_days:
        case None:
            return ""
        case 1:
            return " of the last day"
        case days:
            return f" of the last {days} days"


def _of_bars(standing: Rule, votes: WeightedVotes, label: Label) -> str:
    book, combined = standing.book, combined_of(standing, votes)
    assert combined is not None
    low, high = rounded(combined)
    stands = f"{low}" if low == high else f"{low} to {high}"
    between = "" if book.between == "Split" else f", and what lies between is {book.between}"
    hair = ", rounded," if _beside_a_bar(standing, combined) else ","
    return f"Ship takes {_words(book.ship)} and Skip {_words(book.skip)}{between}; the share is {stands}{hair} which is {label}."


def _words(bound: str) -> str:
    return (
        bound.replace(">=", "at least ")
        .replace("<=", "at most ")
        .replace(">", "above ")
        .replace("<", "below ")
    )


def _beside_a_bar(standing: Rule, combined: Ends) -> bool:
    """Whether an end is shown where a bar is, and is not quite there."""
    bars = standing.book.ship_threshold.at, 1 - standing.book.skip_threshold.at
    return any(
        end.rounded() == exactly(bar).rounded() and not end.equals(bar)
        for end, bar in zip(combined, bars, strict=True)
    )
