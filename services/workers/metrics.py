"""Prometheus metrics of a worker: what its jobs did, and how long they took.

With SHIPLOG_WORKER_METRICS the workers of a machine write them to files in that folder, and the API's /metrics adds them up.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from services.settings import worker_metrics_folder

JOBS = Counter(
    "shiplog_jobs", "Runs of workers' jobs, by outcome: done, unavailable, failed", ["job", "outcome"]
)
JOB_SECONDS = Histogram(
    "shiplog_job_seconds",
    "Duration of workers' jobs",
    ["job"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
)


def serve_metrics(port: int) -> None:
    """On loopback, for a Prometheus on this machine. The server is a thread that ends with the process."""
    registry = REGISTRY
    if folder := worker_metrics_folder():
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    start_http_server(port, addr="127.0.0.1", registry=registry)
