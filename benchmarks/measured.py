"""What one run of a measurement came to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct


class Measured(Struct, frozen=True):
    """Requests or votes or rows a second; percentiles of a request, or of a wait, in milliseconds if there were any."""

    rate: float
    p99_ms: float | None = None
    p50_ms: float | None = None


Measure = Callable[[], Awaitable[Measured]]
