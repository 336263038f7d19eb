"""Diff: what changed between two moments, and which events did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Generic, TypeVar

from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Meta, Struct, structs

from domain.rulebooks.rulebook import Label
from domain.shared.log import Position
from domain.shared.types import Choice
from eventstore.as_of_positions import resolve_positions
from projections.adoptions import rulebook_in_force
from projections.reads.as_of import AsOfSnapshot, snapshot_as_of
from projections.reads.diff import Between, EditorialChange, VoteSpan
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.consistency import AS_OF_CHARS_MAX, headers_of, moment_in
from services.api.http.pagination import next_link, read_cursor, write_cursor
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.cards import Card, read_cards
from services.api.views.verdicts import PanelResponse, present_panel

T = TypeVar("T")
_NO_MORE = 2**31 - 1, 2**63 - 1  # no tool and no event comes after
_HOW = "A time that has passed, a position, or a position of every shard, as for as_of"


class Counts(Struct, frozen=True):
    ship: int
    skip: int


class Judged(Struct, frozen=True):
    """A verdict's label and what it came from; ``inputs`` and ``rulebook`` are the digests of all that went in."""

    label: Label
    panel: PanelResponse
    inputs: str
    rulebook: str


class Change(Struct, Generic[T], frozen=True):
    """``before`` is null where the tool was not listed yet."""

    before: T | None
    after: T


class VotesBetween(Struct, frozen=True):
    """Casts and retractions in one shard: how many, and the first and last of them."""

    count: int
    first: str
    last: str


class ChangedTool(Struct, frozen=True):
    tool: str
    tally: Change[Counts]
    verdict: Change[Judged]
    votes: list[VotesBetween]


class DiffEvent(Struct, frozen=True):
    """What was done to the catalogue, the panel or the rule; never by whom. ``rulebook`` is a digest."""

    position: str
    recorded_at: datetime
    type: str
    tool: str | None
    reviewer: str | None
    choice: Choice | None
    revision: int | None
    rulebook: str | None


class Diff(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """``from`` and ``to`` are a position per shard; ``next`` is the cursor of the next page, or null."""

    start: str
    end: str
    tools: list[ChangedTool]
    events: list[DiffEvent]
    next: str | None


class Page(Struct, frozen=True, array_like=True):
    """Of which diff, and the tool and the house event that the page before ended with."""

    start: str
    end: str
    tool: Annotated[int, Meta(ge=0, le=_NO_MORE[0])] = 0
    event: Annotated[int, Meta(ge=0, le=_NO_MORE[1])] = 0


@get("/v1/diff", guards=[open_to_all], responses=problem_responses(404))
async def show_diff(
    request: AnyRequest,
    start: Annotated[str, QueryParameter(name="from", description=_HOW, max_length=AS_OF_CHARS_MAX)],
    end: Annotated[str, QueryParameter(name="to", description=_HOW, max_length=AS_OF_CHARS_MAX)],
    cursor: Annotated[str | None, QueryParameter(max_length=6_000, required=False)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
) -> Response[Diff]:
    """What changed after ``from`` and up to ``to``: tools by number, house events as they came, up to ``limit`` of each a page.

    Where another rulebook came into force, tools whose label it changed are there too.
    """
    pool = app_state(request).pool
    before = await resolve_positions(pool, moment_in(start, "from"))
    after = await resolve_positions(pool, moment_in(end, "to"))
    _check_order(before, after)
    page = _page(cursor, _written(before), _written(after))
    async with snapshot_as_of(pool, before, after, behind=0) as (was, is_):
        diff = await _read_page(was, is_, page, limit)
        freshness = await is_.freshness()
    headers = headers_of(freshness) | ({"Link": next_link(request, diff.next)} if diff.next else {})
    return Response(diff, headers=headers)


async def _read_page(was: AsOfSnapshot, is_: AsOfSnapshot, page: Page, limit: int) -> Diff:
    """One tool and one event more than are shown tell whether there is another page."""
    between = Between(was, is_)
    rules = await rulebook_in_force(was), await rulebook_in_force(is_)
    touched = await between.tools(page.tool, limit + 1)
    tools = touched if rules[0] == rules[1] else await between.listed(page.tool, limit + 1)
    events = await between.editorial(page.event, limit + 1)
    before = await read_cards(was, rules[0], tools[:limit])
    after = await read_cards(is_, rules[1], tools[:limit])
    news = [each for each in after if each in touched or _label(before, each) != _label(after, each)]
    changed = _changed(before, after, news, await between.votes(news))
    shown = [_event(event) for event in events[:limit]]
    return Diff(page.start, page.end, changed, shown, _after(page, tools, events, limit))


def _check_order(before: Sequence[Position], after: Sequence[Position]) -> None:
    if any(a.number > b.number for a, b in zip(before, after, strict=True)):
        raise HttpRejected(
            400, "invalid", "from: it is later than to, in one shard at least. Change them over."
        )


def _written(positions: Sequence[Position]) -> str:
    return ",".join(map(str, positions))


def _page(cursor: str | None, start: str, end: str) -> Page:
    page = read_cursor(cursor, Page) if cursor else Page(start, end)
    if (page.start, page.end) != (start, end):
        raise HttpRejected(400, "invalid", "cursor: it is of another diff. Start from the first page.")
    return page


def _changed(
    before: Mapping[int, Card], after: Mapping[int, Card], tools: Sequence[int], votes: Sequence[VoteSpan]
) -> list[ChangedTool]:
    return [
        _change(before.get(tool), after[tool], [each for each in votes if each.tool == tool])
        for tool in sorted(tools)
    ]


def _label(cards: Mapping[int, Card], tool: int) -> Label:
    return cards[tool].verdict.label


def _change(was: Card | None, card: Card, votes: Sequence[VoteSpan]) -> ChangedTool:
    return ChangedTool(
        card.slug,
        Change(_counts(was) if was else None, _counts(card)),
        Change(_judged(was) if was else None, _judged(card)),
        [VotesBetween(each.count, str(each.first), str(each.last)) for each in votes],
    )


def _counts(card: Card) -> Counts:
    return Counts(card.tally.ship, card.tally.skip)


def _judged(card: Card) -> Judged:
    return Judged(
        card.verdict.label, present_panel(card.verdict.panel), card.verdict.inputs, card.verdict.rulebook
    )


def _event(event: EditorialChange) -> DiffEvent:
    _, *rest = structs.astuple(event)
    return DiffEvent(str(event.position), *rest)


def _after(page: Page, tools: Sequence[int], events: Sequence[EditorialChange], limit: int) -> str | None:
    """The cursor of the page after this one, unless both lists end here."""
    if len(tools) <= limit and len(events) <= limit:
        return None
    tool = tools[limit - 1] if len(tools) > limit else _NO_MORE[0]
    event = events[limit - 1].position.number if len(events) > limit else _NO_MORE[1]
    return write_cursor((page.start, page.end, tool, event))
