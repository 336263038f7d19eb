"""The result of one run of a measurement."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct


class Measurement(Struct, frozen=True):
    """``rate``: requests, votes or rows a second. Percentiles are latencies of requests, or delays, in milliseconds."""

    rate: float
    p99_ms: float | None = None
    p50_ms: float | None = None


Measure = Callable[[], Awaitable[Measurement]]
