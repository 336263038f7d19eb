"""Pages of the rule lab: rulebooks to write, try, adopt and roll back, and the results of trials."""

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
from projections.adoptions import (
    Adoption,
    AdoptionStep,
    read_adoptions,
    rulebook_in_force,
    scheduled_adoptions,
)
from projections.engine.snapshot import Freshness, take_snapshot
from projections.rulebooks import KnownRulebook, read_rulebooks
from projections.trials import jobs
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
from services.api.site.rendering import PRIVATE, Page, render_page
from services.api.views.cards import read_cards
from services.api.views.trial_comparisons import COMPARED_MAX, parse_trial_ids, read_trial_comparison
from services.api.views.trial_summaries import TrialSummary, summarize_trials
from services.api.views.trials import TrialResults, read_trial_results

LABELS: tuple[Label, ...] = ("Ship", "Split", "Skip", "Unreviewed")
_ROWS_MAX = 200  # per table; the rest is in the JSON
_RANK_MOVES_MAX = 20
_FLIPS_MAX = 1  # per tool: its newest


class Plots(Struct, frozen=True):
    """``crossed`` counts the tools by (label in force, label under the rulebook on trial)."""

    flips: Timeline | None
    moves: list[Dumbbell]
    votes: list[Row]
    takes: list[Row]
    crossed: Counter[tuple[Label, Label]]


class Desk(Struct, frozen=True):
    """The rulebooks, the one in force, all adoptions, and the trials.

    ``names`` and ``scheduled`` adoptions are by digest; ``side_by_side`` has the newest trial of each rulebook.
    """

    known: list[KnownRulebook]
    names: dict[str, str]
    in_force: Rulebook
    adoptions: list[Adoption]
    scheduled: dict[str, Adoption]
    can_roll_back: bool
    trials: list[TrialSummary]
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
    summary, stored_and_shown = await read_trial_results(pool, id, _FLIPS_MAX)
    disagreeing = (
        [each.tool for each in stored_and_shown[0].tools if each.panel_and_crowd_differ][:_ROWS_MAX]
        if stored_and_shown
        else []
    )
    async with take_snapshot(pool) as snapshot:
        in_force = await rulebook_in_force(snapshot)
        cards = await read_cards(snapshot, in_force, disagreeing)
        freshness = await snapshot.freshness()
    results, plots = (stored_and_shown[1], _plots(*stored_and_shown)) if stored_and_shown else (None, None)
    return await _open(
        request,
        "trial.html",
        freshness,
        in_force=in_force,
        cards={card.slug: card for card in cards.values()},
        trial=summary,
        results=results,
        plots=plots,
        labels=LABELS,
        rows_max=_ROWS_MAX,
        half=HALF,
    )


@get("/editor/lab/compare", guards=[open_to_all], include_in_schema=False)
async def side_by_side(
    request: AnyRequest, ids: Annotated[str, QueryParameter(max_length=COMPARED_MAX * 40)]
) -> Page:
    if not await _is_editor(request):
        return await _closed(request)
    comparison = await read_trial_comparison(app_state(request).pool, parse_trial_ids(ids))
    return await _open(request, "trials.html", None, compared=comparison, rows_max=_ROWS_MAX)


LAB_PAGES = [lab, trial, side_by_side]


async def _is_editor(request: AnyRequest) -> bool:
    login = await login_of(request)
    return login is not None and login.role == "editor"


async def _closed(request: AnyRequest) -> Page:
    return render_page(request, "lab_closed.html", cache=PRIVATE, login=await login_of(request))


async def _open(request: AnyRequest, template: str, freshness: Freshness | None, **context: object) -> Page:
    return render_page(request, template, freshness, cache=PRIVATE, login=await login_of(request), **context)


async def _read_desk(pool: Pool[Record]) -> Desk:
    summaries = await summarize_trials(pool, await jobs.read_trials(pool))
    async with take_snapshot(pool) as snapshot:
        known, adoptions = await read_rulebooks(snapshot), await read_adoptions(snapshot)
        return Desk(
            known=known,
            names={each.rulebook.digest: each.rulebook.title or each.rulebook.name for each in known},
            in_force=await rulebook_in_force(snapshot),
            adoptions=adoptions,
            scheduled=scheduled_adoptions(adoptions),
            can_roll_back=_count(adoptions, "adopted") > _count(adoptions, "rolled-back"),
            trials=summaries,
            side_by_side=_newest_of_each(summaries),
            freshness=await snapshot.freshness(),
        )


def _count(adoptions: Sequence[Adoption], step: AdoptionStep) -> int:
    return sum(each.step == step for each in adoptions)


def _newest_of_each(trials: Sequence[TrialSummary]) -> list[UUID]:
    """The newest finished trial of each rulebook."""
    newest: dict[str, UUID] = {}
    for each in trials:
        if each.state == "done":
            newest.setdefault(each.rulebook.digest, each.id)
    return list(newest.values())[:COMPARED_MAX]


def _plots(trial: Trial, results: TrialResults) -> Plots:
    margins = results.margins
    in_force, tried = [each.in_force.margin for each in margins], [each.tried.margin for each in margins]
    return Plots(
        timeline(
            [flip.order.recorded_at for each in trial.tools for flip in each.tried.flips],
            [flip.order.recorded_at for each in trial.tools for flip in each.in_force.flips],
        ),
        dumbbells(results.rank_moves[:_RANK_MOVES_MAX], len(trial.tools)),
        votes_distribution([each.votes for each in in_force], [each.votes for each in tried]),
        takes_distribution([each.takes for each in in_force], [each.takes for each in tried]),
        Counter((each.in_force.label, each.tried.label) for each in margins),
    )
