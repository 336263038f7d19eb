"""Webhook messages: the specification's library verifies signatures; outcomes of attempts."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from domain.shared.log import Shard
from domain.timeline.flips import Flip, LogOrder
from domain.webhooks.messages import (
    ATTEMPTS_MAX,
    RETRY_DELAYS,
    AttemptResult,
    Delivered,
    GiveUp,
    Gone,
    Retry,
    ToolPayload,
    encode_secret,
    flip_message,
    outcome_of,
    parse_retry_after,
    ping_message,
    sign,
)

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def headers(signature: str, at: int) -> dict[str, str]:
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}


@given(st.binary(min_size=24, max_size=64), st.dictionaries(st.text(), st.text()))
def test_the_specifications_library_verifies_a_signature(secret: bytes, data: dict[str, str]) -> None:
    body, now = json.dumps(data).encode(), int(time.time())
    signed = headers(sign([secret], "msg_1", now, body), now)
    assert Webhook(encode_secret(secret)).verify(body, signed) == data
    with pytest.raises(WebhookVerificationError):
        Webhook(encode_secret(secret)).verify(body + b" ", signed, json_parse=False)


def test_the_specifications_example() -> None:
    """A test vector of the specification's libraries."""
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == expected


def test_the_documented_code_for_receivers_verifies_signatures() -> None:
    document = (Path(__file__).resolve().parents[3] / "docs/webhooks.md").read_text()
    block = re.search(r"^```python\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    assert block is not None
    namespace: dict[str, Callable[[str, dict[str, str], bytes], bool]] = {}
    exec(block[1], namespace)  # type: ignore[arg-type]
    is_genuine, now, secret, body = namespace["is_genuine"], int(time.time()), b"s" * 32, b'{"a": "\xc3\xa9"}'
    signed = headers(sign([b"o" * 32, secret], "msg_1", now, body), now)
    assert is_genuine(encode_secret(secret), signed, body)
    assert not is_genuine(encode_secret(secret), signed, body + b"\n")
    assert not is_genuine(encode_secret(b"x" * 32), signed, body)
    assert not is_genuine(encode_secret(secret), signed | {"webhook-timestamp": str(now + 1)}, body)
    old = headers(sign([secret], "msg_1", now - 301, body), now - 301)
    assert not is_genuine(encode_secret(secret), old, body)


def test_both_secrets_verify_during_a_rotation() -> None:
    now, old, new = int(time.time()), b"o" * 32, b"n" * 32
    signed = headers(sign([new, old], "msg_1", now, b"{}"), now)
    for secret in (old, new):
        assert Webhook(encode_secret(secret)).verify(b"{}", signed) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(encode_secret(b"x" * 32)).verify(b"{}", signed)


def test_the_message_of_a_flip_names_its_cause() -> None:
    flip = Flip(7, "Ship", "Split", LogOrder(AT, Shard(2), 41), "VoteCast", "d1ge57")
    message = json.loads(flip_message(flip, ToolPayload("quill", "Quill"), "https://shiplog.example"))
    assert message == {
        "type": "verdict.flipped",
        "timestamp": "2026-03-01T12:00:00.123456Z",
        "data": {
            "tool": {"slug": "quill", "name": "Quill"},
            "before": "Ship",
            "after": "Split",
            "position": "2.41",
            "event": "VoteCast",
            "rulebook": "d1ge57",
            "url": "https://shiplog.example/tools/quill",
        },
    }
    assert json.loads(ping_message(AT, "https://shiplog.example"))["type"] == "webhook.ping"


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_status_of_2xx_is_delivered(status: int) -> None:
    assert outcome_of(AttemptResult(status), 1, 0.5) == Delivered()


@pytest.mark.parametrize(
    "answer", [AttemptResult(s) for s in (100, 301, 308, 400, 404, 429, 500)] + [AttemptResult(error="cut")]
)
def test_any_other_result_is_retried_until_the_last_attempt(answer: AttemptResult) -> None:
    for attempt in range(1, ATTEMPTS_MAX):
        assert outcome_of(answer, attempt, 0.0) == Retry(RETRY_DELAYS[attempt - 1])
        assert outcome_of(answer, attempt, 1.0) == Retry(RETRY_DELAYS[attempt - 1] * 1.2)
    assert outcome_of(answer, ATTEMPTS_MAX, 0.0) == GiveUp()


def test_a_status_of_410_ends_delivery() -> None:
    assert outcome_of(AttemptResult(410), 1, 0.0) == Gone()


def test_the_schedule_takes_three_days() -> None:
    assert sum(RETRY_DELAYS, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)


def test_retry_after_delays_a_retry_by_up_to_a_day() -> None:
    def after(wait: timedelta, attempt: int = 1) -> object:
        return outcome_of(AttemptResult(503, retry_after=wait), attempt, 0.0)

    assert after(timedelta(seconds=90)) == Retry(timedelta(seconds=90))
    assert after(timedelta(seconds=1)) == Retry(RETRY_DELAYS[0])
    assert after(timedelta(seconds=90), 3) == Retry(RETRY_DELAYS[2])
    assert after(timedelta(days=400)) == Retry(timedelta(days=1))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("90", 90),
        ("0", 0),
        ("9" * 40, 86_400),
        ("9" * 41, None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("Sun, 01 Mar 2026 12:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 11:00:00 GMT", None),
        ("Sun, 01 Mar 99999 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert parse_retry_after(header, AT.replace(microsecond=0)) == expected
