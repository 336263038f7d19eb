"""Malformed HTTP, sent to a real server as bytes: rejected, and the next request is answered."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

pytestmark = pytest.mark.xdist_group("instance")

VOTE = b'{"tool":"smolagents-2-0","choice":"ship"}'
POST = b"POST /v1/votes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
GET = b"GET /v1/tools HTTP/1.1\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(VOTE)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(VOTE), VOTE)
PATIENCE_SECONDS = 20

MALFORMED = {
    "two lengths": POST + b"Content-Length: 5\r\n" + LENGTH + b"\r\n" + VOTE,
    "a length below 0": POST + b"Content-Length: -1\r\n\r\n" + VOTE,
    "a length that is no number": POST + b"Content-Length: many\r\n\r\n" + VOTE,
    "a malformed chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n" + VOTE + b"\r\n0\r\n\r\n",
    "an unknown transfer encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + VOTE,
    "a header of 200 KiB": GET + b"Host: a\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
    "a thousand headers": GET + b"Host: a\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(1_000)) + b"\r\n",
    "a header with NUL": GET + b"Host: a\r\nX: a\0b\r\n\r\n",
    "a folded header": GET + b"Host: a\r\nX: a\r\n b\r\n\r\n",
    "a space before the colon": GET + b"Host : a\r\n\r\n",
    "an address of 100 KB": b"GET /v1/tools?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "an address with NUL": b"GET /v1/to\0ols HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header of 64 KiB": GET + b"Host: a\r\nX-Long: " + b"a" * 65_536 + b"\r\n\r\n",
    "two hosts": GET + b"Host: a\r\nHost: b\r\n\r\n",
    "no host": GET + b"\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00hello\r\n\r\n",
}


@contextmanager
def connected(site: str) -> Iterator[socket.socket]:
    address = urlsplit(site)
    with socket.create_connection((address.hostname, address.port), PATIENCE_SECONDS) as connection:
        yield connection


def status_of(site: str, request: bytes) -> int:
    """0 if the server closes the connection without an answer."""
    with connected(site) as connection:
        connection.sendall(request)
        first = connection.makefile("rb").readline()
    return int(first.split()[1]) if first else 0


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_rejected_and_the_next_answered(site: str, request_: bytes) -> None:
    assert status_of(site, request_) in (0, 400, 414, 431)
    assert httpx.get(f"{site}/healthz").status_code == 200


@pytest.mark.xfail(
    strict=True, reason="the HTTP library of the server removes the length before the app can see it"
)
def test_length_and_chunked_together_should_be_rejected(site: str) -> None:
    assert status_of(site, POST + LENGTH + CHUNKED) in (0, 400)


def test_bodies_that_never_end_do_not_delay_other_requests(site: str) -> None:
    with connected(site) as first, connected(site) as second:
        first.sendall(POST + b"Content-Length: 100\r\n\r\n{")
        second.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        assert httpx.get(f"{site}/v1/tools?limit=1").status_code == 200
        assert (
            httpx.post(f"{site}/v1/votes", content=VOTE, headers={"Content-Type": "text/plain"}).status_code
            == 415
        )


def test_a_body_that_arrives_in_single_bytes_is_read(site: str) -> None:
    with connected(site) as connection:
        connection.sendall(POST + b"Content-Length: 2\r\n\r\n")
        for byte in (b"{", b"}"):
            connection.sendall(byte)
        assert connection.makefile("rb").readline().split()[1] == b"400"


HOSTS = [b"foo:bar", b"a:99999", b"[::1", b"u@a", b"a b", b"a/b", b"caf\xc3\xa9", b"\xff", b""]
ADDRESSES = [
    "/healthz", "/", "/v1/tools", "/v1/votes", "/v1/verdicts/flips.atom", "/v1/nothing", "/static/verify_verdict.py",
    "/schema/openapi.json",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_malformed_host_is_rejected_on_every_route_and_method(site: str, host: bytes) -> None:
    for address in ADDRESSES:
        for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE"):
            head = method + b" " + address.encode() + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
            assert status_of(site, head) == 400, head


@pytest.mark.parametrize("host", HOSTS)
def test_a_malformed_host_is_rejected_with_a_plain_vote(site: str, host: bytes) -> None:
    assert status_of(site, POST.replace(b"127.0.0.1", host) + LENGTH + b"\r\n" + VOTE) == 400


def test_a_malformed_host_is_named_in_a_problem(site: str) -> None:
    answer = httpx.get(f"{site}/healthz", headers={"Host": "foo:bar"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert "Host" in answer.json()["detail"]


CHECKS = {
    "HAProxy's": b"OPTIONS / HTTP/1.0\r\n\r\n",
    "a GET": b"GET /healthz HTTP/1.0\r\n\r\n",
    "a HEAD": b"HEAD /readyz HTTP/1.0\r\n\r\n",
    "a page": b"GET / HTTP/1.0\r\n\r\n",
    "a feed with absolute links": b"GET /v1/verdicts/flips.atom HTTP/1.0\r\n\r\n",
    "with an address as host": b"GET /healthz HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n",
    "of the whole server": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_the_health_check_of_a_load_balancer_succeeds(site: str, check: bytes) -> None:
    assert status_of(site, check) in (200, 204)
