"""Replays as answers show them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from projections.replays.jobs import Replay, Source, State
from services.api.views.progress import Progress


class ReplayResponse(Struct, frozen=True):
    """``rate`` in events a second. ``digest`` is of the rebuilt version and ``replaces`` of the live one, at ``position``.

    ``equal`` is null until they are compared; ``drift`` counts the rows that differ, and ``diff`` has the first hundred.
    """

    id: UUID
    projection: str
    state: State
    source: Source
    events: Progress
    rate: float
    eta_seconds: float | None
    started_at: datetime
    ended_at: datetime | None
    position: str | None
    digest: str | None
    replaces: str | None
    equal: bool | None
    drift: int | None
    diff: list[str]
    reason: str | None


def present_replay(replay: Replay) -> ReplayResponse:
    return ReplayResponse(
        replay.id,
        replay.projection,
        replay.state,
        replay.source,
        Progress(replay.done, replay.total),
        round(replay.rate, 1),
        replay.eta_seconds,
        replay.started_at,
        replay.ended_at,
        replay.position,
        replay.digest,
        replay.replaces,
        None if replay.drift is None else replay.drift == 0,
        replay.drift,
        replay.rows,
        replay.reason,
    )
