"""How far a replay is, as answers show it."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from projections.replays.jobs import Replay, Source, State


class Progress(Struct, frozen=True):
    done: int
    total: int


class ReplayShown(Struct, frozen=True):
    """``rate`` in events a second. ``digest`` is the rebuilt version's, ``replaces`` the live one's, at ``position``.

    ``equal`` is null until they are compared; ``diff`` has the first hundred rows of the ``drift`` that differ.
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


def show_replay_state(replay: Replay) -> ReplayShown:
    return ReplayShown(
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
