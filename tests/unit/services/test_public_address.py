"""The public address: from SHIPLOG_PUBLIC_URL, or from what trusted proxies report; and nothing builds a link past it."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from litestar.routes import BaseRoute

from services.api.app import create_app
from services.api.http.public_address import LocatedRequests, public_address
from services.public_address import OWN_SEGMENTS, InvalidAddress, PublicAddress, parse_public_url
from services.settings import Settings, SettingsError, from_environment

SITE = Path(__file__).resolve().parents[3] / "services/api/site"
REQUIRED = {"DATABASE_URL": "postgresql://user@host/log", "SHIPLOG_SECRET": "0123456789abcdef" * 2}
PROXIES = (ip_network("10.0.0.0/8"),)
SHIP = PublicAddress("https", "verdicts.example", "/ship")
REPORTED = {
    "X-Forwarded-For": "198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "verdicts.example",
    "X-Forwarded-Prefix": "/ship",
}


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://verdicts.example", "https://verdicts.example"),
        ("https://verdicts.example/", "https://verdicts.example"),
        ("HTTPS://Verdicts.Example:443/ship/", "https://verdicts.example/ship"),
        ("http://verdicts.example:80", "http://verdicts.example"),
        ("http://verdicts.example:443/a/b.c", "http://verdicts.example:443/a/b.c"),
        ("https://[2001:db8::1]:8443/ship", "https://[2001:db8::1]:8443/ship"),
        ("https://xn--bcher-kva.example/~ada", "https://xn--bcher-kva.example/~ada"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_a_public_url_is_read_in_its_normal_form(url: str, base: str) -> None:
    assert parse_public_url(url).base == base
    assert parse_public_url(base) == parse_public_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "foo",
        "verdicts.example",
        "//verdicts.example",
        "ftp://verdicts.example",
        "https://",
        "https:///ship",
        "https://user:secret@verdicts.example",
        "https://verdicts.example:0",
        "https://verdicts.example:65536",
        "https://verdicts.example:",
        "https://verdicts.example:port",
        "https://bücher.example",
        "https://[::1",
        "https://verdicts.example?",
        "https://verdicts.example/ship?x=1",
        "https://verdicts.example/#top",
        "https://verdicts.example//ship",
        "https://verdicts.example/../ship",
        "https://verdicts.example/a/./b",
        "https://verdicts.example/sh%69p",
        "https://verdicts.example/ship;Secure",
        "https://verdicts.example/" + "a" * 200,
        "https://verdicts.example/tools",
        "https://verdicts.example/v1/ship",
    ],
)
def test_an_invalid_public_url_is_an_error_at_start(url: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_public_url(url)
    with pytest.raises(SettingsError, match=r"^SHIPLOG_PUBLIC_URL is .* Set it to the address") as rejected:
        from_environment({**REQUIRED, "SHIPLOG_PUBLIC_URL": url})
    assert "\n" not in str(rejected.value)


def test_no_public_url_means_that_the_address_follows_from_requests() -> None:
    assert from_environment(REQUIRED).public_address is None
    assert from_environment({**REQUIRED, "SHIPLOG_PUBLIC_URL": ""}).public_address is None


async def located(
    peer: str, headers: dict[str, str], path: str = "/", **settings: Any
) -> tuple[PublicAddress, str, list[tuple[bytes, bytes]]]:
    """The address of one request, the path that the app sees, and the headers added to its answer."""
    seen: list[Any] = []

    async def app(scope: Any, _: object, send: Any) -> None:
        seen.append((public_address(scope), scope["path"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        seen.append(message["headers"])

    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope: Any = {"type": "http", "scheme": "http", "path": path, "raw_path": path.encode(), "state": {}}
    scope |= {"client": (peer, 4321), "headers": encoded}
    options = {"database_url": "", "secret": b"", "trusted_proxies": PROXIES} | settings
    await LocatedRequests(app, Settings(**options))(scope, None, send)  # type: ignore[arg-type]
    return (*seen[0], seen[1])


async def test_a_trusted_proxy_says_how_people_reach_the_instance() -> None:
    address, _, headers = await located("10.0.0.1", REPORTED)
    assert address == SHIP
    assert headers == [(b"vary", b"X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Prefix")]


@pytest.mark.parametrize("peer", ["192.0.2.1", "unix:", "::1"])
async def test_anybody_else_is_not_believed(peer: str) -> None:
    address, path, _ = await located(peer, REPORTED | {"Host": "evil.example"}, "/ship/tools")
    assert (address, path) == (PublicAddress("http"), "/ship/tools")


async def test_a_host_header_names_no_host() -> None:
    address, _, _ = await located("10.0.0.1", {"Host": "evil.example"})
    assert address == PublicAddress("http")


async def test_the_public_url_comes_before_all_reports() -> None:
    evil = REPORTED | {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    address, _, headers = await located("10.0.0.1", evil, public_address=SHIP)
    assert (address, headers) == (SHIP, [])


async def test_only_what_our_own_proxies_added_counts() -> None:
    """A proxy may append to what the client sent, or replace it."""
    appended = {name: f"{spoof}, {REPORTED[name]}" for name, spoof in SPOOFED.items()}
    assert (await located("10.0.0.1", REPORTED | appended))[0] == SHIP
    inner = {"X-Forwarded-For": "1.2.3.4, 198.51.100.7, 10.0.0.9", "X-Forwarded-Proto": "http, https, http"}
    address, _, _ = await located("10.0.0.1", REPORTED | inner)
    assert address == SHIP


SPOOFED = {
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
}


@pytest.mark.parametrize(
    ("header", "value", "expected"),
    [
        ("X-Forwarded-Proto", "gopher", PublicAddress("http", "verdicts.example", "/ship")),
        ("X-Forwarded-Proto", "HTTPS", SHIP),
        ("X-Forwarded-Host", "verdicts.example:443", SHIP),
        ("X-Forwarded-Host", "a b", PublicAddress("https", "", "/ship")),
        ("X-Forwarded-Host", "verdicts.example/..", PublicAddress("https", "", "/ship")),
        ("X-Forwarded-Prefix", "/ship/", SHIP),
        ("X-Forwarded-Prefix", "/", PublicAddress("https", "verdicts.example")),
        ("X-Forwarded-Prefix", "ship", PublicAddress("https", "verdicts.example")),
        ("X-Forwarded-Prefix", "/a;Domain=b", PublicAddress("https", "verdicts.example")),
        ("X-Forwarded-Prefix", "//evil.example", PublicAddress("https", "verdicts.example")),
        ("X-Forwarded-Prefix", "/static", PublicAddress("https", "verdicts.example")),
    ],
)
async def test_a_malformed_report_counts_as_none(header: str, value: str, expected: PublicAddress) -> None:
    assert (await located("10.0.0.1", REPORTED | {header: value}))[0] == expected


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/ship", "/"),
        ("/ship/", "/"),
        ("/ship/tools/x", "/tools/x"),
        ("/tools/x", "/tools/x"),
        ("/shipping", "/shipping"),
        ("/", "/"),
    ],
)
async def test_the_prefix_is_removed_whether_or_not_the_proxy_has_done_so(sent: str, seen: str) -> None:
    assert (await located("192.0.2.1", {}, sent, public_address=SHIP))[1] == seen
    assert (await located("10.0.0.1", REPORTED, sent))[1] == seen


def test_no_prefix_may_be_one_of_our_own_paths() -> None:
    routes: list[BaseRoute] = create_app(Settings(database_url="", secret=b"")).routes
    assert {route.path.split("/")[1] for route in routes} - {""} <= OWN_SEGMENTS


def test_every_path_in_a_template_has_the_prefix() -> None:
    bare = re.compile(r"""(?:href|src|action|data-[a-z-]+)=["']/|["']/["'] ~|\{\{ static""")
    for template in (SITE / "templates").glob("*.html"):
        text = template.read_text().replace("{{ prefix() }}{{ static", "")
        assert not bare.findall(text), template.name


def test_every_path_in_a_script_has_the_prefix() -> None:
    """`call`, `callAsVisitor` and `exchange` add it to the path of a request."""
    allowed = re.compile(
        r"""(?:\b(?:call|callAsVisitor|exchange)\([^()]*(?:afterWrites\()?|const address = |read\()$"""
    )
    for script in (SITE / "static").glob("*.js"):
        text = script.read_text()
        for path in re.finditer(r"""["'`]/[a-z]""", text):
            before = text[: path.start()].rsplit("\n", 1)[-1]
            assert allowed.search(before), f"{script.name}: {before}"
