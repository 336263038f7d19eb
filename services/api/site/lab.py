"""The rule lab's pages: rulebooks to write, try, adopt and roll back, and what each trial found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from asyncpg import Pool, Record
from litestar import get
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from domain.rulebooks.rulebook import Label, Rulebook
from domain.rulebooks.toml import write_rulebook
from domain.timeline.trials import Trial
from projections.adoptions import Adoption, Step, read_adoptions, rulebook_in_force, scheduled
from projections.engine.snapshot import Freshness, take_snapshot
from projections.rulebooks import Known, read_rulebooks
from projections.trials import jobs as trials
from services.api.http.app_state import app_state
from services.api.http.auth import login_of, open_to_all
from services.api.http.requests import AnyRequest
from services.api.site.plots import (
    HALF,
    Dumbbell,
    Row,
    Timeline,
    dumbbells,
    takes_distribution,
    timeline,
    votes_distribution,
)
from services.api.site.rendering import Page, render_page
from services.api.views.cards import read_cards
from services.api.views.trial_summaries import (
    COMPARED_MAX,
    TrialLine,
    ids_in,
    read_found,
    read_side_by_side,
    show_lines,
)
from services.api.views.trials import Results

LABELS: tuple[Label, ...] = ("Ship", "Split", "Skip", "Unreviewed")
_ROWS_MAX = 200  # of a table; the rest is in the JSON
_RANK_MOVES_MAX = 20
_FLIPS = 1  # of each tool: the last
_PRIVATE = "private, no-store"


class Plots(Struct, frozen=True):
    """``crossed``: how many tools have the one label and would have the other."""

    flips: Timeline | None
    moves: list[Dumbbell]
    votes: list[Row]
    takes: list[Row]
    crossed: Counter[tuple[Label, Label]]


class Desk(Struct, frozen=True):
    """Rulebooks, which is in force, how it came to that, and the trials; ``side_by_side`` are the newest of each.

    ``names``, and what is ``scheduled``, by digest.
    """

    known: list[Known]
    names: dict[str, str]
    in_force: Rulebook
    adoptions: list[Adoption]
    scheduled: dict[str, Adoption]
    can_roll_back: bool
    trials: list[TrialLine]
    side_by_side: list[UUID]
    freshness: Freshness


@get("/editor/lab", guards=[open_to_all], include_in_schema=False)
async def lab(request: AnyRequest) -> Page:
    if not await _is_editor(request):
        return await _closed(request)
    desk = await _read_desk(app_state(request).pool)
    texts = {each.rulebook.digest: write_rulebook(each.rulebook) for each in desk.known}
    return await _open(request, "lab.html", desk.freshness, desk=desk, texts=texts)


@get("/editor/lab/trials/{id:uuid}", guards=[open_to_all], include_in_schema=False)
async def trial(request: AnyRequest, id: FromPath[UUID]) -> Page:
    if not await _is_editor(request):
        return await _closed(request)
    pool = app_state(request).pool
    line, found = await read_found(pool, id, _FLIPS)
    disagreeing = [each.tool for each in found[0].tools if each.disagree][:_ROWS_MAX] if found else []
    async with take_snapshot(pool) as snapshot:
        in_force = await rulebook_in_force(snapshot)
        cards = await read_cards(snapshot, in_force, disagreeing)
        freshness = await snapshot.freshness()
    results, plots = (found[1], _plots(*found)) if found else (None, None)
    by_slug = {card.slug: card for card in cards.values()}
    shown = {
        "trial": line,
        "results": results,
        "plots": plots,
        "labels": LABELS,
        "most": _ROWS_MAX,
        "half": HALF,
    }
    return await _open(request, "trial.html", freshness, in_force=in_force, cards=by_slug, **shown)


@get("/editor/lab/compare", guards=[open_to_all], include_in_schema=False)
async def side_by_side(
    request: AnyRequest, ids: Annotated[str, QueryParameter(max_length=COMPARED_MAX * 40)]
) -> Page:
    if not await _is_editor(request):
        return await _closed(request)
    found = await read_side_by_side(app_state(request).pool, ids_in(ids))
    return await _open(request, "trials.html", None, compared=found, most=_ROWS_MAX)


LAB_PAGES = [lab, trial, side_by_side]


async def _is_editor(request: AnyRequest) -> bool:
    login = await login_of(request)
    return login is not None and login.role == "editor"


async def _closed(request: AnyRequest) -> Page:
    return render_page("lab_closed.html", cache=_PRIVATE, login=await login_of(request))


async def _open(request: AnyRequest, template: str, freshness: Freshness | None, **context: object) -> Page:
    return render_page(template, freshness, cache=_PRIVATE, login=await login_of(request), **context)


async def _read_desk(pool: Pool[Record]) -> Desk:
    lines = await show_lines(pool, await trials.read_trials(pool))
    async with take_snapshot(pool) as snapshot:
        known, steps = await read_rulebooks(snapshot), await read_adoptions(snapshot)
        return Desk(
            known=known,
            names={each.rulebook.digest: each.rulebook.title or each.rulebook.name for each in known},
            in_force=await rulebook_in_force(snapshot),
            adoptions=steps,
            scheduled=scheduled(steps),
            can_roll_back=_count(steps, "adopted") > _count(steps, "rolled-back"),
            trials=lines,
            side_by_side=_newest(lines),
            freshness=await snapshot.freshness(),
        )


def _count(steps: Sequence[Adoption], step: Step) -> int:
    return sum(each.step == step for each in steps)


def _newest(lines: Sequence[TrialLine]) -> list[UUID]:
    """The newest trial that is done of each rulebook."""
    newest: dict[str, UUID] = {}
    for line in lines:
        if line.state == "done":
            newest.setdefault(line.rulebook.digest, line.id)
    return list(newest.values())[:COMPARED_MAX]


def _plots(trial: Trial, results: Results) -> Plots:
    margins = results.margins
    was, would = [each.in_force.margin for each in margins], [each.tried.margin for each in margins]
    return Plots(
        timeline(
            [flip.place.recorded_at for each in trial.tools for flip in each.tried.flips],
            [flip.place.recorded_at for each in trial.tools for flip in each.in_force.flips],
        ),
        dumbbells(results.rank_moves[:_RANK_MOVES_MAX], len(trial.tools)),
        votes_distribution([each.votes for each in was], [each.votes for each in would]),
        takes_distribution([each.takes for each in was], [each.takes for each in would]),
        Counter((each.in_force.label, each.tried.label) for each in margins),
    )
