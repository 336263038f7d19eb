"""Drift: how the read models differ from the log, as answers show it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from projections.replays.verify import Verification, Verified

DriftStatus: TypeAlias = Literal["equal", "drifting", "unknown"]


class ReadModelDrift(Struct, frozen=True):
    """Of one read model in one shard; ``drift`` is null where the recount could not be finished."""

    projection: str
    shard: int
    position: str
    digest: str
    drift: int | None
    rows: list[str]
    verified_at: datetime


class Drift(Struct, frozen=True):
    """``drifting`` if any row differs; ``unknown`` before the first recount, and where one could not be finished.

    ``incomplete``: how many events each read model could not fold. A recount leaves them out, as the read model does.
    """

    status: DriftStatus
    read_models: list[ReadModelDrift]
    incomplete: dict[str, int]


class RecountResult(Struct, frozen=True):
    """``rows``: the first hundred that differ, each with the side that has it, the log or the read model."""

    projection: str
    position: str
    digest: str | None
    drift: int
    rows: list[str]


def present_drift(verifications: Sequence[Verification], incomplete: dict[str, int]) -> Drift:
    return Drift(_status(verifications), [_read_model(each) for each in verifications], incomplete)


def present_recount(verified: Verified) -> RecountResult:
    return RecountResult(
        verified.projection, verified.position, verified.digest, verified.drift, verified.rows
    )


def _status(verifications: Sequence[Verification]) -> DriftStatus:
    if any(each.drift for each in verifications):
        return "drifting"
    unknown = not verifications or any(each.drift is None for each in verifications)
    return "unknown" if unknown else "equal"


def _read_model(each: Verification) -> ReadModelDrift:
    return ReadModelDrift(
        each.projection,
        each.shard,
        f"{each.shard}.{each.position}",
        each.digest,
        each.drift,
        each.rows,
        each.verified_at,
    )
