"""Metrics, for Prometheus: every route's counts and times, and what happens to votes on their way into the log."""

from __future__ import annotations

import time
from collections.abc import Mapping

from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.types import ASGIApp
from prometheus_client import Counter, Gauge, Histogram

from domain.voting.votes import Outcome

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
