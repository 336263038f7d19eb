"""Client addresses: X-Forwarded-For counts only as far as our own proxies wrote it."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from litestar.connection import ASGIConnection

from services.api.http.client_address import address_of, wider_networks

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def address(peer: str | None, *forwarded: str, proxies: object = PROXIES) -> str:
    headers = [(b"x-forwarded-for", each.encode("latin-1")) for each in forwarded]
    scope = {"type": "http", "headers": headers, "client": (peer, 4321) if peer is not None else None}
    return address_of(ASGIConnection(scope), proxies)  # type: ignore[arg-type]


SPOOFS = ["198.51.100.7", "10.0.0.1", "127.0.0.1, 10.0.0.1", "x", "", "::1"]


@pytest.mark.parametrize("spoof", SPOOFS)
def test_without_a_trusted_proxy_the_address_is_the_peers(spoof: str) -> None:
    assert address("192.0.2.1", spoof) == "192.0.2.1"
    assert address("192.0.2.1", spoof, proxies=()) == "192.0.2.1"
    assert address("10.0.0.1", spoof, proxies=()) == "10.0.0.1"


@pytest.mark.parametrize("spoof", SPOOFS)
def test_behind_a_trusted_proxy_the_address_is_the_one_it_reports(spoof: str) -> None:
    assert address("10.0.0.1", f"{spoof}, 192.0.2.1") == "192.0.2.1"
    assert address("10.0.0.1", spoof, "192.0.2.1") == "192.0.2.1"
    assert address("10.0.0.1", f"{spoof},192.0.2.1 , 10.0.0.2,10.9.9.9") == "192.0.2.1"


@pytest.mark.parametrize(
    "forwarded",
    ["", " ", "x", "unknown", "192.0.2.1, x", "192.0.2.1,", "192.0.2.1:80", "192.0.2.256", "é", "9" * 4_000],
)
def test_a_malformed_forwarded_address_is_ignored(forwarded: str) -> None:
    assert address("10.0.0.1", forwarded) == "10.0.0.1"


def test_a_proxy_that_reports_no_address_is_the_client() -> None:
    assert address("10.0.0.1") == "10.0.0.1"


def test_the_first_address_is_the_client_when_all_are_trusted() -> None:
    assert address("10.0.0.1", "10.0.0.9, 10.0.0.2") == "10.0.0.9"


def test_an_ipv6_address_is_its_64_bit_network() -> None:
    assert address("2001:db8:1:2::1") == address("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert address("fd00::1", "2001:db8:1:3::1") == "2001:db8:1:3::/64"
    assert address("fe80::1%eth0") == "fe80::/64"


def test_an_ipv4_address_mapped_to_ipv6_is_ipv4() -> None:
    assert address("::ffff:192.0.2.1") == "192.0.2.1"
    assert address("::ffff:10.0.0.1", "::ffff:192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize("peer", ["unix:", "", None])
def test_peers_without_an_address_are_one_client(peer: str | None) -> None:
    assert address(peer, "198.51.100.7") == (peer or "")


@pytest.mark.parametrize(
    ("peer", "networks"),
    [
        ("192.0.2.77", {24: "192.0.2.0/24"}),
        ("::ffff:192.0.2.77", {24: "192.0.2.0/24"}),
        ("2001:db8:1:2ff::9", {56: "2001:db8:1:200::/56", 48: "2001:db8:1::/48"}),
        ("unix:", {}),
        (None, {}),
    ],
)
def test_the_networks_of_an_address(peer: str | None, networks: dict[int, str]) -> None:
    assert wider_networks(address(peer)) == networks
