"""The editors' desk: for an editor the panel, the catalogue and all takes; for a reviewer their own takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from litestar import get
from msgspec import Struct

from projections.adoptions import rulebook_in_force
from projections.catalogue import CatalogueEntry, read_entries
from projections.engine.snapshot import Snapshot
from projections.panel import Reviewer, read_panel, seated
from projections.scorecard import ScorecardTake, read_takes
from services.api.http.app_state import app_state
from services.api.http.auth import login_of, open_to_all, session_token
from services.api.http.consistency import MinPosition, snapshot_at
from services.api.http.requests import AnyRequest
from services.api.site.rendering import PRIVATE, Page, render_page
from services.api.views.cards import READ_BY_CARDS, read_cards
from services.api.views.first_run import FirstRun, first_run
from services.auth.accounts import Session, read_sessions, session_id
from services.auth.identity import Login

_TAKES_MAX = 50
_NEW_TOOLS_MAX = 20  # an instance with more is past its first run, unless it has no takes


class StandingTake(Struct, frozen=True):
    take: ScorecardTake
    tool: CatalogueEntry
    reviewer: Reviewer


@get("/editor", guards=[open_to_all], include_in_schema=False)
async def editor(request: AnyRequest, min_position: MinPosition = None) -> Page:
    """Only the forms that the login may use; the API checks the login again."""
    login = await login_of(request)
    async with snapshot_at(app_state(request).pool, min_position, READ_BY_CARDS) as snapshot:
        panel = await read_panel(snapshot)
        entries = sorted(await read_entries(snapshot), key=lambda each: each.slug)
        listed = [each for each in entries if each.retired_at is None]
        takes = _standing(await read_takes(snapshot), entries, _own_reviewers(login, panel))
        first = await _first_run(snapshot, seated(panel), listed)
        freshness = await snapshot.freshness()
    return render_page(
        request,
        "editor.html",
        freshness,
        cache=PRIVATE,
        login=login,
        panel=panel,
        seated=seated(panel),
        reviewers=seated(_own_reviewers(login, panel)),
        categories=sorted({each.details.category.slug: each.details.category for each in entries}.items()),
        listed=listed,
        takes=takes[:_TAKES_MAX],
        more=len(takes) > _TAKES_MAX,
        first=first,
        # A page that began with the first steps reads itself again after each write, up to the last step.
        leads=not first.over or min_position is not None,
        sessions=await _sessions(request, login),
        current=session_id(app_state(request).identity.digest(await session_token(request))),
    )


DESK_PAGES = [editor]


def _own_reviewers(login: Login | None, panel: Sequence[Reviewer]) -> list[Reviewer]:
    """The reviewers whose takes the login may change: all for an editor, their own for a reviewer."""
    if login is None:
        return []
    return [each for each in panel if login.role == "editor" or each.slug == login.reviewer]


def _standing(
    takes: Sequence[ScorecardTake], entries: Sequence[CatalogueEntry], reviewers: Sequence[Reviewer]
) -> list[StandingTake]:
    """The takes of these reviewers, newest first."""
    tools: Mapping[int, CatalogueEntry] = {each.tool: each for each in entries}
    by_slug = {each.slug: each for each in reviewers}
    standing = [
        StandingTake(each, tools[each.tool], by_slug[each.reviewer])
        for each in takes
        if each.reviewer in by_slug and each.tool in tools
    ]
    return sorted(standing, key=lambda each: each.take.published_at, reverse=True)


async def _first_run(
    snapshot: Snapshot, panel: Sequence[Reviewer], listed: Sequence[CatalogueEntry]
) -> FirstRun:
    numbers = [each.tool for each in listed[:_NEW_TOOLS_MAX]]
    cards = await read_cards(snapshot, await rulebook_in_force(snapshot), numbers)
    return first_run(len(panel), len(listed), list(cards.values()))


async def _sessions(request: AnyRequest, login: Login | None) -> list[Session]:
    return [] if login is None else await read_sessions(app_state(request).pool, login.name)
