"""The app: what it is made of, and the one place where that is put together."""

from __future__ import annotations

import asyncio
import gc
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any

from asyncpg import InterfaceError, PostgresError
from litestar import Litestar, Response
from litestar.openapi import OpenAPIConfig
from litestar.types import ControllerRouterHandler

from domain.shared.log import Shard
from domain.voting.votes import Outcome
from eventstore.appender import Appenders
from eventstore.casts import CastResult
from eventstore.heads import count_shards
from eventstore.tool_directory import ToolDirectory
from services.api.http.admission import AdmissionControl, bound_requests, limit_in_flight
from services.api.http.app_state import BulkSlots
from services.api.http.broadcast import Broadcast
from services.api.http.conditional import answer_conditionally
from services.api.http.metrics import http_metrics, observe_group
from services.api.http.problems import HttpRejected, problem_of, render
from services.api.http.rate_limiter import RateLimiter
from services.api.http.request_framing import refuse_ambiguous
from services.api.http.requests import AnyRequest
from services.api.routes import (
    bookmarks,
    bulk,
    comparisons,
    diff,
    feeds,
    flips,
    health,
    metrics,
    replays,
    rulebooks,
    session,
    takes,
    tallies,
    tally_stream,
    tools,
    trials,
    verdicts,
    votes,
    webhooks,
)
from services.api.routes.fast_path import VoteFastPath
from services.api.site.lab import LAB_PAGES
from services.api.site.pages import PAGES
from services.api.site.rendering import OPENAPI_RENDER, STATIC, render_problem_page
from services.api.views.tallies import read_tallies_by_slug
from services.auth.identity import Identity
from services.ingest.bulk import BulkCommits, BulkIngest
from services.logs import configure_logs
from services.resources import open_pool
from services.settings import Settings, from_environment
from services.wakeups import Wakeups
from services.webhooks.secrets import WebhookSecrets

ROUTES: list[ControllerRouterHandler] = [
    votes.cast_vote,
    votes.retract_vote,
    votes.own_votes,
    bulk.cast_votes,
    bookmarks.save_bookmark,
    bookmarks.drop_bookmark,
    bookmarks.own_bookmarks,
    bookmarks.bookmark_changes,
    tools.list_tools,
    tools.show_tool,
    tools.put_tool,
    tools.retire_tool,
    takes.put_take,
    takes.withdraw_take,
    takes.take_history,
    tallies.tool_tally,
    tallies.many_tallies,
    tallies.tool_history,
    tally_stream.stream_tallies,
    verdicts.tool_verdict,
    flips.list_flips,
    feeds.atom_feed,
    feeds.json_feed,
    verdicts.verdict_proof,
    verdicts.verifier,
    comparisons.show_comparison,
    rulebooks.put_rulebook,
    rulebooks.list_rulebooks,
    rulebooks.list_adoptions,
    rulebooks.show_rulebook,
    rulebooks.adopt_rulebook,
    rulebooks.call_off_adoption,
    rulebooks.roll_back_adoption,
    replays.ask_replay,
    replays.list_replays,
    replays.show_replay,
    replays.pause_replay,
    replays.resume_replay,
    replays.cancel_replay,
    replays.cut_over_replay,
    replays.roll_back_replay,
    replays.verify,
    replays.show_drift,
    trials.ask_trial,
    trials.list_trials,
    trials.show_trial,
    trials.cancel_trial,
    trials.compare_trials,
    diff.show_diff,
    webhooks.open_webhook,
    webhooks.list_webhooks,
    webhooks.show_webhook,
    webhooks.remove_webhook,
    webhooks.rotate_secret,
    webhooks.enable_webhook,
    webhooks.ping_webhook,
    webhooks.list_deliveries,
    webhooks.redeliver,
    session.log_in,
    session.show_session,
    session.log_out,
    health.healthz,
    health.readyz,
    metrics.metrics,
    *PAGES,
    *LAB_PAGES,
    STATIC,
]

DESCRIPTION = """Ship or skip? Votes, takes and bookmarks on tools, and the verdicts folded from them.

A log position is written `shard.position`. Answers built from read models carry `Shiplog-Position` and
`Shiplog-Lag-Ms`; `min_position` waits for a write you have seen acknowledged. `Shiplog-Incomplete: 2` says that two
events are missing in the answer, because a read model could not fold them."""

_BODY_BYTES_MAX = 64 * 1024
# Of one process: bulk requests in hand, and their commits in flight. Single votes have the rest of the pool.
BULK_SENDERS = 8
BULK_COMMITS = 3
_PARAMETERS_MAX = 50
_NAMES_SECONDS = 0.5
_Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


class Shiplog(Litestar):
    """The app, and before it the short way of votes, which most requests at volume take."""

    def use_fast_path(self, admission: AdmissionControl) -> None:
        self._fast_path = VoteFastPath(self, bound_requests(super().__call__, admission), admission)

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:  # type: ignore[override]
        return self._fast_path(scope, receive, send)


def create_app(settings: Settings | None = None) -> Litestar:
    """The ASGI app. Without settings, the environment's."""
    configure_logs()
    settings = settings or from_environment(os.environ)
    admission = AdmissionControl(settings.connections, bulk.PATH)
    app = Shiplog(
        route_handlers=ROUTES,
        lifespan=[_lifespan(settings, admission)],
        middleware=[http_metrics.middleware],
        exception_handlers={Exception: _answer_problem},
        before_request=_refuse_repeated_parameters,
        openapi_config=OpenAPIConfig(
            title="Shiplog",
            version="1.0.0",
            description=DESCRIPTION,
            render_plugins=[OPENAPI_RENDER],
            use_handler_docstrings=True,
        ),
        request_max_body_size=_BODY_BYTES_MAX,
        # An error is answered and logged by problems.py, once.
        logging_config=None,
    )
    app.asgi_handler = limit_in_flight(refuse_ambiguous(answer_conditionally(app.asgi_handler)), admission)
    app.use_fast_path(admission)
    return app


def create_server() -> Litestar:
    """The app as a process of its own.

    What it is made of lives as long as the process, so the collector is told to leave it alone and to look less
    often: a request's objects die by their counts. Walking them all cost two fifths of a vote's time.
    """
    app = create_app()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    return app


def _lifespan(settings: Settings, admission: AdmissionControl) -> _Lifespan:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        pool, wakeups = await open_pool(settings), Wakeups(settings.redis_url)
        shards, tool_directory = await count_shards(pool), ToolDirectory(pool)
        identity, rate_limiter = Identity(settings, pool), await RateLimiter(settings).open()

        on_committed, on_appended = _wake_by(wakeups)

        def open_bulk_ingest(source: str) -> BulkIngest:
            return BulkIngest(commits, tool_directory, identity, source=source, group=settings.bulk_group)

        commits = BulkCommits(pool, shards, BULK_COMMITS, on_committed)
        appenders = Appenders(pool, shards, on_appended, queue=settings.queue_per_shard, group=settings.group)
        streams = Broadcast(partial(read_tallies_by_slug, pool), wakeups, settings.connections // 2)
        app.state.update(
            pool=pool,
            shards=shards,
            tool_directory=tool_directory,
            identity=identity,
            wakeups=wakeups,
            appenders=appenders,
            broadcast=streams,
            rate_limiter=rate_limiter,
            bulk_slots=BulkSlots(BULK_SENDERS),
            open_bulk_ingest=open_bulk_ingest,
            webhook_secrets=WebhookSecrets(settings),
            webhook_networks=settings.webhook_networks,
        )
        going_on = [asyncio.create_task(_keep_fresh(tool_directory)), asyncio.create_task(admission.watch())]
        try:
            yield
        finally:
            for task in going_on:
                task.cancel()
            for part in (streams, appenders, wakeups, rate_limiter, pool):
                await part.close()

    return lifespan


def _wake_by(
    wakeups: Wakeups,
) -> tuple[Callable[[Shard, Counter[Outcome]], None], Callable[[Shard, Sequence[CastResult]], None]]:
    """What follows on a commit of lines, and on one of a group."""

    def on_committed(shard: Shard, outcomes: Counter[Outcome]) -> None:
        wakeups.wake(shard)
        observe_group(outcomes)

    def on_appended(shard: Shard, results: Sequence[CastResult]) -> None:
        on_committed(shard, Counter(answer.outcome for answer in results))

    return on_committed, on_appended


async def _keep_fresh(tool_directory: ToolDirectory) -> None:
    """A tool retired through another process stops taking votes here within half a second."""
    while True:
        await asyncio.sleep(_NAMES_SECONDS)
        with suppress(PostgresError, InterfaceError, OSError, TimeoutError):  # a request will say it
            await tool_directory.refresh()


async def _refuse_repeated_parameters(request: AnyRequest) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    if len(names) > _PARAMETERS_MAX:
        raise HttpRejected(
            400, "invalid", f"There are {len(names)} query parameters; no address here takes so many."
        )
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise HttpRejected(
            400, "invalid", f"The query parameter {min(repeated)[:60]!r} stands there more than once."
        )


def _answer_problem(request: AnyRequest, error: Exception) -> Response[bytes] | Response[str]:
    """Problem details for programs, a page for people."""
    rejected = problem_of(error)
    for_people = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
    return render_problem_page(request, rejected) if for_people else render(rejected)
