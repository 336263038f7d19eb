"""Metrics, for Prometheus: every route's counts and times, and what happens to votes on their way into the log."""

from __future__ import annotations

import time
from collections.abc import Mapping

from asyncpg import InterfaceError, PostgresError
from litestar import Response, get
from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.types import ASGIApp
from prometheus_client import Counter, Gauge, Histogram, generate_latest

from domain.votes import Outcome
from projections.lag import read_lag
from projections.verify import read_drift
from services.api.access import open_to_all
from services.api.parts import AnyRequest, parts

CASTS = Counter("shiplog_casts", "Casts answered, by outcome", ["outcome"])
GROUPS = Histogram(
    "shiplog_group_casts", "Casts committed together", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
)
WAITING = Gauge("shiplog_waiting_casts", "Casts that wait for a commit")
BEHIND = Gauge("shiplog_events_behind", "Events that a read model has not folded", ["read_model"])
LAG = Gauge("shiplog_lag_seconds", "Age of the oldest event that a read model has not folded", ["read_model"])
DRIFT = Gauge("shiplog_drift_rows", "Rows that differed from the log at the last recount", ["read_model"])

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
    try:
        for lag in await read_lag(parts(request).pool):
            BEHIND.labels(lag.projection).set(lag.events)
            LAG.labels(lag.projection).set(lag.seconds)
        for projection, rows in (await read_drift(parts(request).pool)).items():
            DRIFT.labels(projection).set(rows)
    except (PostgresError, InterfaceError, OSError, TimeoutError):
        BEHIND.clear()  # unknown is not zero
        LAG.clear()
        DRIFT.clear()
    return Response(generate_latest(), media_type="text/plain; version=0.0.4; charset=utf-8")
