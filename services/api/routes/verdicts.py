"""Verdicts: the label of a tool under a rulebook, with the rule that decided it and its inputs; and proofs of verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from litestar import MediaType, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter

from domain.verdicts.proofs import Bundle
from projections.reads.verdict_inputs import VERDICT_READ_MODELS, VerdictInputs, read_verdict_inputs
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.consistency import AsOf, MinPosition, headers_of, snapshot_at
from services.api.http.pagination import SlugInPath
from services.api.http.problems import problem_responses
from services.api.http.requests import AnyRequest
from services.api.views.verdicts import VerdictResponse, present_verdict

VERIFIER = Path(__file__).parents[1] / "site/static/verify_verdict.py"

RulebookParameter = Annotated[str | None, QueryParameter(name="rulebook", max_length=100, required=False)]


@get("/v1/tools/{slug:str}/verdict", guards=[open_to_all], responses=problem_responses(404))
async def tool_verdict(
    request: AnyRequest,
    slug: SlugInPath,
    rulebook: RulebookParameter = None,
    as_of: AsOf = None,
    min_position: MinPosition = None,
) -> Response[VerdictResponse]:
    """The verdict now, or as of a moment; ``rulebook`` replaces the one in force, by its digest or name."""
    inputs = await _read_inputs(request, slug, rulebook, as_of, min_position)
    verdict = present_verdict(inputs.judge(), str(inputs.freshness))
    return Response(verdict, headers=headers_of(inputs.freshness))


@get(
    "/v1/tools/{slug:str}/verdict/proof",
    guards=[open_to_all],
    responses=problem_responses(404)
    | {200: ResponseSpec(Bundle, description="A bundle", generate_examples=False)},
)
async def verdict_proof(
    request: AnyRequest,
    slug: SlugInPath,
    rulebook: RulebookParameter = None,
    as_of: AsOf = None,
    min_position: MinPosition = None,
) -> Response[bytes]:
    """The verdict as a bundle, from which ``/static/verify_verdict.py`` computes it again on any machine.

    As of a position of every shard, the bytes are always the same.
    """
    inputs = await _read_inputs(request, slug, rulebook, as_of, min_position)
    return Response(inputs.prove(), media_type=MediaType.JSON, headers=headers_of(inputs.freshness))


async def _read_inputs(
    request: AnyRequest, slug: str, rulebook: str | None, as_of: str | None, min_position: str | None
) -> VerdictInputs:
    tool, pool = (await app_state(request).tool_directory.find(slug)).tool, app_state(request).pool
    async with snapshot_at(pool, min_position, VERDICT_READ_MODELS, as_of=as_of) as snapshot:
        return await read_verdict_inputs(snapshot, slug, tool, rulebook)


@get("/static/verify_verdict.py", guards=[open_to_all], include_in_schema=False, sync_to_thread=True)
def verifier() -> Response[bytes]:
    """The program that checks bundles, at a permanent address without a content digest."""
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(VERIFIER.read_bytes(), media_type="text/x-python", headers=headers)
