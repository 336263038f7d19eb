"""Webhooks: what a receiver is told, how it is signed, and what its answer means (Standard Webhooks 1.0.0)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Struct

from domain.rulebooks.rulebook import Label
from domain.timeline.flips import Flip

State: TypeAlias = Literal["pending", "delivered", "failed"]

PING = "webhook.ping"
FLIPPED = "verdict.flipped"
SECRET_BYTES = 32
_SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with is none

# After the first attempt, the second, ...: the schedule of the specification, three days and a quarter in all.
DELAYS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
ATTEMPTS_MAX = len(DELAYS) + 1
_WAIT_MAX = timedelta(days=1)
_JITTER = 0.2  # of a delay, at most, on top of it


class ToolPayload(Struct, frozen=True):
    slug: str
    name: str


class FlipPayload(Struct, frozen=True):
    """``event`` is the type of the event at ``position``, which caused it; ``url`` the tool's page."""

    tool: ToolPayload
    before: Label
    after: Label
    position: str
    event: str
    rulebook: str
    url: str


class Message(Struct, frozen=True):
    """``timestamp``: when the event was recorded that it tells of."""

    type: str
    timestamp: datetime
    data: FlipPayload | dict[str, str]


class AttemptResult(Struct, frozen=True):
    """What came of an attempt: a status, or the error instead of one. ``text`` is the beginning of the answer's body."""

    status: int | None = None
    error: str | None = None
    retry_after: timedelta | None = None
    text: str = ""


class Delivered(Struct, frozen=True):
    state: ClassVar[State] = "delivered"


class Retry(Struct, frozen=True):
    state: ClassVar[State] = "pending"
    after: timedelta


class GiveUp(Struct, frozen=True):
    state: ClassVar[State] = "failed"


class Gone(Struct, frozen=True):
    """The receiver wants no more, ever."""

    state: ClassVar[State] = "failed"


AttemptOutcome: TypeAlias = Delivered | Retry | GiveUp | Gone


def flip_message(flip: Flip, tool: ToolPayload, site: str) -> bytes:
    """The bytes to sign and to send."""
    place = flip.place
    told = FlipPayload(
        tool,
        flip.before,
        flip.after,
        str(place.position),
        flip.event,
        flip.rulebook,
        f"{site}/tools/{tool.slug}",
    )
    return msgspec.json.encode(Message(FLIPPED, place.recorded_at.astimezone(UTC), told))


def ping_message(at: datetime, site: str) -> bytes:
    return msgspec.json.encode(Message(PING, at.astimezone(UTC), {"url": site}))


def encode_secret(secret: bytes) -> str:
    """As the receiver is shown it."""
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def sign(secrets: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: one HMAC-SHA256 (RFC 2104) a secret, over id, timestamp and body."""
    content = f"{id}.{timestamp}.".encode() + body
    digests = (hmac.digest(secret, content, sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def outcome_of(answer: AttemptResult, attempts: int, jitter: float) -> AttemptOutcome:
    """What to do after the ``attempts``-th attempt. ``jitter`` is at random between 0 and 1."""
    if answer.status is not None and 200 <= answer.status < 300:
        return Delivered()
    if answer.status == 410:
        return Gone()
    if attempts >= ATTEMPTS_MAX:
        return GiveUp()
    wanted = min(answer.retry_after or timedelta(0), _WAIT_MAX)
    return Retry(max(DELAYS[attempts - 1] * (1 + _JITTER * jitter), wanted))


def parse_retry_after(header: str | None, now: datetime) -> timedelta | None:
    """Seconds or a date (RFC 9110 section 10.2.3); None for anything else, and for what has passed."""
    if not header or len(header) > 40:
        return None
    if header.isascii() and header.isdigit():
        return timedelta(seconds=min(int(header), int(_WAIT_MAX.total_seconds())))
    try:
        at = parsedate_to_datetime(header)
        return max(at.astimezone(UTC) - now, timedelta(0)) or None
    except (ValueError, OverflowError):
        return None
