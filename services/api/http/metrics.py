"""Prometheus metrics: requests of every route, commits of votes, read models and webhooks."""

from __future__ import annotations

import time
from collections.abc import Mapping

from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.types import ASGIApp
from prometheus_client import Counter, Gauge, Histogram

from domain.voting.votes import Outcome

CASTS = Counter("shiplog_casts", "Votes and bookmarks answered, by outcome", ["outcome"])
GROUPS = Histogram(
    "shiplog_group_casts", "Casts per commit", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
)
WAITING = Gauge("shiplog_waiting_casts", "Casts queued for a commit")
BEHIND = Gauge("shiplog_events_behind", "Events a read model has not folded yet", ["read_model"])
LAG = Gauge("shiplog_lag_seconds", "Age of the oldest event a read model has not folded yet", ["read_model"])
DRIFT = Gauge(
    "shiplog_drift_rows", "Rows of a read model that differed from the log when last verified", ["read_model"]
)
PARKED = Gauge("shiplog_parked_events", "Events a read model failed to fold and skipped", ["read_model"])
STOPPED = Gauge(
    "shiplog_stopped_shards",
    "Shards in which a read model is blocked by an event it cannot read",
    ["read_model"],
)
WEBHOOKS = Gauge("shiplog_webhooks", "Webhooks, by state", ["state"])
DUE = Gauge("shiplog_webhook_deliveries_due", "Webhook deliveries due and not yet sent")

http_metrics = PrometheusConfig(app_name="shiplog", prefix="shiplog", group_path=True)


class RouteMetrics:
    """The request count and duration of one route that is answered without the framework's metrics middleware."""

    def __init__(self, app: ASGIApp, method: str, path: str) -> None:
        self._middleware = PrometheusMiddleware(app, http_metrics)
        self._method, self._path = method, path
        self._by_status: dict[int, tuple[Counter, Histogram]] = {}

    def observe(self, status: int, started: float) -> None:
        """``started`` as time.perf_counter gave it."""
        metrics = self._by_status.get(status) or self._by_status.setdefault(status, self._metrics_of(status))
        count, seconds = metrics
        count.inc()
        seconds.observe(time.perf_counter() - started)

    def _metrics_of(self, status: int) -> tuple[Counter, Histogram]:
        labels: dict[str, str | int | float] = {
            "method": self._method,
            "path": self._path,
            "status_code": status,
            "app_name": "shiplog",
        }
        count, seconds = self._middleware.request_count(labels), self._middleware.request_time(labels)
        return count.labels(*labels.values()), seconds.labels(*labels.values())


def observe_commit(outcomes: Mapping[Outcome, int]) -> None:
    GROUPS.observe(sum(outcomes.values()))
    for outcome, casts in outcomes.items():
        CASTS.labels(outcome).inc(casts)
