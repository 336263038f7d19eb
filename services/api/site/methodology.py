"""Methodology: the rulebook in force in plain words, all rulebooks, and the history of adoptions."""

from __future__ import annotations

from fractions import Fraction

from litestar import get

from domain.rulebooks.presets import DEFAULT
from domain.rulebooks.rulebook import Clause, Label, Rulebook
from projections.adoptions import read_adoptions, rulebook_in_force, scheduled_adoptions
from projections.engine.snapshot import take_snapshot
from projections.rulebooks import read_rulebooks
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.requests import AnyRequest
from services.api.site.rendering import Page, render_page

CLAUSES: dict[Clause, str] = {
    "verdict": "the better verdict: Ship before Split, Split before Skip, and Unreviewed last",
    "panel share": "the higher panel share",
    "mean score": "the higher mean score",
    "community share": "the higher community share",
    "community lower bound": "the higher lower end of the community's interval",
    "votes": "more community votes",
}
_CONFIDENCE = {"1.645": "90%", "1.96": "95%", "2.576": "99%"}


@get("/methodology", guards=[open_to_all], include_in_schema=False)
async def methodology(request: AnyRequest) -> Page:
    async with take_snapshot(app_state(request).pool) as snapshot:
        book = await rulebook_in_force(snapshot)
        known, adoptions = await read_rulebooks(snapshot), await read_adoptions(snapshot)
        freshness = await snapshot.freshness()
    return render_page(
        request,
        "methodology.html",
        freshness,
        rulebook=book,
        thresholds=thresholds(book),
        subject=subject(book),
        interval=interval(book),
        clauses=[CLAUSES[clause] for clause in book.comparison],
        percent_of=percent,
        known=[each.rulebook for each in known],
        names={each.rulebook.digest: each.rulebook.title or each.rulebook.name for each in known},
        first=DEFAULT.digest,
        adoptions=adoptions,
        scheduled=scheduled_adoptions(adoptions),
    )


def thresholds(book: Rulebook) -> list[tuple[str, Label]]:
    """The range of the share for each label, in words."""
    ship, skip = book.ship_threshold, book.skip_threshold
    rows: list[tuple[str, Label]] = [
        (f"{'at least' if ship.inclusive else 'above'} {percent(ship.at)}", "Ship"),
        (f"{'at most' if skip.inclusive else 'below'} {percent(1 - skip.at)}", "Skip"),
    ]
    if _of_interval(book):
        rows = [(f"lower end {rows[0][0]}", "Ship"), (f"upper end {rows[1][0]}", "Skip")]
        return [*rows, ("neither of the two", book.between)]
    between = _between(book)
    return [*rows, (between, book.between)] if between else rows


def _between(book: Rulebook) -> str | None:
    """The range that is neither Ship nor Skip; None where there is none."""
    low, high = 1 - book.skip_threshold.at, book.ship_threshold.at
    if low == high:
        return (
            None
            if book.ship_threshold.inclusive or book.skip_threshold.inclusive
            else f"exactly {percent(low)}"
        )
    begin = "above" if book.skip_threshold.inclusive else "from"
    end = "to below" if book.ship_threshold.inclusive else "to"
    return f"{begin} {percent(low)} {end} {percent(high)}"


def subject(book: Rulebook) -> str:
    """The quantity that is compared with the thresholds."""
    if not book.community.weight:
        return "Panel share"
    quantity = "interval" if _of_interval(book) else "share"
    return f"Weighed {quantity}" if book.panel.weight else f"Community {quantity}"


def _of_interval(book: Rulebook) -> bool:
    return bool(book.community.weight) and book.community.bound == "interval"


def interval(book: Rulebook) -> str:
    """The name of the community's interval."""
    confidence = _CONFIDENCE.get(book.community.z)
    return f"{confidence} Wilson interval" if confidence else f"Wilson interval at z = {book.community.z}"


def percent(share: Fraction | str) -> str:
    """In per cent where that is a whole number, otherwise as a ratio."""
    hundredths = Fraction(share) * 100
    return f"{hundredths}%" if hundredths.denominator == 1 else str(Fraction(share))
