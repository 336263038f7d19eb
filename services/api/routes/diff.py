"""Diff: the tools that changed between two moments, and the events that changed them."""

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
from projections.reads.diff import DiffRange, EditorialChange, VoteSpan
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.consistency import AS_OF_CHARS_MAX, headers_of, moment_in
from services.api.http.documented import FRESHNESS
from services.api.http.pagination import next_link, read_cursor, write_cursor
from services.api.http.problems import HttpRejected, problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.cards import Card, read_cards
from services.api.views.verdicts import PanelResponse, present_panel

T = TypeVar("T")
_END = 2**31 - 1, 2**63 - 1  # after every tool and every event
_MOMENT = "A time that has passed, a position, or a position of every shard, as for as_of"


class Counts(Struct, frozen=True):
    ship: int
    skip: int


class Judged(Struct, frozen=True):
    """The label of a verdict. ``inputs`` is the digest of everything it was computed from, ``rulebook`` that of its rulebook."""

    label: Label
    panel: PanelResponse
    inputs: str
    rulebook: str


class Change(Struct, Generic[T], frozen=True):
    """``before`` is null where the tool was not listed yet."""

    before: T | None
    after: T


class VotesBetween(Struct, frozen=True):
    """The number of casts and retractions in one shard, and the positions of the first and the last."""

    count: int
    first: str
    last: str


class ChangedTool(Struct, frozen=True):
    tool: str
    tally: Change[Counts]
    verdict: Change[Judged]
    votes: list[VotesBetween]


class DiffEvent(Struct, frozen=True):
    """A change of the catalogue, the panel or the rulebook in force, without its author. ``rulebook`` is a digest."""

    position: str
    recorded_at: datetime
    type: str
    tool: str | None
    reviewer: str | None
    choice: Choice | None
    revision: int | None
    rulebook: str | None


class Diff(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """``from`` and ``to`` are one position per shard; ``next`` is the cursor of the next page, or null."""

    start: str
    end: str
    tools: list[ChangedTool]
    events: list[DiffEvent]
    next: str | None


class Page(Struct, frozen=True, array_like=True):
    """The diff, and the tool and the editorial event that the previous page ended with."""

    start: str
    end: str
    tool: Annotated[int, Meta(ge=0, le=_END[0])] = 0
    event: Annotated[int, Meta(ge=0, le=_END[1])] = 0


@get("/v1/diff", guards=[open_to_all], responses=problem_responses(404), response_headers=FRESHNESS)
async def show_diff(
    request: AnyRequest,
    start: Annotated[str, QueryParameter(name="from", description=_MOMENT, max_length=AS_OF_CHARS_MAX)],
    end: Annotated[str, QueryParameter(name="to", description=_MOMENT, max_length=AS_OF_CHARS_MAX)],
    cursor: Annotated[str | None, QueryParameter(max_length=6_000, required=False)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 20,
) -> Response[Diff]:
    """What changed after ``from`` and up to ``to``: up to ``limit`` tools and ``limit`` editorial events a page, in the order of the log.

    If another rulebook came into force, the tools whose label it changed are included.
    """
    pool = app_state(request).pool
    before = await resolve_positions(pool, moment_in(start, "from"))
    after = await resolve_positions(pool, moment_in(end, "to"))
    _check_order(before, after)
    page = _page(cursor, _vector(before), _vector(after))
    async with snapshot_as_of(pool, before, after, behind=0) as (earlier, later):
        diff = await _read_page(earlier, later, page, limit)
        freshness = await later.freshness()
    headers = headers_of(freshness) | ({"Link": next_link(request, diff.next)} if diff.next else {})
    return Response(diff, headers=headers)


async def _read_page(earlier: AsOfSnapshot, later: AsOfSnapshot, page: Page, limit: int) -> Diff:
    """Reads one tool and one event more than it shows, to know whether there is another page."""
    diff_range = DiffRange(earlier, later)
    rules = await rulebook_in_force(earlier), await rulebook_in_force(later)
    with_events = await diff_range.read_changed_tools(page.tool, limit + 1)
    tools = with_events if rules[0] == rules[1] else await diff_range.read_listed_tools(page.tool, limit + 1)
    events = await diff_range.read_editorial_events(page.event, limit + 1)
    before = await read_cards(earlier, rules[0], tools[:limit])
    after = await read_cards(later, rules[1], tools[:limit])
    shown = [each for each in after if each in with_events or _label(before, each) != _label(after, each)]
    changed = _changed(before, after, shown, await diff_range.read_vote_spans(shown))
    return Diff(
        page.start,
        page.end,
        changed,
        [_event(each) for each in events[:limit]],
        _next(page, tools, events, limit),
    )


def _check_order(before: Sequence[Position], after: Sequence[Position]) -> None:
    if any(a.number > b.number for a, b in zip(before, after, strict=True)):
        raise HttpRejected(400, "invalid", "from: it is later than to in at least one shard. Swap the two.")


def _vector(positions: Sequence[Position]) -> str:
    return ",".join(map(str, positions))


def _page(cursor: str | None, start: str, end: str) -> Page:
    page = read_cursor(cursor, Page) if cursor is not None else Page(start, end)
    if (page.start, page.end) != (start, end):
        raise HttpRejected(400, "invalid", "cursor: it belongs to another diff. Start from the first page.")
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


def _change(before: Card | None, after: Card, votes: Sequence[VoteSpan]) -> ChangedTool:
    return ChangedTool(
        after.slug,
        Change(_counts(before) if before else None, _counts(after)),
        Change(_judged(before) if before else None, _judged(after)),
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


def _next(page: Page, tools: Sequence[int], events: Sequence[EditorialChange], limit: int) -> str | None:
    """The cursor of the next page; None where both lists end."""
    if len(tools) <= limit and len(events) <= limit:
        return None
    tool = tools[limit - 1] if len(tools) > limit else _END[0]
    event = events[limit - 1].position.number if len(events) > limit else _END[1]
    return write_cursor((page.start, page.end, tool, event))
