"""Webhook messages, their signatures, and the outcome of an attempt to deliver one (Standard Webhooks 1.0.0)."""

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
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of a secret is not a secret

# The delays after each failed attempt, as the specification recommends: about three days in all.
RETRY_DELAYS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
ATTEMPTS_MAX = len(RETRY_DELAYS) + 1
_RETRY_AFTER_MAX = timedelta(days=1)
_JITTER_MAX = 0.2  # added to a delay, as a fraction of it


class ToolPayload(Struct, frozen=True):
    slug: str
    name: str


class FlipPayload(Struct, frozen=True):
    """``event`` is the type of the event at ``position``, which caused the flip; ``url`` is the tool's page."""

    tool: ToolPayload
    before: Label
    after: Label
    position: str
    event: str
    rulebook: str
    url: str


class Message(Struct, frozen=True):
    """``timestamp`` is when the event behind the message was recorded."""

    type: str
    timestamp: datetime
    data: FlipPayload | dict[str, str]


class AttemptResult(Struct, frozen=True):
    """The HTTP status of an attempt, or the error instead of one. ``text`` is the beginning of the response body."""

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
    """The receiver answered 410: it wants no more messages."""

    state: ClassVar[State] = "failed"


DeliveryOutcome: TypeAlias = Delivered | Retry | GiveUp | Gone


def flip_message(flip: Flip, tool: ToolPayload, site: str) -> bytes:
    """The bytes to sign and send."""
    order = flip.order
    payload = FlipPayload(
        tool,
        flip.before,
        flip.after,
        str(order.position),
        flip.event,
        flip.rulebook,
        f"{site}/tools/{tool.slug}",
    )
    return msgspec.json.encode(Message(FLIPPED, order.recorded_at.astimezone(UTC), payload))


def ping_message(at: datetime, site: str) -> bytes:
    return msgspec.json.encode(Message(PING, at.astimezone(UTC), {"url": site or "/"}))


def encode_secret(secret: bytes) -> str:
    """In the form shown to the receiver."""
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def sign(secrets: Sequence[bytes], id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: an HMAC-SHA256 (RFC 2104) of id, timestamp and body for each secret."""
    content = f"{id}.{timestamp}.".encode() + body
    digests = (hmac.digest(secret, content, sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def outcome_of(result: AttemptResult, attempts: int, jitter: float) -> DeliveryOutcome:
    """``attempts`` counts this one. ``jitter`` is random, from 0 to 1."""
    if result.status is not None and 200 <= result.status < 300:
        return Delivered()
    if result.status == 410:
        return Gone()
    if attempts >= ATTEMPTS_MAX:
        return GiveUp()
    requested = min(result.retry_after or timedelta(0), _RETRY_AFTER_MAX)
    return Retry(max(RETRY_DELAYS[attempts - 1] * (1 + _JITTER_MAX * jitter), requested))


def parse_retry_after(header: str | None, now: datetime) -> timedelta | None:
    """From seconds or a date (RFC 9110 section 10.2.3); None for anything else, and for a past date."""
    if not header or len(header) > 40:
        return None
    if header.isascii() and header.isdigit():
        return timedelta(seconds=min(int(header), int(_RETRY_AFTER_MAX.total_seconds())))
    try:
        at = parsedate_to_datetime(header)
        return max(at.astimezone(UTC) - now, timedelta(0)) or None
    except (ValueError, OverflowError):
        return None
