"""Prometheus metrics: requests of every route, commits of votes, read models and webhooks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

from litestar import Litestar
from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.types import ASGIApp
from prometheus_client import Counter, Gauge, Histogram

from domain.voting.votes import Outcome
from services.api.http.requests import AnyRequest

CASTS = Counter("shiplog_casts", "Votes and bookmarks answered, by outcome", ["outcome"])
GROUPS = Histogram(
    "shiplog_group_casts", "Casts per commit", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
)
WAITING = Gauge("shiplog_waiting_casts", "Casts queued for a commit", multiprocess_mode="livesum")


class _BoundedMetrics(PrometheusMiddleware):
    """Labels by the route's template and a known method: what a client makes up adds none."""

    def _get_default_labels(self, request: AnyRequest) -> dict[str, str | int | float]:
        labels = super()._get_default_labels(request)
        templates = cast(
            "frozenset[str]", request.app.state.get(_TEMPLATES) or _remember_templates(request.app)
        )
        path = labels["path"] if labels["path"] in templates else _OTHER
        method = labels["method"] if labels["method"] in _METHODS else _OTHER
        return labels | {"path": path, "method": method}


def _remember_templates(app: Litestar) -> frozenset[str]:
    app.state[_TEMPLATES] = templates = frozenset(route.path_format for route in app.routes)
    return templates


_OTHER, _TEMPLATES = "other", "metrics_templates"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

http_metrics = PrometheusConfig(
    app_name="shiplog", prefix="shiplog", group_path=True, middleware_class=_BoundedMetrics
)


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
