"""Metrics, for Prometheus: every route's counts and times, and what happens to votes on their way into the log."""

from __future__ import annotations

import collections
from collections.abc import Sequence

from asyncpg import InterfaceError, PostgresError
from litestar import Response, get
from litestar.plugins.prometheus import PrometheusConfig
from prometheus_client import Counter, Gauge, Histogram, generate_latest

from domain.log import Shard
from eventstore.casts import Stood
from projections.lag import read_lag
from services.api.access import open_to_all
from services.api.parts import AnyRequest, parts

CASTS = Counter("shiplog_casts", "Casts answered, by outcome", ["outcome"])
GROUPS = Histogram(
    "shiplog_group_casts", "Casts committed together", buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
)
WAITING = Gauge("shiplog_waiting_casts", "Casts that wait for a commit")
BEHIND = Gauge("shiplog_events_behind", "Events that a read model has not folded", ["read_model"])
LAG = Gauge("shiplog_lag_seconds", "Age of the oldest event that a read model has not folded", ["read_model"])

VOTE_ERRORS = Counter("shiplog_vote_errors", "Votes that were not taken, by reason", ["reason"])
VOTE_SECONDS = Histogram("shiplog_vote_seconds", "From a vote's arrival to its answer, whatever it was")

# The vote route measures itself: the framework's way costs it a quarter of its time.
http_metrics = PrometheusConfig(
    app_name="shiplog", prefix="shiplog", group_path=True, exclude=["^/v1/votes$"]
)


def observe_group(_: Shard, stood: Sequence[Stood]) -> None:
    GROUPS.observe(len(stood))
    for outcome, casts in collections.Counter(answer.outcome for answer in stood).items():
        CASTS.labels(outcome).inc(casts)


@get("/metrics", guards=[open_to_all], include_in_schema=False)
async def metrics(request: AnyRequest) -> Response[bytes]:
    """What this process has counted, and how far behind the read models are now."""
    WAITING.set(parts(request).appenders.waiting)
    try:
        for lag in await read_lag(parts(request).pool):
            BEHIND.labels(lag.projection).set(lag.events)
            LAG.labels(lag.projection).set(lag.seconds)
    except (PostgresError, InterfaceError, OSError, TimeoutError):
        BEHIND.clear()  # unknown is not zero
        LAG.clear()
    return Response(generate_latest(), media_type="text/plain; version=0.0.4; charset=utf-8")
