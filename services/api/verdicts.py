"""Verdicts: the outcome for a tool under a rulebook, with what decided it and what it rests on."""

from __future__ import annotations

from typing import Annotated

from litestar import Response, get
from litestar.params import QueryParameter

from services.api.access import open_to_all
from services.api.cards import VerdictShown
from services.api.freshness import AsOf, MinPosition, headers_of
from services.api.lists import SlugInPath
from services.api.parts import AnyRequest
from services.api.problems import may_answer
from services.api.tools import read_card


@get("/v1/tools/{slug:str}/verdict", guards=[open_to_all], responses=may_answer(404))
async def tool_verdict(
    request: AnyRequest,
    slug: SlugInPath,
    rulebook: Annotated[str | None, QueryParameter(max_length=100, required=False)] = None,
    as_of: AsOf = None,
    min_position: MinPosition = None,
) -> Response[VerdictShown]:
    """The verdict now, or as of a moment. ``rulebook`` names another than the one in force, by its digest or name."""
    card, freshness = await read_card(request, slug, min_position, as_of, by=rulebook)
    return Response(card.verdict, headers=headers_of(freshness))
