"""The Host header of a request: a name or an address, with a port or without."""

from __future__ import annotations

import pytest

from services.api.http.request_framing import is_host

HOSTS = [
    "a", "v.example", "V.example", "127.0.0.1", "localhost:8000", "api_1:80", "a-b.example:65535", "a:", "[::1]",
    "[::1]:8000", "[2001:db8::1]:443", "[::ffff:192.0.2.1]", "xn--bcher-kva.example",
]  # fmt: skip
MALFORMED = [
    "", " ", "foo:bar", "a b", "a,b", "a/b", "a?b", "a#b", "a:99999", "a:65536", "a:065536", "a:-1", "a:1:2", "u@a", "u:p@a",
    "http://a", "[::1", "::1", "[]", "[:::]", "[::1]x", "[::1]:x", "[fe80::1%25eth0]", "[1.2.3.4]", "a%41", "*.a", "a\\b",
    "a" * 300, "café", "a\x80", "a\xff", "<a>", "a;b", "a\tb",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_host(host: str) -> None:
    assert is_host(host.encode())


@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_host(host: str) -> None:
    assert not is_host(host.encode("latin-1"))
