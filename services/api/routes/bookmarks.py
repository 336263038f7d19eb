"""Bookmarks: the private shelf of one person. Notes and tags are never written to the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from litestar import Response, delete, get, put
from msgspec import Struct

from domain.events.editorial import Category
from domain.rulebooks.rulebook import Label
from domain.shared.log import shard_of
from domain.timeline.flips import LogOrder
from domain.voting.bookmarks import SAVED, Note
from projections.adoptions import rulebook_in_force
from projections.engine.snapshot import take_snapshot
from projections.flips.reads import FlipDetails, flips_at_one_moment, flips_since, labels_at
from projections.shelf import ShelfEntry, delete_note, put_note, read_shelf
from services.api.http.app_state import app_state
from services.api.http.auth import Voter, open_to_all, reader_of, voter_of, with_own_credentials
from services.api.http.caching import NO_STORE, PRIVATE_NO_STORE
from services.api.http.documented import OWN_THINGS, reads_body
from services.api.http.json_body import check_json_type, decode
from services.api.http.overload.rate_limiter import Headers
from services.api.http.pagination import Items, SlugInPath
from services.api.http.problems import problem_responses
from services.api.http.rate_limits import admit_voter
from services.api.http.requests import AnyRequest
from services.api.routes.votes import VoterInQuery, submit
from services.api.views.cards import Card, read_cards
from services.api.views.flips import FlipResponse, present_flip

T = TypeVar("T")
_FLIPS_MAX = 20  # per bookmark


class BookmarkResult(Struct, frozen=True):
    outcome: str
    position: str


class BookmarkedTool(Struct, frozen=True):
    slug: str
    name: str
    category: Category
    verdict_label: Label


class Bookmark(Struct, frozen=True):
    tool: BookmarkedTool
    saved_at: datetime
    note: str
    tags: list[str]
    position: str


class BookmarkChange(Struct, frozen=True):
    """``before`` is the verdict when the tool was saved, ``after`` the newest; ``flips`` are newest first, at most 20."""

    tool: BookmarkedTool
    saved_at: datetime
    before: Label
    after: Label
    flips: list[FlipResponse]


@put(
    "/v1/me/bookmarks/{tool:str}",
    status_code=200,
    guards=[with_own_credentials],
    responses=problem_responses(401, 403, 404, 413, 415, 429),
    opt=reads_body({"application/json": Note}, required=False),
    request_max_body_size=64 * 1024,
)
async def save_bookmark(
    request: AnyRequest, tool: SlugInPath, voter: VoterInQuery = None
) -> Response[BookmarkResult]:
    """Put a tool on the shelf, with an optional body {"note": ..., "tags": [...]}."""
    note = await _note(request)
    person = await voter_of(request, voter)
    limits = await admit_voter(request, person)
    number = (await app_state(request).tool_directory.find(tool)).tool
    result = await submit(request, person, "b", number, SAVED, None)
    if note is not None:
        shard = shard_of(person.actor, app_state(request).shards)
        await put_note(app_state(request).pool, shard, person.actor, number, note.note, note.tags)
    outcome = "saved" if result.outcome == "counted" else "unchanged"
    return _answer(person, BookmarkResult(outcome, str(result.position)), limits)


@delete(
    "/v1/me/bookmarks/{tool:str}",
    status_code=200,
    guards=[with_own_credentials],
    responses=problem_responses(401, 403, 404, 429),
)
async def drop_bookmark(
    request: AnyRequest, tool: SlugInPath, voter: VoterInQuery = None
) -> Response[BookmarkResult]:
    """Remove a tool from the shelf, with its note."""
    person = await voter_of(request, voter)
    limits = await admit_voter(request, person)
    number = (await app_state(request).tool_directory.find(tool)).tool
    result = await submit(request, person, "b", number, None, None)
    await delete_note(
        app_state(request).pool, shard_of(person.actor, app_state(request).shards), person.actor, number
    )
    outcome = "dropped" if result.outcome == "counted" else "unchanged"
    return _answer(person, BookmarkResult(outcome, str(result.position)), limits)


@get("/v1/me/bookmarks", guards=[open_to_all], security=OWN_THINGS, responses=problem_responses(401, 403))
async def own_bookmarks(request: AnyRequest, voter: VoterInQuery = None) -> Response[Items[Bookmark]]:
    """The visitor's shelf, newest first; with an API key that has the scope votes:write or read, that of its ``voter``."""
    reader = await reader_of(request, voter)
    if reader is None:
        return _private([], None)
    actor = reader.actor
    shelf = await read_shelf(app_state(request).pool, shard_of(actor, app_state(request).shards), actor)
    async with take_snapshot(app_state(request).pool) as snapshot:
        rulebook = await rulebook_in_force(snapshot)
        cards = await read_cards(snapshot, rulebook, [saved.tool for saved in shelf])
    return _private(
        [
            Bookmark(_tool(cards[saved.tool]), saved.saved_at, saved.note, saved.tags, str(saved.position))
            for saved in shelf
            if saved.tool in cards
        ],
        reader,
    )


@get(
    "/v1/me/bookmarks/changes",
    guards=[open_to_all],
    security=OWN_THINGS,
    responses=problem_responses(401, 403),
)
async def bookmark_changes(
    request: AnyRequest, voter: VoterInQuery = None
) -> Response[Items[BookmarkChange]]:
    """The bookmarks whose verdicts flipped since they were saved, the newest flip first, each with its cause."""
    reader = await reader_of(request, voter)
    if reader is None:
        return _private(list[BookmarkChange](), None)
    actor = reader.actor
    shelf = await read_shelf(app_state(request).pool, shard_of(actor, app_state(request).shards), actor)
    places = {each.tool: LogOrder(each.saved_at, each.position.shard, each.position.number) for each in shelf}
    async with flips_at_one_moment(app_state(request).pool) as (conn, _):
        flips = await flips_since(conn, places, _FLIPS_MAX)
        labels = await labels_at(conn, {tool: places[tool] for tool in flips})
    async with take_snapshot(app_state(request).pool) as snapshot:
        cards = await read_cards(snapshot, await rulebook_in_force(snapshot), list(flips))
    return _private(
        [
            _change(saved, cards[saved.tool], labels.get(saved.tool, "Unreviewed"), flips[saved.tool])
            for saved in _newest_first(shelf, flips)
            if saved.tool in cards
        ],
        reader,
    )


def _newest_first(
    shelf: Sequence[ShelfEntry], flips: Mapping[int, Sequence[FlipDetails]]
) -> list[ShelfEntry]:
    flipped = [saved for saved in shelf if saved.tool in flips]
    return sorted(flipped, key=lambda saved: flips[saved.tool][0].flip.order, reverse=True)


def _change(saved: ShelfEntry, card: Card, before: Label, flips: Sequence[FlipDetails]) -> BookmarkChange:
    items = [present_flip(each) for each in flips]
    return BookmarkChange(_tool(card), saved.saved_at, before, items[0].after, items)


async def _note(request: AnyRequest) -> Note | None:
    body = await request.body()
    if not body:
        return None
    check_json_type(request.headers.get("content-type", ""))
    return decode(body, Note)


def _tool(card: Card) -> BookmarkedTool:
    return BookmarkedTool(card.slug, card.name, card.category, card.verdict.label)


def _answer(person: Voter, answer: BookmarkResult, limits: Headers) -> Response[BookmarkResult]:
    return Response(answer, cookies=person.cookies, headers={**NO_STORE, **limits})


def _private(items: list[T], reader: Voter | None) -> Response[Items[T]]:
    return Response(Items(items), cookies=reader.cookies if reader else None, headers=PRIVATE_NO_STORE)
