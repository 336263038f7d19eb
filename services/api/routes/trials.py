"""Trials: an editor tries a rulebook on the whole history, and reads what it would change before it changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from asyncpg import Pool, Record
from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter
from msgspec import Struct, structs

from domain.shared.errors import Refusal
from domain.timeline.trials import Trial
from projections.catalogue import Entry, read_entries
from projections.engine.snapshot import NotThereYet, take_snapshot
from projections.rulebooks import find_rulebook
from projections.trials import jobs as trials
from services.api.http.app_state import AnyRequest, parts
from services.api.http.auth import for_editors
from services.api.http.pagination import Items
from services.api.http.problems import Rejected, may_answer
from services.api.routes.rulebooks import RulebookInPath
from services.api.views.trial_summaries import TrialLine, show_lines
from services.api.views.trials import (
    ComparedTool,
    Disagreement,
    FlipNow,
    Margins,
    RankMove,
    Results,
    ToolFlips,
    compare,
    show_results,
    tools_of,
)

MOST_COMPARED = 8
_UNSEEN = {"Cache-Control": "no-store"}
_FLIPS = 20  # of each tool, unless more are asked for


class NotDone(Refusal):
    """The trial {id} is {state}. Compare trials that are done."""

    slug = "not-now"


class TrialShown(TrialLine, frozen=True):
    """What it found is null until it is done.

    ``flips_now``: verdicts that would be others now. ``flips``: had the rulebook always been in force, by tool.
    """

    flips_now: list[FlipNow] | None
    flips: list[ToolFlips] | None
    rank_moves: list[RankMove] | None
    margins: list[Margins] | None
    disagreements: list[Disagreement] | None


class SideBySide(Struct, frozen=True):
    """The cells of each tool are in the order of the trials."""

    trials: list[TrialLine]
    items: list[ComparedTool]


@post(
    "/v1/rulebooks/{digest:str}/trial",
    status_code=202,
    guards=[for_editors],
    responses=may_answer(401, 403, 404, 409),
)
async def ask_trial(request: AnyRequest, digest: RulebookInPath) -> Response[TrialLine]:
    """Try a known rulebook over the whole log. A worker does it; ask at Location how it gets on."""
    pool = parts(request).pool
    async with take_snapshot(pool) as snapshot:
        rulebook = await find_rulebook(snapshot, digest)
    begun = await trials.begin(pool, rulebook.digest)
    answer = await _answer(request, begun)
    answer.headers["Location"] = f"/v1/trials/{begun}"
    return answer


@get("/v1/trials", guards=[for_editors], responses=may_answer(401, 403))
async def list_trials(request: AnyRequest) -> Response[Items[TrialLine]]:
    """The last fifty, newest first, without what they found."""
    pool = parts(request).pool
    lines = await show_lines(pool, await trials.read_trials(pool))
    return Response(Items(lines), headers=_UNSEEN)


@get("/v1/trials/{id:uuid}", guards=[for_editors], responses=may_answer(401, 403, 404))
async def show_trial(
    request: AnyRequest,
    id: FromPath[UUID],
    flips: Annotated[
        int, QueryParameter(ge=0, le=100_000, description="At most so many of each tool")
    ] = _FLIPS,
) -> Response[TrialShown]:
    """Progress while it runs; then what it found."""
    line, found = await read_found(parts(request).pool, id, flips)
    return Response(_shown(line, found[1] if found else None), headers=_UNSEEN)


@post(
    "/v1/trials/{id:uuid}/cancel",
    status_code=200,
    guards=[for_editors],
    responses=may_answer(401, 403, 404, 409),
)
async def cancel_trial(request: AnyRequest, id: FromPath[UUID]) -> Response[TrialLine]:
    """Give it up. Nothing that anybody reads was touched."""
    await trials.cancel(parts(request).pool, id)
    return await _answer(request, id)


@get("/v1/trials/compare", guards=[for_editors], responses=may_answer(401, 403, 404, 409))
async def compare_trials(
    request: AnyRequest,
    ids: Annotated[str, QueryParameter(max_length=MOST_COMPARED * 40, description="Comma-separated")],
) -> Response[SideBySide]:
    """Several trials side by side: a row a tool, those that most of them would flip first."""
    found = await read_side_by_side(parts(request).pool, ids_in(ids))
    return Response(found, headers=_UNSEEN)


async def read_found(
    pool: Pool[Record], id: UUID, flips: int
) -> tuple[TrialLine, tuple[Trial, Results] | None]:
    """What it found, as it is and as it is shown; None until it is done."""
    run = await trials.read_trial(pool, id)
    (line,) = await show_lines(pool, [run])
    trial = (await trials.read_results(pool, [id])).get(id) if run.state == "done" else None
    return line, None if trial is None else (trial, show_results(trial, await _names(pool, [trial]), flips))


async def read_side_by_side(pool: Pool[Record], ids: Sequence[UUID]) -> SideBySide:
    """Raises Unknown, or NotDone."""
    runs = [await trials.read_trial(pool, each) for each in ids]
    for run in runs:
        if run.state != "done":
            raise NotDone(id=run.id, state=run.state)
    found = await trials.read_results(pool, ids)
    tried = [found[each] for each in ids]
    return SideBySide(await show_lines(pool, runs), compare(tried, await _names(pool, tried)))


def ids_in(text: str) -> list[UUID]:
    """The ids of ``a,b,c``, each once. Raises Rejected."""
    try:
        ids = [UUID(each) for each in dict.fromkeys(text.split(","))]
    except ValueError:
        raise Rejected(400, "invalid", "ids: write the ids of trials, comma-separated.") from None
    if len(ids) > MOST_COMPARED:
        raise Rejected(400, "invalid", f"ids: at most {MOST_COMPARED} trials at a time.")
    return ids


async def _answer(request: AnyRequest, id: UUID) -> Response[TrialLine]:
    pool = parts(request).pool
    (line,) = await show_lines(pool, [await trials.read_trial(pool, id)])
    return Response(line, headers=_UNSEEN)


async def _names(pool: Pool[Record], tried: Sequence[Trial]) -> dict[int, Entry]:
    """Raises NotThereYet where the log has a tool that the catalogue does not have yet."""
    async with take_snapshot(pool) as snapshot:
        names = {each.tool: each for each in await read_entries(snapshot, tools_of(tried))}
    if names.keys() < set(tools_of(tried)):
        raise NotThereYet
    return names


def _shown(line: TrialLine, results: Results | None) -> TrialShown:
    found = (None,) * len(Results.__struct_fields__) if results is None else structs.astuple(results)
    return TrialShown(*structs.astuple(line), *found)
