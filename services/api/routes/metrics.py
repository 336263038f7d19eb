"""The metrics of the API processes, the read models and the workers, for Prometheus."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from asyncpg import Pool, Record
from litestar import Response, get
from litestar.datastructures import State
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from projections.engine.blocked import read_blocked
from projections.engine.lag import read_lag
from projections.engine.parked import count_parked
from projections.engine.registry import PROJECTIONS
from projections.flips.batches import read_flips_blocked
from projections.replays.verify import read_drift
from services.api.http.app_state import app_state
from services.api.http.auth import for_metrics
from services.api.http.requests import AnyRequest
from services.resources import POSTGRES_UNAVAILABLE
from services.settings import worker_metrics_folder
from services.webhooks.registry import read_health

_RENDERING = "metrics_rendering"


@get("/metrics", guards=[for_metrics], include_in_schema=False)
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Metrics in the Prometheus text format. Requests at the same time get the same answer."""
    text = await asyncio.shield(_rendering(request.app.state, app_state(request).pool))
    # The framework adds the charset to a text.
    return Response(text, media_type="text/plain; version=0.0.4", headers={"Cache-Control": "no-store"})


def _rendering(state: State, pool: Pool[Record]) -> asyncio.Task[bytes]:
    """The one under way, or a new one."""
    running = cast("asyncio.Task[bytes] | None", state.get(_RENDERING))
    if running is None or running.done():
        state[_RENDERING] = running = asyncio.create_task(_render(pool), name="metrics")
    return running


async def _render(pool: Pool[Record]) -> bytes:
    """In a thread, so that votes go on meanwhile."""
    gauges = _ReadModels()
    with suppress(*POSTGRES_UNAVAILABLE):  # while the database is away, no value instead of 0
        await gauges.read(pool)
    return await asyncio.to_thread(_text, gauges)


def _text(gauges: _ReadModels) -> bytes:
    registries = [_of_the_server(), CollectorRegistry()]
    registries[1].register(gauges)
    if (folder := worker_metrics_folder()) and os.path.isdir(folder):  # noqa: PTH112 - one call for a string
        registries.append(CollectorRegistry())
        MultiProcessCollector(registries[2], path=folder)  # type: ignore[no-untyped-call]
    return b"".join(map(generate_latest, registries))


def _of_the_server() -> CollectorRegistry:
    """The metrics of this process, or of all processes that share its port: they keep them in files."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class _ReadModels(Collector):
    """What the database says, the same for every process. Every read model gets a value, also 0."""

    def __init__(self) -> None:
        names = "read_model"
        self._behind = _gauge("shiplog_events_behind", "Events a read model has not folded yet", names)
        self._lag = _gauge(
            "shiplog_lag_seconds", "Age of the oldest event a read model has not folded yet", names
        )
        self._drift = _gauge(
            "shiplog_drift_rows", "Rows of a read model that differed from the log when last verified", names
        )
        self._parked = _gauge(
            "shiplog_parked_events", "Events a read model failed to fold and skipped", names
        )
        self._stopped = _gauge(
            "shiplog_stopped_shards",
            "Shards in which a read model is blocked by an event it cannot read",
            names,
        )
        self._webhooks = _gauge("shiplog_webhooks", "Webhooks, by state", "state")
        self._due = _gauge("shiplog_webhook_deliveries_due", "Webhook deliveries due and not yet sent")

    def collect(self) -> Iterator[Metric]:
        yield from (
            self._behind,
            self._lag,
            self._drift,
            self._parked,
            self._stopped,
            self._webhooks,
            self._due,
        )

    async def read(self, pool: Pool[Record]) -> None:
        lags, parked = await read_lag(pool), await count_parked(pool)
        blocked = [*await read_blocked(pool, PROJECTIONS), *await read_flips_blocked(pool)]
        stopped = [each.projection for each in blocked]
        for lag in lags:
            self._behind.add_metric([lag.projection], lag.events)
            self._lag.add_metric([lag.projection], lag.seconds)
            self._parked.add_metric([lag.projection], parked.get(lag.projection, 0))
            self._stopped.add_metric([lag.projection], stopped.count(lag.projection))
        for projection, rows in (await read_drift(pool)).items():
            self._drift.add_metric([projection], rows)
        health = await read_health(pool)
        for state, webhooks in health.webhooks.items():
            self._webhooks.add_metric([state], webhooks)
        self._due.add_metric([], health.due)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=labels)
