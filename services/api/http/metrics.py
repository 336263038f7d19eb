"""Metrics, for Prometheus: every route's counts and times, and what happens to votes on their way into the log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress

from asyncpg import InterfaceError, Pool, PostgresError, Record
from litestar import Response, get
from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.types import ASGIApp
from prometheus_client import Counter, Gauge, Histogram, generate_latest

from domain.voting.votes import Outcome
from projections.engine.blocked import read_stops
from projections.engine.lag import read_lag
from projections.engine.parked import count_parked
from projections.engine.registry import PROJECTIONS
from projections.flips.batches import read_flip_stops
from projections.replays.verify import read_drift
from services.api.http.app_state import AnyRequest, parts
from services.api.http.auth import open_to_all
from services.webhooks.registry import read_health

CASTS = Counter("shiplog_casts", "Casts answered, by outcome", ["outcome"])
GROUPS = Histogram(
    "shiplog_group_casts", "Casts committed together", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
)
WAITING = Gauge("shiplog_waiting_casts", "Casts that wait for a commit")
BEHIND = Gauge("shiplog_events_behind", "Events that a read model has not folded", ["read_model"])
LAG = Gauge("shiplog_lag_seconds", "Age of the oldest event that a read model has not folded", ["read_model"])
DRIFT = Gauge("shiplog_drift_rows", "Rows that differed from the log at the last recount", ["read_model"])
PARKED = Gauge(
    "shiplog_parked_events", "Events that a read model could not fold and went past", ["read_model"]
)
STOPPED = Gauge(
    "shiplog_stopped_shards", "Shards in which a read model waits for newer software", ["read_model"]
)
WEBHOOKS = Gauge("shiplog_webhooks", "Webhooks, by whether messages get through", ["state"])
DUE = Gauge("shiplog_webhook_deliveries_due", "Messages to webhooks that wait for a worker")

http_metrics = PrometheusConfig(app_name="shiplog", prefix="shiplog", group_path=True)


class Meter:
    """One route's share of the metrics that every route has, kept without asking for it at each request."""

    def __init__(self, app: ASGIApp, method: str, path: str) -> None:
        self._of_all = PrometheusMiddleware(app, http_metrics)
        self._method, self._path = method, path
        self._known: dict[int, tuple[Counter, Histogram]] = {}

    def observe(self, status: int, started: float) -> None:
        """``started`` by perf_counter."""
        count, seconds = self._known.get(status) or self._known.setdefault(status, self._of(status))
        count.inc()
        seconds.observe(time.perf_counter() - started)

    def _of(self, status: int) -> tuple[Counter, Histogram]:
        labels: dict[str, str | int | float] = {
            "method": self._method,
            "path": self._path,
            "status_code": status,
            "app_name": "shiplog",
        }
        count, seconds = self._of_all.request_count(labels), self._of_all.request_time(labels)
        return count.labels(*labels.values()), seconds.labels(*labels.values())


def observe_group(outcomes: Mapping[Outcome, int]) -> None:
    GROUPS.observe(sum(outcomes.values()))
    for outcome, casts in outcomes.items():
        CASTS.labels(outcome).inc(casts)


@get("/metrics", guards=[open_to_all], include_in_schema=False)
async def metrics(request: AnyRequest) -> Response[bytes]:
    """What this process has counted, and how far behind the read models are now."""
    WAITING.set(parts(request).appenders.waiting)
    for gauge in (BEHIND, LAG, DRIFT, PARKED, STOPPED, WEBHOOKS):
        gauge.clear()  # unknown is not zero
    with suppress(PostgresError, InterfaceError, OSError, TimeoutError):
        await _look(parts(request).pool)
    return Response(generate_latest(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _look(pool: Pool[Record]) -> None:
    """Every read model has its number, also where it is 0."""
    for lag in await read_lag(pool):
        BEHIND.labels(lag.projection).set(lag.events)
        LAG.labels(lag.projection).set(lag.seconds)
        PARKED.labels(lag.projection).set(0)
        STOPPED.labels(lag.projection).set(0)
    for projection, events in (await count_parked(pool)).items():
        PARKED.labels(projection).set(events)
    for stop in [*await read_stops(pool, PROJECTIONS), *await read_flip_stops(pool)]:
        STOPPED.labels(stop.projection).inc()
    health = await read_health(pool)
    for state, webhooks in health.webhooks.items():
        WEBHOOKS.labels(state).set(webhooks)
    DUE.set(health.due)
    for projection, rows in (await read_drift(pool)).items():
        DRIFT.labels(projection).set(rows)
