"""The app: what it is made of, and the one place where that is put together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from asyncpg import InterfaceError, PostgresError
from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.response import Response

from eventstore.appender import Appenders
from eventstore.heads import count_shards
from eventstore.names import Names
from services.api import bookmarks, comparisons, health, live, session, takes, tallies, tools, verdicts, votes
from services.api.access import open_to_all
from services.api.conditional import ConditionalReads
from services.api.live import Live
from services.api.problems import Rejected, handle
from services.identity import Identity
from services.logs import configure_logs
from services.resources import open_pool
from services.settings import Settings, from_environment
from services.signals import Signals

ROUTES = [
    votes.cast_vote,
    votes.retract_vote,
    votes.own_votes,
    bookmarks.save_bookmark,
    bookmarks.drop_bookmark,
    bookmarks.own_bookmarks,
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
    live.stream_tallies,
    verdicts.tool_verdict,
    comparisons.show_comparison,
    session.log_in,
    session.show_session,
    session.log_out,
    health.healthz,
    health.readyz,
]

_LARGEST_BODY = 64 * 1024
_NAMES_SECONDS = 0.5


class Metrics(PrometheusController):
    """Counts and times of every route, for Prometheus."""

    path = "/metrics"
    guards = (open_to_all,)
    include_in_schema = False
    openmetrics_format = True


def create_app(settings: Settings | None = None) -> Litestar:
    """The ASGI app. Without settings, the environment's."""
    configure_logs()
    return Litestar(
        route_handlers=[*ROUTES, Metrics],
        lifespan=[_lifespan(settings or from_environment(os.environ))],
        middleware=[PrometheusConfig(app_name="shiplog", group_path=True).middleware, ConditionalReads()],
        exception_handlers={Exception: handle},
        before_request=_refuse_repeated_parameters,
        openapi_config=OpenAPIConfig(title="Shiplog", version="1.0.0", description=DESCRIPTION),
        request_max_body_size=_LARGEST_BODY,
        # An error is answered and logged by problems.handle, once.
        logging_config=None,
    )


DESCRIPTION = """Ship or skip? Votes, takes and bookmarks on tools, and the verdicts folded from them.

A log position is written `shard.position`. Answers built from read models carry `Shiplog-Position` and
`Shiplog-Lag-Ms`; `min_position` waits for a write you have seen acknowledged."""


def _lifespan(settings: Settings):  # type: ignore[no-untyped-def]
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        pool = await open_pool(settings)
        signals = Signals(settings.redis_url)
        shards = await count_shards(pool)
        names = Names(pool)
        app.state.update(
            pool=pool,
            signals=signals,
            shards=shards,
            names=names,
            identity=Identity(settings, pool),
            appenders=Appenders(
                pool,
                shards,
                lambda shard, _: signals.wake(shard),
                queue=settings.queue_per_shard,
                group=settings.group,
            ),
            live=Live(pool, signals),
        )
        refreshing = asyncio.create_task(_keep_fresh(names))
        try:
            yield
        finally:
            refreshing.cancel()
            await app.state.live.close()
            await app.state.appenders.close()
            await signals.close()
            await pool.close()

    return lifespan


async def _keep_fresh(names: Names) -> None:
    """A tool retired through another process stops taking votes here within half a second."""
    while True:
        await asyncio.sleep(_NAMES_SECONDS)
        with suppress(PostgresError, InterfaceError, OSError, TimeoutError):  # a request will say it
            await names.refresh()


async def _refuse_repeated_parameters(request: Request[object, object, State]) -> Response[bytes] | None:
    names = [name for name, _ in request.query_params.multi_items()]
    repeated = {name for name in names if names.count(name) > 1} if len(names) <= 50 else set(names[:1])
    if repeated:
        raise Rejected(
            400, "invalid", f"The query parameter {min(repeated)[:60]!r} stands there more than once."
        )
    return None
