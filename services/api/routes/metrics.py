"""The metrics of this process and of the read models, for Prometheus."""

from __future__ import annotations

from contextlib import suppress

from asyncpg import Pool, Record
from litestar import Response, get
from prometheus_client import generate_latest

from projections.engine.blocked import read_blocked
from projections.engine.lag import read_lag
from projections.engine.parked import count_parked
from projections.engine.registry import PROJECTIONS
from projections.flips.batches import read_flips_blocked
from projections.replays.verify import read_drift
from services.api.http.app_state import app_state
from services.api.http.auth import open_to_all
from services.api.http.metrics import BEHIND, DRIFT, DUE, LAG, PARKED, STOPPED, WAITING, WEBHOOKS
from services.api.http.requests import AnyRequest
from services.resources import POSTGRES_UNAVAILABLE
from services.webhooks.registry import read_health


@get("/metrics", guards=[open_to_all], include_in_schema=False)
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Metrics in the Prometheus text format."""
    WAITING.set(app_state(request).appenders.queued)
    for gauge in (BEHIND, LAG, DRIFT, PARKED, STOPPED, WEBHOOKS):
        gauge.clear()  # while the database is away, no value instead of 0
    with suppress(*POSTGRES_UNAVAILABLE):
        await _set_gauges(app_state(request).pool)
    # The framework adds the charset to a text.
    return Response(generate_latest(), media_type="text/plain; version=0.0.4")


async def _set_gauges(pool: Pool[Record]) -> None:
    """Every read model gets a value, also 0."""
    for lag in await read_lag(pool):
        BEHIND.labels(lag.projection).set(lag.events)
        LAG.labels(lag.projection).set(lag.seconds)
        PARKED.labels(lag.projection).set(0)
        STOPPED.labels(lag.projection).set(0)
    for projection, events in (await count_parked(pool)).items():
        PARKED.labels(projection).set(events)
    for blocked in [*await read_blocked(pool, PROJECTIONS), *await read_flips_blocked(pool)]:
        STOPPED.labels(blocked.projection).inc()
    health = await read_health(pool)
    for state, webhooks in health.webhooks.items():
        WEBHOOKS.labels(state).set(webhooks)
    DUE.set(health.due)
    for projection, rows in (await read_drift(pool)).items():
        DRIFT.labels(projection).set(rows)
