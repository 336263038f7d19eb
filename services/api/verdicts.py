"""Verdicts: the outcome for a tool under a rulebook, with what decided it and what it rests on."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.params import QueryParameter

from domain.refusals import Unknown
from domain.rulebooks import DEFAULT
from services.api.access import open_to_all
from services.api.cards import VerdictShown, not_shown_yet, read_cards
from services.api.freshness import MinPosition, headers_of, snapshot_at
from services.api.lists import SlugInPath
from services.api.parts import AnyRequest, parts
from services.api.problems import may_answer


@get("/v1/tools/{slug:str}/verdict", guards=[open_to_all], responses=may_answer(404))
async def tool_verdict(
    request: AnyRequest,
    slug: SlugInPath,
    rulebook: Annotated[str | None, QueryParameter(max_length=100, required=False)] = None,
    min_position: MinPosition = None,
) -> Response[VerdictShown]:
    """The verdict now. ``rulebook`` names another rulebook by its digest."""
    if rulebook not in (None, DEFAULT.digest):
        raise Unknown(kind="rulebook", name=rulebook)
    tool = (await parts(request).names.find(slug)).tool
    async with snapshot_at(parts(request).pool, min_position) as snapshot:
        cards = await read_cards(snapshot, DEFAULT, [tool])
        freshness = await snapshot.freshness()
    if tool not in cards:
        raise not_shown_yet(slug)
    return Response(cards[tool].verdict, headers=headers_of(freshness))
