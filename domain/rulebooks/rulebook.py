"""Rulebooks: the rule of a verdict as data. Its digest names it wherever a verdict is shown."""

from __future__ import annotations

import re
import tomllib
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from domain.rulebooks.errors import in_words
from domain.shared.errors import Rejected
from domain.shared.types import Line, Slug, Text

Label = Literal["Ship", "Skip", "Split", "Unreviewed"]
Clause = Literal["verdict", "panel share", "mean score", "community share", "community lower bound", "votes"]

# Ratios and bounds are written as one likes (1/2, 0.5, 50%) and kept in lowest terms.
Ratio: TypeAlias = Annotated[str, Meta(max_length=20)]
Bound: TypeAlias = Annotated[str, Meta(max_length=24)]
Weight: TypeAlias = Annotated[int, Meta(ge=0, le=1_000)]

_BOUND = re.compile(r"(>=|>|<=|<)\s*(\S+)\Z")
_RATIO = re.compile(r"([0-9]{1,9}/[0-9]{1,9}|[0-9]{1,3}(\.[0-9]{1,6})?%?)\Z", re.ASCII)
_Z = re.compile(r"[0-9](\.[0-9]{1,4})?\Z", re.ASCII)


class InvalidRulebook(Rejected):
    """This is no rulebook: {error}"""

    slug = "invalid"


class Threshold(Struct, frozen=True, dict=True):
    """What a share has to pass: to lie above ``at``, or ``inclusive`` it."""

    at: Fraction
    inclusive: bool

    @cached_property
    def parts(self) -> tuple[int, int]:
        """``at`` as numerator and denominator."""
        return self.at.as_integer_ratio()

    def passes(self, share: Fraction) -> bool:
        return share > self.at or (self.inclusive and share == self.at)


class Panel(Struct, frozen=True, forbid_unknown_fields=True):
    """How takes are counted.

    A take is worth 0 to 100: by its choice 0 or 100, by its score the score itself, or what the ``bands`` make of the
    score, each ``(from, worth)``. Reviewers weigh 1 unless named; one that weighs 0 is left out. With fewer takes than
    the quorum the panel says nothing.
    """

    weight: Weight = 1
    quorum: Annotated[int, Meta(ge=1, le=1_000)] = 1
    counts: Literal["choices", "scores"] = "choices"
    bands: Annotated[tuple[tuple[int, int], ...], Meta(max_length=20)] = ()
    weights: Annotated[dict[Slug, Weight], Meta(max_length=1_000)] = {}


class Community(Struct, frozen=True, forbid_unknown_fields=True):
    """How votes are counted, and what they weigh against the panel.

    With fewer votes than the ``minimum`` the tally is preliminary and weighs nothing. ``bound``: the share itself is
    counted, or its Wilson interval at ``z``, of which the lower end has to pass the bar for Ship and the upper end that
    for Skip. A vote weighs half as much as one cast ``half_life_days`` later; only the last ``window_days`` count. Days
    are UTC, counted back from the day of the tool's newest cast, so that no verdict changes by waiting.
    Where the interval's upper end lies below ``veto_below``, what would be Ship is Split.
    """

    weight: Weight = 0
    minimum: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10
    bound: Literal["share", "interval"] = "share"
    z: Annotated[str, Meta(max_length=6)] = "1.96"
    half_life_days: Annotated[int, Meta(ge=7, le=3_650)] | None = None
    window_days: Annotated[int, Meta(ge=1, le=3_650)] | None = None
    veto_below: Ratio | None = None


class Rulebook(Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """``ship`` and ``skip`` say which share, of panel and community together, makes the label; ``between`` is for the rest.

    Two tools are compared by the clauses of ``comparison``, the first that tells them apart.
    """

    name: Slug
    ship: Bound = ">1/2"
    skip: Bound = "<1/2"
    between: Literal["Split", "Ship", "Skip"] = "Split"
    title: Line = ""
    description: Text = ""
    panel: Panel = msgspec.field(default_factory=Panel)
    community: Community = msgspec.field(default_factory=Community)
    comparison: Annotated[tuple[Clause, ...], Meta(min_length=1, max_length=6)] = (
        "panel share",
        "mean score",
        "community lower bound",
    )

    def __hash__(self) -> int:
        return hash(self.canonical)

    @cached_property
    def canonical(self) -> bytes:
        """Every field, sorted, without spaces: the bytes that the digest is of."""
        return msgspec.json.encode(self, order="sorted")

    @cached_property
    def digest(self) -> str:
        return "sha256:" + sha256(self.canonical).hexdigest()

    @cached_property
    def ship_threshold(self) -> Threshold:
        """For the share."""
        return Threshold(_ratio(self.ship.lstrip("<>=")), "=" in self.ship)

    @cached_property
    def skip_threshold(self) -> Threshold:
        """For what is left to 1 of the share."""
        return Threshold(1 - _ratio(self.skip.lstrip("<>=")), "=" in self.skip)

    @cached_property
    def veto_threshold(self) -> Threshold | None:
        """For what is left to 1 of the upper end."""
        below = self.community.veto_below
        return None if below is None else Threshold(1 - _ratio(below), inclusive=False)

    @cached_property
    def z(self) -> Decimal:
        return Decimal(self.community.z)

    @cached_property
    def z_ten_thousandths(self) -> int:
        """Exact: it has no more places."""
        return int(self.z * 10_000)

    @cached_property
    def weighs_votes(self) -> bool:
        """Whether votes can change a label."""
        return self.community.weight > 0 or self.community.veto_below is not None

    @property
    def weighs_age(self) -> bool:
        """Whether it matters when a vote was cast."""
        aged = self.community.half_life_days is not None or self.community.window_days is not None
        return aged and self.weighs_votes


def read_rulebook(text: str) -> Rulebook:
    """From TOML. Raises InvalidRulebook, which names the field."""
    try:
        book = msgspec.convert(tomllib.loads(text), Rulebook)
    except (ValueError, RecursionError) as error:  # of TOML, of msgspec, of a number without end
        raise InvalidRulebook(error=in_words(error, Rulebook)) from None
    return normalize(book)


def decode_rulebook(canonical: bytes) -> Rulebook:
    """From JSON. Raises InvalidRulebook."""
    try:
        book = msgspec.json.decode(canonical, type=Rulebook)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRulebook(error=in_words(error, Rulebook)) from None
    return normalize(book)


def normalize(book: Rulebook) -> Rulebook:
    """The one way of writing this rulebook. Raises InvalidRulebook for one that contradicts itself."""
    ship, skip = _bound("ship", book.ship, ">"), _bound("skip", book.skip, "<")
    z, veto = book.community.z, book.community.veto_below
    if not _Z.match(z) or Decimal(z) == 0:
        raise InvalidRulebook(
            error=f"`community.z`: {z!r} is no quantile above 0 with at most four places, as 1.96 is."
        )
    community = msgspec.structs.replace(
        book.community,
        z=format(Decimal(z).normalize(), "f"),
        veto_below=None if veto is None else str(_ratio(veto, "community.veto_below")),
    )
    weights = {who: weight for who, weight in sorted(book.panel.weights.items()) if weight != 1}
    panel = msgspec.structs.replace(book.panel, weights=weights)
    found = msgspec.structs.replace(book, ship=ship, skip=skip, panel=panel, community=community)
    _check(found)
    return found


def _check(book: Rulebook) -> None:
    ship, skip = book.ship_threshold, book.skip_threshold
    if ship.at < 1 - skip.at or (ship.at == 1 - skip.at and ship.inclusive and skip.inclusive):
        raise InvalidRulebook(
            error=f"`ship` {book.ship} and `skip` {book.skip} overlap: a share would be both. Move one of them."
        )
    if book.panel.weight == 0 and book.community.weight == 0:
        raise InvalidRulebook(error="`panel.weight` and `community.weight` are both 0: nothing would decide.")
    starts = [start for start, _ in book.panel.bands]
    worths = [worth for _, worth in book.panel.bands]
    if starts and (starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] > 100):
        raise InvalidRulebook(error="`panel.bands` begin at score 0 and rise, up to 100.")
    if worths != sorted(worths) or any(not 0 <= worth <= 100 for worth in worths):
        raise InvalidRulebook(
            error="`panel.bands` are worth 0 to 100, and a higher score no less than a lower one."
        )
    if starts and book.panel.counts != "scores":
        raise InvalidRulebook(error='`panel.bands` are of scores: set `panel.counts` to "scores".')
    if len(set(book.comparison)) < len(book.comparison):
        raise InvalidRulebook(error="`comparison` names a clause twice.")


def _bound(field: str, text: str, sign: str) -> str:
    found = _BOUND.match(text.strip())
    if found is None or found[1][0] != sign:
        raise InvalidRulebook(
            error=f"`{field}`: {text!r} is no bound. Write {sign}1/2 or {sign}=80%, for example."
        )
    return f"{found[1]}{_ratio(found[2], field)}"


def _ratio(text: str, field: str = "") -> Fraction:
    """1/2, 0.5 and 50% are one ratio, within 0..1."""
    if _RATIO.match(text):
        try:
            ratio = Fraction(text.rstrip("%")) / (100 if text.endswith("%") else 1)
        except ZeroDivisionError:
            ratio = Fraction(2)
        if ratio <= 1:
            return ratio
    raise InvalidRulebook(error=f"`{field}`: {text!r} is no ratio within 0 and 1. Write 1/2, 0.5 or 50%.")
