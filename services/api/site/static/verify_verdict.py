"""Check a verdict of Shiplog on any machine with Python 3.8 or newer, without any packages:

    python verify_verdict.py BUNDLE        (- reads standard input)

A bundle contains a rulebook, the takes and votes, and the verdict that Shiplog computed from them. This program shares no
code with Shiplog. It computes the verdict again, and prints it in the same bytes as in the bundle. Exit status 0: the bundle
is right. 1: it is not, and every field that differs is named. 2: this is not a bundle, or it cannot be read.

Nothing is rounded before it is compared: shares are fractions, and an end of Wilson's interval (1927) is represented by the
quadratic equation that it solves. The bundle does not prove that the log had these takes and votes at `positions`: that can
be checked with the log itself, and `digest` identifies the bundle.
"""

from __future__ import annotations

import decimal
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

FORMAT = "shiplog-verdict-1"
CLAUSES = ("verdict", "panel share", "mean score", "community share", "community lower bound", "votes")
LABELS = ("Split", "Ship", "Skip")
COMMUNITY = ("weight", "minimum", "bound", "z", "half_life_days", "window_days", "veto_below")
VOTES_MAX = 10**15  # votes
DAY_MAX = 10**6  # days since 1970-01-01


class InvalidBundle(Exception):
    """A field has a value that no bundle of Shiplog has."""


# Reading: every field is typed, within its limits, and known.


class BundleThreshold(NamedTuple):
    at: Fraction
    inclusive: bool


class PanelRule(NamedTuple):
    weight: int
    quorum: int
    scores: bool
    bands: tuple[tuple[int, int], ...]
    weights: dict[str, int]


class CommunityRule(NamedTuple):
    weight: int
    minimum: int
    by_interval: bool
    z: Fraction
    half_life: int | None
    window: int | None
    veto: Fraction | None


class BundleRulebook(NamedTuple):
    ship: BundleThreshold
    skip: BundleThreshold  # of the share itself, which has to lie below it
    between: str
    panel: PanelRule
    community: CommunityRule
    words: dict[str, str]  # ship, skip, z and veto_below as the rulebook writes them

    @property
    def weighs_votes(self) -> bool:
        return self.community.weight > 0 or self.community.veto is not None

    @property
    def weighs_age(self) -> bool:
        aged = self.community.half_life is not None or self.community.window is not None
        return aged and self.weighs_votes


class BundleTake(NamedTuple):
    reviewer: str
    score: int
    choice: str


class Day(NamedTuple):
    day: int
    ship: int
    skip: int


class BundleInputs(NamedTuple):
    takes: tuple[BundleTake, ...]
    ship: int
    skip: int
    today: int | None
    days: tuple[Day, ...]


def fields(value: object, where: str, names: Sequence[str]) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidBundle(f"{where}: is no object")
    for name in sorted(set(value) ^ set(names)):
        raise InvalidBundle(f"{where}.{name}: {'is missing' if name in names else 'belongs to no bundle'}")
    return value


def items(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise InvalidBundle(f"{where}: is no list")
    return value


def integer(value: object, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidBundle(f"{where}: is no whole number from {low} to {high}")
    return value


def text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidBundle(f"{where}: is no text")
    return value


def one_of(value: object, where: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise InvalidBundle(f"{where}: is none of {', '.join(choices)}")
    return text(value, where)


def ratio(value: object, where: str) -> Fraction:
    words = text(value, where)
    parts = words.split("/")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InvalidBundle(f"{where}: is no ratio")
    if len(parts) == 2 and int(parts[1]) == 0:
        raise InvalidBundle(f"{where}: divides by 0")
    found = Fraction(words)
    if str(found) != words or found > 1:
        raise InvalidBundle(f"{where}: is no ratio within 0 and 1, in lowest terms")
    return found


def read_threshold(value: object, where: str, sign: str) -> BundleThreshold:
    words = text(value, where)
    if not words.startswith(sign):
        raise InvalidBundle(f"{where}: does not begin with {sign}")
    inclusive = words[1:2] == "="
    return BundleThreshold(ratio(words[2 if inclusive else 1 :], where), inclusive)


def read_rulebook(value: object) -> BundleRulebook:
    names = ("name", "ship", "skip", "between", "title", "description", "panel", "community", "comparison")
    book = fields(value, "rulebook", names)
    for name in ("name", "title", "description"):
        text(book[name], f"rulebook.{name}")
    for clause in items(book["comparison"], "rulebook.comparison"):
        one_of(clause, "rulebook.comparison", CLAUSES)
    ship, skip = (
        read_threshold(book["ship"], "rulebook.ship", ">"),
        read_threshold(book["skip"], "rulebook.skip", "<"),
    )
    if ship.at < skip.at or (ship.at == skip.at and ship.inclusive and skip.inclusive):
        raise InvalidBundle("rulebook.ship: overlaps rulebook.skip")
    panel, community = read_panel(book["panel"]), read_community(book["community"])
    if panel.weight == 0 and community.weight == 0:
        raise InvalidBundle("rulebook.community.weight: is 0, and so is rulebook.panel.weight")
    between = one_of(book["between"], "rulebook.between", LABELS)
    found = {**book, **fields(book["community"], "rulebook.community", COMMUNITY)}
    words = {name: str(found[name]) for name in ("ship", "skip", "z", "veto_below")}
    return BundleRulebook(ship, skip, between, panel, community, words)


def read_panel(value: object) -> PanelRule:
    where = "rulebook.panel"
    panel = fields(value, where, ("weight", "quorum", "counts", "bands", "weights"))
    weights = panel["weights"]
    if not isinstance(weights, dict):
        raise InvalidBundle(f"{where}.weights: is no object")
    return PanelRule(
        integer(panel["weight"], f"{where}.weight", 0, 1_000),
        integer(panel["quorum"], f"{where}.quorum", 1, 1_000),
        one_of(panel["counts"], f"{where}.counts", ("choices", "scores")) == "scores",
        read_bands(panel["bands"], f"{where}.bands"),
        {
            reviewer: integer(each, f"{where}.weights.{reviewer}", 0, 1_000)
            for reviewer, each in weights.items()
        },
    )


def read_bands(value: object, where: str) -> tuple[tuple[int, int], ...]:
    bands = []
    for band in items(value, where):
        pair = [integer(each, where, 0, 100) for each in items(band, where)]
        if len(pair) != 2:
            raise InvalidBundle(f"{where}: are pairs of score and worth")
        bands.append((pair[0], pair[1]))
    starts = [start for start, _ in bands]
    if bands and (starts[0] != 0 or starts != sorted(set(starts))):
        raise InvalidBundle(f"{where}: do not rise from 0")
    return tuple(bands)


def read_community(value: object) -> CommunityRule:
    where = "rulebook.community"
    found = fields(value, where, COMMUNITY)
    half_life, window, veto = found["half_life_days"], found["window_days"], found["veto_below"]
    return CommunityRule(
        integer(found["weight"], f"{where}.weight", 0, 1_000),
        integer(found["minimum"], f"{where}.minimum", 1, 10**9),
        one_of(found["bound"], f"{where}.bound", ("share", "interval")) == "interval",
        quantile(found["z"], f"{where}.z"),
        None if half_life is None else integer(half_life, f"{where}.half_life_days", 7, 3_650),
        None if window is None else integer(window, f"{where}.window_days", 1, 3_650),
        None if veto is None else ratio(veto, f"{where}.veto_below"),
    )


def quantile(value: object, where: str) -> Fraction:
    words = text(value, where)
    parts = words.split(".")
    if len(words) > 6 or len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise InvalidBundle(f"{where}: is no quantile")
    if not 0 < Fraction(words) < 10:
        raise InvalidBundle(f"{where}: is no quantile above 0 and below 10")
    return Fraction(words)


def read_inputs(value: object, weighs_age: bool) -> BundleInputs:
    aged = ("days", "today") if weighs_age else ()
    found = fields(value, "inputs", ("takes", "ship", "skip", *aged))
    takes = tuple(read_take(each) for each in items(found["takes"], "inputs.takes"))
    if [take.reviewer for take in takes] != sorted({take.reviewer for take in takes}):
        raise InvalidBundle("inputs.takes: are not one a reviewer, in their order")
    ship, skip = (integer(found[each], f"inputs.{each}", 0, VOTES_MAX) for each in ("ship", "skip"))
    if not weighs_age:
        return BundleInputs(takes, ship, skip, None, ())
    days = tuple(read_day(each) for each in items(found["days"], "inputs.days"))
    today = None if found["today"] is None else integer(found["today"], "inputs.today", 0, DAY_MAX)
    if [each.day for each in days] != sorted({each.day for each in days}):
        raise InvalidBundle("inputs.days: are not in order")
    if (sum(each.ship for each in days), sum(each.skip for each in days)) != (ship, skip):
        raise InvalidBundle("inputs.days: do not add up to inputs.ship and inputs.skip")
    if days and (today is None or days[-1].day > today):
        raise InvalidBundle("inputs.today: lies before a day of inputs.days")
    return BundleInputs(takes, ship, skip, today, days)


def read_take(value: object) -> BundleTake:
    where = "inputs.takes"
    take = fields(value, where, ("reviewer", "score", "choice"))
    return BundleTake(
        text(take["reviewer"], f"{where}.reviewer"),
        integer(take["score"], f"{where}.score", 0, 100),
        one_of(take["choice"], f"{where}.choice", ("ship", "skip")),
    )


def read_day(value: object) -> Day:
    numbers = items(value, "inputs.days")
    if len(numbers) != 3:
        raise InvalidBundle("inputs.days: are triples of day, ship and skip")
    return Day(
        integer(numbers[0], "inputs.days", 0, DAY_MAX),
        integer(numbers[1], "inputs.days", 0, VOTES_MAX),
        integer(numbers[2], "inputs.days", 0, VOTES_MAX),
    )


# Ends of intervals. An end is represented by its comparison with any share: -1, 0 or 1.


class End:
    def __init__(self, side: Callable[[Fraction], int]) -> None:
        self.side = side


def sign(number: Fraction) -> int:
    return (number > 0) - (number < 0)


def exact(share: Fraction) -> End:
    return End(lambda at: sign(share - at))


def wilson(ship: int, total: int, vote_weight_today: int, z: Fraction) -> tuple[End, End]:
    """The roots of (n + z2) a2 - (2np + z2) a + n p2 = 0, for p = ship/total and n = total/vote_weight_today."""
    n, p = Fraction(total, vote_weight_today), Fraction(ship, total)
    first, second, third = n + z * z, 2 * n * p + z * z, n * p * p
    middle = second / (2 * first)

    def outside(at: Fraction) -> int:
        return sign(first * at * at - second * at + third)

    return (
        End(lambda at: outside(at) if at <= middle else -1),
        End(lambda at: -outside(at) if at >= middle else 1),
    )


def combine(base: Fraction, factor: Fraction, end: End) -> End:
    return End(lambda at: end.side((at - base) / factor))


def four_places(end: End) -> str:
    """Half to even, for ends from -1 to 1, by bisection over halves of the last place."""
    low, high = -20_000, 20_001
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if end.side(Fraction(middle, 20_000)) >= 0 else (low, middle)
    places, above = divmod(low, 2)
    if above:
        places += places % 2 if end.side(Fraction(low, 20_000)) == 0 else 1
    return shown(places, 4)


def shown(number: int, places: int) -> str:
    digits = f"{abs(number):0{places + 1}d}"
    return f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"


# The weights of votes, and the rule for one state of the panel.


class Votes(NamedTuple):
    number: int
    ship: int
    total: int
    vote_weight_today: int


class BundleWeights:
    """The weight of a vote by the day of its cast: 2**(day / half-life), rounded down after 32 binary places."""

    def __init__(self, book: BundleRulebook, inputs: BundleInputs) -> None:
        self._half_life = book.community.half_life
        today = inputs.today or 0
        self.days = [
            each
            for each in inputs.days
            if (each.ship or each.skip)
            and (book.community.window is None or each.day > today - book.community.window)
        ]
        self._half_lives = min((each.day for each in self.days), default=today) // (self._half_life or 1)
        self.vote_weight_today = self.weight(today)

    def weight(self, day: int) -> int:
        if self._half_life is None:
            return 1
        halves, rest = divmod(day, self._half_life)
        return power_of_two(rest, self._half_life) << (halves - self._half_lives)


def power_of_two(rest: int, half_life: int) -> int:
    """floor(2**(32 + rest/half_life))."""
    with decimal.localcontext() as digits:
        digits.prec = 60
        found = decimal.Decimal(2) ** (32 + decimal.Decimal(rest) / half_life)
        near = int(found.to_integral_value())
        if abs(found - near) > decimal.Decimal("1e-40"):
            return int(found)
    return near if near**half_life <= 2 ** (32 * half_life + rest) else near - 1


class BundleBallots:
    """The weighted votes, all of them or without the heaviest ones of a side."""

    def __init__(self, book: BundleRulebook, inputs: BundleInputs) -> None:
        if book.weighs_age:
            weights = BundleWeights(book, inputs)
            newest = [(weights.weight(each.day), each) for each in reversed(weights.days)]
            self._ships = [(weight, each.ship) for weight, each in newest]
            self._skips = [(weight, each.skip) for weight, each in newest]
            self._vote_weight_today = weights.vote_weight_today
        else:
            self._ships, self._skips, self._vote_weight_today = [(1, inputs.ship)], [(1, inputs.skip)], 1
        self.ships, self.skips = (sum(count for _, count in side) for side in (self._ships, self._skips))

    def without(self, ships: int = 0, skips: int = 0) -> Votes:
        ship, skip = weight_without(self._ships, ships), weight_without(self._skips, skips)
        return Votes(self.ships + self.skips - ships - skips, ship, ship + skip, self._vote_weight_today)


def weight_without(side: Sequence[tuple[int, int]], removed: int) -> int:
    left = 0
    for weight, count in side:
        left += weight * (count - min(removed, count))
        removed -= min(removed, count)
    return left


class BundleRule:
    def __init__(self, book: BundleRulebook, panel: Fraction | None) -> None:
        self.book, self.panel = book, panel
        self.panel_share = panel if book.panel.weight else None

    def has_quorum(self, votes: Votes) -> bool:
        return self.book.weighs_votes and votes.number >= self.book.community.minimum

    def interval(self, votes: Votes) -> tuple[End, End]:
        return wilson(votes.ship, votes.total, votes.vote_weight_today, self.book.community.z)

    def community(self, votes: Votes) -> tuple[End, End] | None:
        if not self.has_quorum(votes) or not self.book.community.weight:
            return None
        if self.book.community.by_interval:
            return self.interval(votes)
        share = exact(Fraction(votes.ship, votes.total))
        return share, share

    def combined(self, votes: Votes) -> tuple[End, End] | None:
        community = self.community(votes)
        if self.panel_share is None or community is None:
            return (
                community if self.panel_share is None else (exact(self.panel_share), exact(self.panel_share))
            )
        part = Fraction(self.book.community.weight, self.book.panel.weight + self.book.community.weight)
        base = self.panel_share * (1 - part)
        return combine(base, part, community[0]), combine(base, part, community[1])

    def decide(self, votes: Votes) -> tuple[str, str]:
        book, combined = self.book, self.combined(votes)
        if combined is None:
            return "Unreviewed", "nothing"
        label = book.between
        if combined[0].side(book.ship.at) >= (0 if book.ship.inclusive else 1):
            label = "Ship"
        elif combined[1].side(book.skip.at) <= (0 if book.skip.inclusive else -1):
            label = "Skip"
        if label == "Ship" and self.vetoed(votes):
            return "Split", "veto"
        by = {"panel": self.panel_share is not None, "community": self.community(votes) is not None}
        return label, " and ".join(name for name in by if by[name])

    def vetoed(self, votes: Votes) -> bool:
        veto = self.book.community.veto
        return veto is not None and self.has_quorum(votes) and self.interval(votes)[1].side(veto) < 0


# Margins: the fewest votes, and the fewest takes, whose removal changes the label.


def vote_margin(rule: BundleRule, ballots: BundleBallots) -> int | None:
    all_votes = ballots.without()
    if not rule.has_quorum(all_votes):
        return None
    label = rule.decide(all_votes)[0]
    spare = all_votes.number - rule.book.community.minimum
    ways = [
        first(lambda n: rule.decide(ballots.without(ships=n))[0] != label, min(spare, ballots.ships)),
        first(lambda n: rule.decide(ballots.without(skips=n))[0] != label, min(spare, ballots.skips)),
        spare + 1 if rule.decide(Votes(0, 0, 0, 1))[0] != label else None,
    ]
    return min((way for way in ways if way is not None), default=None)


def first(is_true: Callable[[int], bool], last: int) -> int | None:
    """The first of 1..last for which the predicate is true; it is monotone."""
    if last < 1 or not is_true(last):
        return None
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_true(middle) else (middle, high)
    return high


def take_margin(
    book: BundleRulebook, takes: Sequence[tuple[int, int]], votes: Votes, label: str
) -> int | None:
    for removed in range(1, len(takes) + 1):
        kept = len(takes) - removed
        shares: list[Fraction | None] = [None]
        if kept >= book.panel.quorum:
            shares = [extreme(takes, kept, 1), extreme(takes, kept, -1)]
        if any(BundleRule(book, share).decide(votes)[0] != label for share in shares):
            return removed
    return None


def extreme(takes: Sequence[tuple[int, int]], kept: int, way: int) -> Fraction:
    """The least share (way 1) or the greatest (way -1) of any ``kept`` takes, by iteration until it no longer changes."""
    share = share_of(takes)
    while True:
        beyond = sorted(takes, key=lambda take: way * take[0] * (take[1] - 100 * share))[:kept]
        if share_of(beyond) == share:
            return share
        share = share_of(beyond)


def share_of(takes: Sequence[tuple[int, int]]) -> Fraction:
    return Fraction(sum(weight * worth for weight, worth in takes), 100 * sum(weight for weight, _ in takes))


def counted_takes(book: BundleRulebook, inputs: BundleInputs) -> list[tuple[int, int]]:
    weighed = [(book.panel.weights.get(take.reviewer, 1), worth(book, take)) for take in inputs.takes]
    return [(weight, value) for weight, value in weighed if weight]


def worth(book: BundleRulebook, take: BundleTake) -> int:
    if not book.panel.scores:
        return 100 if take.choice == "ship" else 0
    found = take.score
    for start, value in book.panel.bands:
        found = value if take.score >= start else found
    return found


# The verdict, in numbers and in sentences.


def judge(book: BundleRulebook, inputs: BundleInputs, rulebook: str, digest: str) -> dict[str, object]:
    takes, ballots = counted_takes(book, inputs), BundleBallots(book, inputs)
    rule = BundleRule(book, share_of(takes) if len(takes) >= book.panel.quorum else None)
    votes = ballots.without()
    label, decided = rule.decide(votes)
    distance = distance_of(rule, votes, label, decided)
    return {
        "label": label,
        "decided": decided,
        "panel": panel_of(inputs.takes),
        "community": tally_of(book, inputs),
        "shares": shares_of(rule, votes),
        "distance": distance and {"label": distance[0], "share": distance[1]},
        "margin": {
            "votes": vote_margin(rule, ballots),
            "takes": take_margin(book, takes, votes, label),
        },
        "explanation": list(explain(rule, votes, inputs, len(takes), label, decided, distance)),
        "rulebook": rulebook,
        "inputs": digest,
    }


def panel_of(takes: Sequence[BundleTake]) -> dict[str, object]:
    ship, number = sum(take.choice == "ship" for take in takes), len(takes)
    total = sum(take.score for take in takes)
    return {
        "ship": ship,
        "skip": number - ship,
        "share": four_places(exact(Fraction(ship, number))) if number else None,
        "mean_score": shown(round(Fraction(10 * total, number)), 1) if number else None,
        "score_total": total,
    }


def tally_of(book: BundleRulebook, inputs: BundleInputs) -> dict[str, object]:
    ship, total = inputs.ship, inputs.ship + inputs.skip
    return {
        "ship": ship,
        "skip": inputs.skip,
        "total": total,
        "share": four_places(exact(Fraction(ship, total))) if total else None,
        "interval": both(wilson(ship, total, 1, book.community.z)) if total else None,
        "preliminary": total < book.community.minimum,
    }


def shares_of(rule: BundleRule, votes: Votes) -> dict[str, object]:
    return {
        "panel": None if rule.panel_share is None else four_places(exact(rule.panel_share)),
        "community": both(rule.community(votes)),
        "together": both(rule.combined(votes)),
    }


def both(ends: tuple[End, End] | None) -> list[str] | None:
    return None if ends is None else [four_places(ends[0]), four_places(ends[1])]


def distance_of(rule: BundleRule, votes: Votes, label: str, decided: str) -> tuple[str, str] | None:
    """The nearest label across a threshold, and its distance in shares."""
    book, combined = rule.book, rule.combined(votes)
    if combined is None or decided == "veto":
        return None
    as_one = not (book.community.by_interval and rule.community(votes))
    meet = as_one and book.ship.at == book.skip.at and (book.ship.inclusive or book.skip.inclusive)
    ways = []
    for name, opposite, threshold, end, last in (
        ("Ship", "Skip", book.ship, combined[0], 1),
        ("Skip", "Ship", book.skip, combined[1], 0),
    ):
        across = opposite if meet else book.between
        nothing_beyond = threshold.at == last and not threshold.inclusive
        nothing_before = threshold.at == 1 - last and threshold.inclusive
        if across == name or label not in (name, across) or nothing_beyond or nothing_before:
            continue
        distance = four_places(combine(-threshold.at, Fraction(1), end)).lstrip("-")
        ways.append((distance, across if label == name else name))
    nearest = min(ways, key=lambda way: Fraction(way[0]), default=None)
    return nearest and (nearest[1], nearest[0])


def explain(
    rule: BundleRule,
    votes: Votes,
    inputs: BundleInputs,
    counted: int,
    label: str,
    decided: str,
    distance: tuple[str, str] | None,
) -> Iterator[str]:
    yield {
        "panel": "The panel decided.",
        "community": "The community decided.",
        "panel and community": "The panel and the community decided together.",
        "nothing": "Nothing decided: there is no panel that counts, and no community that weighs.",
        "veto": "The community vetoed what would have been Ship: "
        f"its interval lies wholly below {rule.book.words['veto_below']}.",
    }[decided]
    yield panel_sentence(rule, inputs.takes, counted)
    yield votes_sentence(rule, votes)
    if decided not in ("veto", "nothing"):
        yield thresholds_sentence(rule, votes, label)
    if distance:
        yield f"{distance[1]} of a share is missing to {distance[0]}."


def panel_sentence(rule: BundleRule, takes: Sequence[BundleTake], counted: int) -> str:
    book, number = rule.book, len(takes)
    ship = sum(take.choice == "ship" for take in takes)
    if number == 0:
        return "No reviewer has published a take."
    sentence = f"{ship} of {number} takes {'says' if ship == 1 else 'say'} ship"
    if number == 1:
        sentence = f"The only take says {takes[0].choice}"
    if not book.panel.weight:
        return f"{sentence}; this rulebook does not weigh the panel."
    count = f"{counted} {'counts' if counted == 1 else 'count'}"
    if rule.panel is None:
        return f"{sentence}; {count}, and the quorum is {book.panel.quorum}."
    sentence += f"; {count}" if counted < number else ""
    how = ("score" if book.panel.scores else "choice") + (" and weight" if book.panel.weights else "")
    return f"{sentence}; by {how} the panel's share is {four_places(exact(rule.panel))}."


def votes_sentence(rule: BundleRule, votes: Votes) -> str:
    book, one = rule.book, votes.number == 1
    sentence = f"{votes.number} community vote{'' if one else 's'}"
    if not book.weighs_votes:
        verb, them = ("is", "it") if one else ("are", "them")
        return f"{sentence} {verb} shown beside the verdict; this rulebook does not weigh {them}."
    if book.community.window is not None:
        sentence += (
            " of the last day" if book.community.window == 1 else f" of the last {book.community.window} days"
        )
    sentence += " counts," if one else " count,"
    if not rule.has_quorum(votes):
        return f"{sentence} fewer than the {book.community.minimum} from which they weigh."
    if book.community.half_life is not None:
        sentence += " weighed by age,"
    low, high = rule.interval(votes)
    share = four_places(exact(Fraction(votes.ship, votes.total)))
    ends = f"{four_places(low)} to {four_places(high)}"
    return f"{sentence} with a share of {share} and an interval of {ends} at z = {book.words['z']}."


def thresholds_sentence(rule: BundleRule, votes: Votes, label: str) -> str:
    book, combined = rule.book, rule.combined(votes)
    assert combined is not None
    low, high = four_places(combined[0]), four_places(combined[1])
    share = low if low == high else f"{low} to {high}"
    looks_equal = any(
        end.side(at) != 0 and four_places(end) == four_places(exact(at))
        for end, at in zip(combined, (book.ship.at, book.skip.at))
    )
    between = "" if book.between == "Split" else f", and what lies between is {book.between}"
    rounded = ", rounded," if looks_equal else ","
    thresholds = f"Ship takes {bound_in_words(book.words['ship'])} and Skip {bound_in_words(book.words['skip'])}{between}"
    return f"{thresholds}; the share is {share}{rounded} which is {label}."


def bound_in_words(bound: str) -> str:
    words = {">=": "at least ", "<=": "at most ", ">": "above ", "<": "below "}
    start = bound[:2] if bound[:2] in words else bound[:1]
    return words[start] + bound[len(start) :]


# The bundle as a whole.


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(value: object) -> str:
    return "sha256:" + hashlib.sha256(canonical(value)).hexdigest()


def differences(value: object, raw: bytes) -> tuple[list[str], bytes]:
    """The fields that differ, and the verdict computed from the bundle."""
    bundle = fields(
        value, "bundle", ("digest", "format", "inputs", "positions", "rulebook", "tool", "verdict")
    )
    for name in ("positions", "tool"):
        text(bundle[name], name)
    book = read_rulebook(bundle["rulebook"])
    inputs = read_inputs(bundle["inputs"], book.weighs_age)
    verdict = judge(book, inputs, digest_of(bundle["rulebook"]), digest_of(bundle["inputs"]))
    found = list(compare(bundle["verdict"], verdict, "verdict"))
    rest = {name: bundle[name] for name in bundle if name != "digest"}
    found += compare(bundle["digest"], digest_of(rest), "digest")
    if canonical(bundle) + b"\n" != raw:
        found.append(
            f"bytes: are not the canonical form, from byte {first_difference(canonical(bundle), raw)} on"
        )
    return found, canonical(verdict)


def compare(claimed: object, computed: object, where: str) -> Iterator[str]:
    if isinstance(claimed, dict) and isinstance(computed, dict):
        for name in sorted(set(claimed) | set(computed)):
            yield from compare(claimed.get(name, "nothing"), computed.get(name, "nothing"), f"{where}.{name}")
    elif isinstance(claimed, list) and isinstance(computed, list) and len(claimed) == len(computed):
        for number, (one, other) in enumerate(zip(claimed, computed)):
            yield from compare(one, other, f"{where}[{number}]")
    elif type(claimed) is not type(computed) or claimed != computed:
        yield f"{where}: the bundle says {json.dumps(claimed)}, and it is {json.dumps(computed)}"


def first_difference(expected: bytes, raw: bytes) -> int:
    pairs = zip(expected + b"\n", raw)
    shorter = min(len(expected) + 1, len(raw))
    return next((number for number, (one, other) in enumerate(pairs) if one != other), shorter)


def reject_constant(words: str) -> float:
    raise ValueError(f"{words} is no number")


def say(words: str | None) -> None:
    sys.stderr.write(f"{words}\n")


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        say(__doc__)
        return 2
    try:
        raw = sys.stdin.buffer.read() if arguments[0] == "-" else Path(arguments[0]).read_bytes()
    except OSError as error:
        say(f"cannot be read: {error}")
        return 2
    status, verdict = check(raw)
    sys.stdout.buffer.write(verdict)
    return status


def check(raw: bytes) -> tuple[int, bytes]:
    """The exit status, and what to print to standard output; problems are printed to standard error."""
    try:
        bundle = json.loads(raw.decode("utf-8"), parse_constant=reject_constant)
        canonical(bundle)
    except (ValueError, RecursionError) as error:
        say(f"cannot be read: {error}")
        return 2, b""
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        say(f"format: this is no bundle of the format {FORMAT}")
        return 2, b""
    try:
        found, verdict = differences(bundle, raw)
    except InvalidBundle as error:
        found, verdict = [str(error)], b""
    for each in found:
        say(each)
    return (1, b"") if found else (0, verdict + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
