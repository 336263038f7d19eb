"""Endpoints: ambiguous URLs are rejected, and so is every spelling of a private address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.webhooks.endpoints import Endpoint, InvalidEndpoint, check_reachable, is_public, parse_endpoint

OWN = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
PUBLIC = Endpoint(True, "hooks.example.com", 443, "/")


def test_a_url_is_parsed_into_its_parts() -> None:
    assert parse_endpoint("https://Hooks.Example.com/a/b?c=d%20e") == Endpoint(
        True, "hooks.example.com", 443, "/a/b?c=d%20e"
    )
    assert parse_endpoint("https://hooks.example.com:8443").authority == "hooks.example.com:8443"
    assert parse_endpoint("https://xn--bcher-kva.example.com?x") == Endpoint(
        True, "xn--bcher-kva.example.com", 443, "/?x"
    )
    assert parse_endpoint("https://[2606:4700::1111]:4443/").authority == "[2606:4700::1111]:4443"
    assert parse_endpoint("https://1.1.1.1/").literal == ip_address("1.1.1.1")


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "https://",
            "https:///x",
            "//hooks.example.com",
            "hooks.example.com",
            "ftp://hooks.example.com",
        ),
        *(
            "file:///etc/passwd",
            "gopher://hooks.example.com",
            "https:hooks.example.com",
            "https//x.example.com",
        ),
        # userinfo, and what other parsers read as userinfo
        *(
            "https://user@hooks.example.com",
            "https://user:pass@hooks.example.com",
            "https://a.com@127.0.0.1/",
        ),
        *(
            "https://hooks.example.com\\@127.0.0.1/",
            "https://127.0.0.1\\.example.com/",
            "https://a.com#@127.0.0.1/",
        ),
        *("https://hooks.example.com/#x", "https://hooks.example.com /", " https://hooks.example.com"),
        *(
            "https://hooks.example.com/\n",
            "https://hooks.example.com/\r\nHost: x",
            "https://hooks.example.com/\0",
        ),
        # ports
        *(
            "https://hooks.example.com:0",
            "https://hooks.example.com:65536",
            "https://hooks.example.com:999999",
        ),
        *("https://hooks.example.com:", "https://hooks.example.com:-1", "https://hooks.example.com:443:443"),
        *("https://hooks.example.com:22", "https://hooks.example.com:25", "https://hooks.example.com:80"),
        # names
        *("https://hooks.example.com./", "https://.example.com/", "https://hooks..example.com/"),
        *("https://-x.example.com/", "https://x-.example.com/", f"https://{'a' * 64}.example.com/"),
        *("https://bücher.example.com/", "https://hooks.example。com/", "https://ⓔxample.com/"),
        *("https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://a.localhost/"),
        *("https://postgres/", "https://printer.local/", "https://db.internal/", "https://router.home.arpa/"),
        f"https://hooks.example.com/{'a' * 500}",
    ],
)
def test_an_ambiguous_or_forbidden_url_is_rejected(url: str) -> None:
    with pytest.raises(InvalidEndpoint, match="cannot be sent to this URL"):
        parse_endpoint(url)


INSIDE = [
    # four decimal numbers
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *(
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "198.18.0.1",
    ),
    *(
        "198.51.100.1",
        "203.0.113.1",
        "192.88.99.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
    ),
    # IPv6
    *(
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
    ),
    *("[2001:db8::1]", "[3fff::1]", "[2001::1]", "[100::1]", "[5f00::1]", "[64:ff9b:1::7f00:1]"),
    # IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a00:1]", "[::ffff:169.254.169.254]"),
    *("[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]"),
    *("[2002:7f00:1::]", "[2002:a00:1::1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]"),
]
ODDLY_SPELT = [
    *(
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "017700000001",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
    ),
    *(
        "0x7f.1",
        "127.0.0.01",
        "127.000.000.001",
        "0",
        "0x0",
        "00",
        "0x",
        "4294967296",
        "256.256.256.256",
        "1.2.3.4.5",
    ),
    *(
        "127.0.0.1.",
        "127.0.0.0x1",
        "[127.0.0.1]",
        "[::1%25lo]",
        "[fe80::1%eth0]",
        "[::1",
        "::1",
        "[]",
        "[1.1.1.1]",
    ),
    *("１２７.0.0.1", "127。0。0。1"),
]


@pytest.mark.parametrize("host", INSIDE + ODDLY_SPELT)
def test_no_spelling_of_a_private_address_is_accepted(host: str) -> None:
    with pytest.raises(InvalidEndpoint):
        parse_endpoint(f"https://{host}/")


@pytest.mark.parametrize("host", INSIDE)
def test_a_name_that_resolves_to_a_private_address_is_rejected(host: str) -> None:
    with pytest.raises(InvalidEndpoint, match="not public"):
        check_reachable(PUBLIC, ip_address(host.strip("[]")))


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::1"),
        *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8"),
    ],
)
def test_public_addresses_are_reachable(address: str) -> None:
    assert is_public(ip_address(address))
    check_reachable(PUBLIC, ip_address(address))


def test_http_is_allowed_to_own_networks_only() -> None:
    assert parse_endpoint("http://127.0.0.1:80/", OWN).port == 80
    assert parse_endpoint("http://receiver:9000/", OWN).host == "receiver"
    assert parse_endpoint("https://[fd00::7]:25/", OWN).host == "fd00::7"
    for url in ("http://hooks.example.com/", "http://1.1.1.1/", "http://127.0.0.1/", "http://receiver:9000/"):
        with pytest.raises(InvalidEndpoint):
            parse_endpoint(url)
    for url in ("http://10.0.0.1/", "https://10.0.0.1/", "http://1.1.1.1/"):
        with pytest.raises(InvalidEndpoint):
            parse_endpoint(url, OWN)


def test_a_name_is_checked_by_the_address_it_resolves_to() -> None:
    plain = parse_endpoint("http://receiver:80/", OWN)
    check_reachable(plain, ip_address("127.0.0.1"), OWN)
    check_reachable(plain, ip_address("::ffff:127.0.0.1"), OWN)
    with pytest.raises(InvalidEndpoint, match="need https"):
        check_reachable(plain, ip_address("1.1.1.1"), OWN)
    with pytest.raises(InvalidEndpoint, match="port 22"):
        check_reachable(parse_endpoint("https://receiver:22/", OWN), ip_address("1.1.1.1"), OWN)


@given(st.ip_addresses(v=6, network="64:ff9b::/96"))
def test_a_nat64_address_is_checked_as_the_address_it_embeds(address: object) -> None:
    behind = ip_address(int(address) & 0xFFFFFFFF)  # type: ignore[call-overload]
    assert is_public(address) == is_public(behind)  # type: ignore[arg-type]


@given(st.ip_addresses(v=4))
def test_public_addresses_are_global(address: object) -> None:
    assert not is_public(address) or address.is_global  # type: ignore[arg-type,attr-defined]
