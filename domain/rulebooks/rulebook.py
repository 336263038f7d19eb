"""Rulebooks: the rules of a verdict as data. A verdict names its rulebook by digest."""

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

from domain.rulebooks.errors import explain_error
from domain.shared.errors import Rejected
from domain.shared.types import Line, Slug, Text

Label = Literal["Ship", "Skip", "Split", "Unreviewed"]
Clause = Literal["verdict", "panel share", "mean score", "community share", "community lower bound", "votes"]

# Ratios may be written as 1/2, 0.5 or 50%; they are stored in lowest terms.
Ratio: TypeAlias = Annotated[str, Meta(max_length=20)]
Bound: TypeAlias = Annotated[str, Meta(max_length=24)]
Weight: TypeAlias = Annotated[int, Meta(ge=0, le=1_000)]

_BOUND = re.compile(r"(>=|>|<=|<)\s*(\S+)\Z")
_RATIO = re.compile(r"([0-9]{1,9}/[0-9]{1,9}|[0-9]{1,3}(\.[0-9]{1,6})?%?)\Z", re.ASCII)
_Z = re.compile(r"[0-9](\.[0-9]{1,4})?\Z", re.ASCII)


class InvalidRulebook(Rejected):
    """This is not a valid rulebook: {error}"""

    slug = "invalid"


class Threshold(Struct, frozen=True, dict=True):
    """A share passes above ``at``, and at ``at`` itself if ``inclusive``."""

    at: Fraction
    inclusive: bool

    @cached_property
    def ratio(self) -> tuple[int, int]:
        """Numerator and denominator of ``at``."""
        return self.at.as_integer_ratio()

    def passes(self, share: Fraction) -> bool:
        return share > self.at or (self.inclusive and share == self.at)


class Panel(Struct, frozen=True, forbid_unknown_fields=True):
    """How takes count.

    A take is worth 0 to 100: 0 or 100 by its choice, or its score, or the worth of the score's band; ``bands`` are pairs
    ``(lowest score, worth)``. A reviewer's weight is 1 unless ``weights`` has another; takes of weight 0 do not count.
    With fewer takes than ``quorum`` the panel has no share.
    """

    weight: Weight = 1
    quorum: Annotated[int, Meta(ge=1, le=1_000)] = 1
    counts: Literal["choices", "scores"] = "choices"
    bands: Annotated[tuple[tuple[int, int], ...], Meta(max_length=20)] = ()
    weights: Annotated[dict[Slug, Weight], Meta(max_length=1_000)] = {}


class Community(Struct, frozen=True, forbid_unknown_fields=True):
    """How votes count, and their weight against the panel.

    With fewer votes than ``minimum`` the tally is preliminary and does not count. ``bound`` compares either the share
    itself, or its Wilson interval at ``z``: the lower end with the threshold of Ship, the upper end with that of Skip.
    A vote weighs half as much as one cast ``half_life_days`` later; only the last ``window_days`` count. Days are UTC,
    counted back from the tool's newest cast, so that a verdict never changes merely because time passes.
    If the upper end of the interval lies below ``veto_below``, Ship becomes Split.
    """

    weight: Weight = 0
    minimum: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 10
    bound: Literal["share", "interval"] = "share"
    z: Annotated[str, Meta(max_length=6)] = "1.96"
    half_life_days: Annotated[int, Meta(ge=7, le=3_650)] | None = None
    window_days: Annotated[int, Meta(ge=1, le=3_650)] | None = None
    veto_below: Ratio | None = None

    @property
    def weighs_votes(self) -> bool:
        """Whether votes can change a label."""
        return self.weight > 0 or self.veto_below is not None

    @property
    def weighs_age(self) -> bool:
        """Whether the days of votes can change a label."""
        return self.weighs_votes and (self.half_life_days is not None or self.window_days is not None)


class Rulebook(Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """The combined share of panel and community determines the label: ``ship``, ``skip``, or ``between`` for the rest.

    Two tools are compared by the first clause of ``comparison`` in which they differ.
    """

    name: Slug
    ship: Bound = ">1/2"
    skip: Bound = "<1/2"
    between: Literal["Split", "Ship", "Skip"] = "Split"
    title: Line = ""
    description: Text = ""
    panel: Panel = msgspec.field(default_factory=Panel)
    community: Community = msgspec.field(default_factory=Community)
    comparison: Annotated[
        tuple[Clause, ...], Meta(min_length=1, max_length=6, extra_json_schema={"uniqueItems": True})
    ] = (
        "panel share",
        "mean score",
        "community lower bound",
    )

    def __hash__(self) -> int:
        return hash(self.canonical)

    @cached_property
    def canonical(self) -> bytes:
        """JSON with every field, sorted, without spaces: the input of the digest."""
        return msgspec.json.encode(self, order="sorted")

    @cached_property
    def digest(self) -> str:
        return "sha256:" + sha256(self.canonical).hexdigest()

    @cached_property
    def ship_threshold(self) -> Threshold:
        """Compared with the share."""
        return Threshold(_ratio(self.ship.lstrip("<>=")), "=" in self.ship)

    @cached_property
    def skip_threshold(self) -> Threshold:
        """Compared with 1 minus the share."""
        return Threshold(1 - _ratio(self.skip.lstrip("<>=")), "=" in self.skip)

    @cached_property
    def veto_threshold(self) -> Threshold | None:
        """Compared with 1 minus the upper end of the interval."""
        below = self.community.veto_below
        return None if below is None else Threshold(1 - _ratio(below), inclusive=False)

    @cached_property
    def z(self) -> Decimal:
        return Decimal(self.community.z)

    @cached_property
    def z_ten_thousandths(self) -> int:
        """Exact, as ``z`` has at most four places."""
        return int(self.z * 10_000)

    @cached_property
    def weighs_votes(self) -> bool:
        return self.community.weighs_votes

    @property
    def weighs_age(self) -> bool:
        return self.community.weighs_age


def read_rulebook(text: str) -> Rulebook:
    """From TOML. Raises InvalidRulebook, whose message names the field."""
    try:
        book = msgspec.convert(tomllib.loads(text), Rulebook)
    except (ValueError, RecursionError) as error:  # TOML, msgspec, or an integer of too many digits
        raise InvalidRulebook(error=explain_error(error, Rulebook)) from None
    return normalize(book)


def decode_rulebook(canonical: bytes) -> Rulebook:
    """From JSON. Raises InvalidRulebook."""
    try:
        book = msgspec.json.decode(canonical, type=Rulebook)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRulebook(error=explain_error(error, Rulebook)) from None
    return normalize(book)


def normalize(book: Rulebook) -> Rulebook:
    """The canonical form, so that equal rulebooks have equal digests. Raises InvalidRulebook for contradictions."""
    ship, skip = _bound("ship", book.ship, ">"), _bound("skip", book.skip, "<")
    z, veto = book.community.z, book.community.veto_below
    if not _Z.match(z) or Decimal(z) == 0:
        raise InvalidRulebook(
            error=f"`community.z`: {z!r} is not a quantile above 0 with at most four places. Write 1.96, for example."
        )
    community = msgspec.structs.replace(
        book.community,
        z=format(Decimal(z).normalize(), "f"),
        veto_below=None if veto is None else str(_ratio(veto, "community.veto_below")),
    )
    weights = {reviewer: weight for reviewer, weight in sorted(book.panel.weights.items()) if weight != 1}
    panel = msgspec.structs.replace(book.panel, weights=weights)
    normal = msgspec.structs.replace(book, ship=ship, skip=skip, panel=panel, community=community)
    _check(normal)
    return normal


def _check(book: Rulebook) -> None:
    ship, skip = book.ship_threshold, book.skip_threshold
    if ship.at < 1 - skip.at or (ship.at == 1 - skip.at and ship.inclusive and skip.inclusive):
        raise InvalidRulebook(
            error=f"`ship` {book.ship} and `skip` {book.skip} overlap: a share could be both. Move one of them."
        )
    if book.panel.weight == 0 and book.community.weight == 0:
        raise InvalidRulebook(
            error="`panel.weight` and `community.weight` are both 0: nothing would decide. Raise one of them."
        )
    _check_bands(book.panel)
    if len(set(book.comparison)) < len(book.comparison):
        raise InvalidRulebook(error="`comparison` names a clause twice.")


def _check_bands(panel: Panel) -> None:
    starts = [start for start, _ in panel.bands]
    worths = [worth for _, worth in panel.bands]
    if starts and (starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] > 100):
        raise InvalidRulebook(error="`panel.bands` must begin at score 0 and rise, up to 100.")
    if worths != sorted(worths) or any(not 0 <= worth <= 100 for worth in worths):
        raise InvalidRulebook(
            error="the worth of `panel.bands` must be 0 to 100, and not less for a higher score than for a lower one."
        )
    if starts and panel.counts != "scores":
        raise InvalidRulebook(error='`panel.bands` need scores: set `panel.counts` to "scores".')


def _bound(field: str, text: str, sign: str) -> str:
    found = _BOUND.match(text.strip())
    if found is None or found[1][0] != sign:
        raise InvalidRulebook(
            error=f"`{field}`: {text!r} is not a bound. Write {sign}1/2 or {sign}=80%, for example."
        )
    return f"{found[1]}{_ratio(found[2], field)}"


def _ratio(text: str, field: str = "") -> Fraction:
    """Parse 1/2, 0.5 or 50%. Raises InvalidRulebook unless the ratio is within 0..1."""
    if _RATIO.match(text):
        try:
            ratio = Fraction(text.rstrip("%")) / (100 if text.endswith("%") else 1)
        except ZeroDivisionError:
            ratio = Fraction(2)
        if ratio <= 1:
            return ratio
    raise InvalidRulebook(error=f"`{field}`: {text!r} is not a ratio from 0 to 1. Write 1/2, 0.5 or 50%.")
