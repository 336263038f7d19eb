"""The app: its routes, the layers around the framework, and its lifespan."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from litestar import Litestar, Response
from litestar.exceptions import ValidationException
from litestar.openapi.spec import License
from litestar.types import ControllerRouterHandler

from services.api.http.answers.allowed_methods import AllowedMethods
from services.api.http.answers.conditional import answer_conditionally
from services.api.http.answers.headers import complete_headers
from services.api.http.app_state import set_app_state
from services.api.http.caching import NOSNIFF
from services.api.http.metrics import http_metrics
from services.api.http.overload.admission import AdmissionControl, bound_requests, limit_in_flight
from services.api.http.parameters import check_query, explain_invalid
from services.api.http.problems import problem_of, render
from services.api.http.public_address import LocatedRequests
from services.api.http.request_framing import reject_malformed
from services.api.http.requests import AnyRequest
from services.api.http.shutdown import STOP_SIGNALS, Shutdown
from services.api.openapi.document import DocumentConfig, RouteCollector
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
from services.api.routes.people import accounts, reviewers
from services.api.site.assets import static_file
from services.api.site.desk import DESK_PAGES
from services.api.site.lab import LAB_PAGES
from services.api.site.list_pages import LIST_PAGES
from services.api.site.pages import PAGES
from services.api.site.reference import DocumentJson, ReferencePage, schema_router
from services.api.site.rendering import render_problem_page
from services.api.startup import open_app_state
from services.logs import configure_logs
from services.settings import Settings, from_environment

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
    tools.list_categories,
    reviewers.list_reviewers,
    reviewers.show_reviewer,
    reviewers.put_reviewer,
    reviewers.retire_reviewer,
    reviewers.restore_reviewer,
    reviewers.order_panel,
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
    accounts.own_sessions,
    accounts.end_session,
    accounts.end_other_sessions,
    accounts.change_password,
    health.healthz,
    health.readyz,
    metrics.metrics,
    *LIST_PAGES,
    *PAGES,
    *DESK_PAGES,
    *LAB_PAGES,
    static_file,
]

DESCRIPTION = """Ship or skip? Votes, takes and bookmarks on tools, and the verdicts folded from them.

A log position is written `shard.position`. Answers built from read models carry `Shiplog-Position` and
`Shiplog-Lag-Ms`; `min_position` waits for a write you have seen acknowledged. `Shiplog-Incomplete: 2` says that two
events are missing in the answer, because a read model could not fold them."""

_BODY_BYTES_MAX = 64 * 1024


def create_app(settings: Settings | None = None, *, stop_signals: Sequence[signal.Signals] = ()) -> Litestar:
    """The ASGI app. Without settings, they are read from the environment. ``stop_signals`` end its requests."""
    configure_logs()
    settings = settings or from_environment(os.environ)
    admission = AdmissionControl(settings.connections, bulk.PATH, settings.trusted_proxies)
    collector = RouteCollector()
    shutdown = Shutdown(stop_signals)
    app = Litestar(
        route_handlers=ROUTES,
        lifespan=[partial(_lifespan, settings, admission, shutdown)],
        middleware=[http_metrics.middleware],
        exception_handlers={Exception: _answer_problem},
        response_headers=NOSNIFF,
        before_request=check_query,
        plugins=[collector, AllowedMethods()],
        openapi_config=DocumentConfig(
            title="Shiplog",
            version="1.0.0",
            description=DESCRIPTION,
            license=License(name="Apache 2.0", identifier="Apache-2.0"),
            render_plugins=[ReferencePage(), DocumentJson()],
            openapi_router=schema_router(),
            use_handler_docstrings=True,
            collector=collector,
        ),
        request_max_body_size=_BODY_BYTES_MAX,
        # problems.py answers and logs each error, once.
        logging_config=None,
    )
    framework = limit_in_flight(reject_malformed(answer_conditionally(app.asgi_handler)), admission)
    app.asgi_handler = shutdown.track(bound_requests(complete_headers(framework, app), admission))
    return app


def create_server() -> Litestar:
    """The app for a process that serves nothing else. Tunes the garbage collector of the process.

    All objects created so far live as long as the process, so they are frozen; and reference counting frees what a
    request allocates, so collections are rarer. They took two fifths of a vote's time.
    """
    app = create_app(stop_signals=STOP_SIGNALS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    return app


@asynccontextmanager
async def _lifespan(
    settings: Settings, admission: AdmissionControl, shutdown: Shutdown, app: Litestar
) -> AsyncIterator[None]:
    """Between startup and shutdown, plain votes take the fast path."""
    router = app.asgi_handler
    with shutdown.at_signals():
        async with open_app_state(settings) as app_state:
            set_app_state(app, app_state)
            app.asgi_handler = LocatedRequests(VoteFastPath(app_state, router, admission), settings)
            watching = asyncio.create_task(admission.watch(), name="admission")
            try:
                with shutdown.serving(app_state.broadcast.end_streams):
                    yield
            finally:
                watching.cancel()
                app.asgi_handler = router


def _answer_problem(request: AnyRequest, error: Exception) -> Response[bytes] | Response[str]:
    """Problem details under /v1 and for programs; a page for browsers elsewhere."""
    rejected = (
        explain_invalid(request, error) if isinstance(error, ValidationException) else problem_of(error)
    )
    for_people = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/")
    return render_problem_page(request, rejected) if for_people else render(rejected)
