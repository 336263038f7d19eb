"""What keeps a process from being ready although Postgres answers: a full disk, or read models that stand still."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from projections.engine.lag import Lag

STUCK_SECONDS = 30.0  # behind the log for this long without folding an event


class ReadModelProgress:
    """When each read model was last seen to fold events, or to have none to fold. Times as of time.monotonic()."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}

    def observe(self, lags: Iterable[Lag], now: float | None = None) -> None:
        now = time.monotonic() if now is None else now
        for lag in lags:
            before = self._seen.get(lag.projection)
            if before is None or before[0] != lag.folded or lag.events == 0:
                self._seen[lag.projection] = lag.folded, now

    def stuck(self, lags: Iterable[Lag], blocked: Collection[str], now: float | None = None) -> list[str]:
        """The read models that have stood still for STUCK_SECONDS, without those that wait for a newer release."""
        now = time.monotonic() if now is None else now
        return [
            f"{lag.projection} has not moved for {now - since:.0f} s, {lag.events:,} events behind"
            for lag in lags
            if lag.events
            and lag.projection not in blocked
            and (since := self._seen.get(lag.projection, (0, now))[1]) < now - STUCK_SECONDS
        ]
