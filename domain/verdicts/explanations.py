"""Explanations: a verdict in sentences. Numbers are rounded to four places; labels.py decides by exact ones.

The sentences are part of API answers and of proofs; verify_verdict.py builds the same ones with separate code.
"""

from __future__ import annotations

from domain.rulebooks.rulebook import Community, Label
from domain.verdicts.decay import WeightedVotes
from domain.verdicts.intervals import exact, wilson_interval
from domain.verdicts.labels import DecidedBy, Rule
from domain.verdicts.shares import DistanceToNextLabel, ExactInterval, combined_share, rounded, share_of


def explain(
    rule: Rule,
    votes: WeightedVotes,
    choices: tuple[int, int],
    counted: int,
    label: Label,
    decided: DecidedBy,
    distance: DistanceToNextLabel | None,
) -> tuple[str, ...]:
    """``choices`` are the takes for ship and for skip; ``counted`` is how many takes have a weight."""
    sentences = [
        _decision(rule, decided),
        _panel(rule, choices, counted),
        _votes(rule, votes),
    ]
    if decided in ("panel", "community", "panel and community"):
        sentences.append(_thresholds(rule, votes, label))
    if distance is not None:
        sentences.append(f"{distance.share} of a share is missing to {distance.label}.")
    return tuple(sentences)


def _decision(rule: Rule, decided: DecidedBy) -> str:
    match decided:
        case "panel":
            return "The panel decided."
        case "community":
            return "The community decided."
        case "panel and community":
            return "The panel and the community decided together."
        case "veto":
            below = rule.book.community.veto_below
            return f"The community vetoed what would have been Ship: its interval lies wholly below {below}."
        case "nothing":
            return "Nothing decided: there is no panel that counts, and no community that weighs."


def _panel(rule: Rule, choices: tuple[int, int], counted: int) -> str:
    ship, takes = choices[0], sum(choices)
    panel = rule.book.panel
    if takes == 0:
        return "No reviewer has published a take."
    start = f"{ship} of {takes} takes {'says' if ship == 1 else 'say'} ship"
    if takes == 1:
        start = f"The only take says {'ship' if ship else 'skip'}"
    if panel.weight == 0:
        return f"{start}; this rulebook does not weigh the panel."
    count = f"{counted} {'counts' if counted == 1 else 'count'}"
    if rule.panel is None:
        return f"{start}; {count}, and the quorum is {panel.quorum}."
    how = ("score" if panel.counts == "scores" else "choice") + (" and weight" if panel.weights else "")
    share = exact(rule.panel).rounded()
    return f"{start}; {f'{count}; ' if counted < takes else ''}by {how} the panel's share is {share}."


def _votes(rule: Rule, votes: WeightedVotes) -> str:
    community, one = rule.book.community, votes.count == 1
    number = f"{votes.count} community {'vote' if one else 'votes'}"
    if not rule.book.weighs_votes:
        return f"{number} {'is' if one else 'are'} shown beside the verdict; this rulebook does not weigh {'it' if one else 'them'}."
    start = f"{number}{_window(community)} {'counts' if one else 'count'}"
    if not rule.has_quorum(votes):
        return f"{start}, fewer than the {community.minimum} from which they weigh."
    low, high = rounded(wilson_interval(votes.ship, votes.total, votes.vote_weight_today, rule.book.z))
    aged = "" if community.half_life_days is None else ", weighed by age,"
    share = f"{start}{aged or ','} with a share of {exact(share_of(votes)).rounded()}"
    return f"{share} and an interval of {low} to {high} at z = {community.z}."


def _window(community: Community) -> str:
    match community.window_days:
        case None:
            return ""
        case 1:
            return " of the last day"
        case days:
            return f" of the last {days} days"


def _thresholds(rule: Rule, votes: WeightedVotes, label: Label) -> str:
    book, combined = rule.book, combined_share(rule, votes)
    assert combined is not None
    low, high = rounded(combined)
    share = f"{low}" if low == high else f"{low} to {high}"
    between = "" if book.between == "Split" else f", and what lies between is {book.between}"
    note = ", rounded," if _rounds_to_threshold(rule, combined) else ","
    return f"Ship takes {_bound(book.ship)} and Skip {_bound(book.skip)}{between}; the share is {share}{note} which is {label}."


def _bound(bound: str) -> str:
    return (
        bound.replace(">=", "at least ")
        .replace("<=", "at most ")
        .replace(">", "above ")
        .replace("<", "below ")
    )


def _rounds_to_threshold(rule: Rule, combined: ExactInterval) -> bool:
    """Whether an end looks equal to its threshold only because it is rounded."""
    thresholds = rule.book.ship_threshold.at, 1 - rule.book.skip_threshold.at
    return any(
        end.rounded() == exact(at).rounded() and not end.equals(at)
        for end, at in zip(combined, thresholds, strict=True)
    )
