"""Case tables of core.client: the shape of a request, who made it, and what we are called in the answer."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from hubferry.core.client import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    address_group,
    behind_proxy,
    check_request,
    comes_from,
    cors_headers,
    public_base,
    service_of,
)
from hubferry.core.errors import OciError
from hubferry.core.http import Headers, Request

PLAIN = Request("GET", "/v2/", "", (), "http", "gw.example:5000", "10.0.0.9")
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", ()),
        ("HEAD", (("content-length", "0"),)),
        ("POST", (("content-length", "10"),)),
        ("POST", (("transfer-encoding", "chunked"),)),
    ],
)
def test_a_request_without_a_body_where_none_belongs_passes(method: str, headers: Headers) -> None:
    check_request(replace(PLAIN, method=method, headers=headers))


SMUGGLED: dict[str, Headers] = {
    "a length": (("content-length", "1"),),
    "a length that is none": (("content-length", "+0"),),
    "an empty length": (("content-length", ""),),
    "a chunked body": (("transfer-encoding", "chunked"),),
    "both": (("content-length", "0"), ("transfer-encoding", "chunked")),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("headers", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_a_get_with_a_body_is_refused(method: str, headers: Headers) -> None:
    with pytest.raises(OciError) as caught:
        check_request(replace(PLAIN, method=method, headers=headers))
    assert caught.value.status == 400


def test_a_get_with_two_lengths_is_refused() -> None:
    with pytest.raises(OciError):
        check_request(replace(PLAIN, headers=(("content-length", "0"), ("content-length", "44"))))


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(replace(PLAIN, headers=(("x", "y" * MAX_HEADER_BYTES),)), id="one header"),
        pytest.param(replace(PLAIN, headers=(("x", ""),) * 4000), id="many headers"),
        pytest.param(replace(PLAIN, path="/" * (MAX_HEADER_BYTES + 1)), id="path"),
        pytest.param(replace(PLAIN, query="a" * MAX_HEADER_BYTES), id="query"),
    ],
)
def test_headers_over_16_kib_are_refused(request_: Request) -> None:
    with pytest.raises(OciError) as caught:
        check_request(request_)
    assert caught.value.status == 431


def test_headers_of_exactly_16_kib_pass() -> None:
    check_request(replace(PLAIN, headers=(("x", "y" * (MAX_HEADER_BYTES - len(PLAIN.path) - 5)),)))


Seen = tuple[str, str, str]
FORWARDED: dict[str, tuple[str, Headers, Seen]] = {
    "an untrusted peer is not believed": (
        "8.8.8.8",
        (("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")),
        ("8.8.8.8", "http", "gw.example:5000"),
    ),
    "a peer that is no address is not believed": (
        "unix",
        (("x-forwarded-host", "evil.example"),),
        ("unix", "http", "gw.example:5000"),
    ),
    "a trusted peer is": (
        "10.0.0.9",
        (("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "HTTPS "), ("x-forwarded-host", " hub.example")),
        ("1.1.1.1", "https", "hub.example"),
    ),
    "the nearest untrusted hop is the client": (
        "10.0.0.9",
        (("x-forwarded-for", "6.6.6.6, 1.1.1.1, 10.0.0.1"),),
        ("1.1.1.1", "http", "gw.example:5000"),
    ),
    "several lines are one list": (
        "10.0.0.9",
        (("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "10.0.0.1")),
        ("1.1.1.1", "http", "gw.example:5000"),
    ),
    "only trusted hops": (
        "10.0.0.9",
        (("x-forwarded-for", "10.0.0.2,10.0.0.1"),),
        ("10.0.0.2", "http", "gw.example:5000"),
    ),
    "hops with their ports": (
        "10.0.0.9",
        (("x-forwarded-for", "1.1.1.1:5678, 10.0.0.1:80"),),
        ("1.1.1.1", "http", "gw.example:5000"),
    ),
    "IPv6 hops": (
        "10.0.0.9",
        (("x-forwarded-for", "2001:db8::1, [10.0.0.1]:80"),),
        ("2001:db8::1", "http", "gw.example:5000"),
    ),
    "an IPv6 hop with its port": (
        "10.0.0.9",
        (("x-forwarded-for", "[2001:db8::1]:443"),),
        ("2001:db8::1", "http", "gw.example:5000"),
    ),
    "an IPv4 hop as IPv6": (
        "10.0.0.9",
        (("x-forwarded-for", "1.1.1.1, ::ffff:10.0.0.1"),),
        ("1.1.1.1", "http", "gw.example:5000"),
    ),
    "nothing said": ("10.0.0.9", (), ("10.0.0.9", "http", "gw.example:5000")),
    "empty lines": (
        "10.0.0.9",
        (("x-forwarded-for", " , "), ("x-forwarded-host", ""), ("x-forwarded-proto", "")),
        ("10.0.0.9", "http", "gw.example:5000"),
    ),
    "a scheme that is none": (
        "10.0.0.9",
        (("x-forwarded-proto", "gopher"),),
        ("10.0.0.9", "http", "gw.example:5000"),
    ),
    "an IPv6 peer": ("fd00::1", (("x-forwarded-host", "hub.example"),), ("fd00::1", "http", "hub.example")),
}


@pytest.mark.parametrize(("peer", "headers", "seen"), FORWARDED.values(), ids=FORWARDED.keys())
def test_a_reverse_proxy_is_believed_when_the_operator_trusts_it(peer: str, headers: Headers, seen: Seen) -> None:
    got = behind_proxy(replace(PLAIN, peer=peer, headers=headers), TRUSTED)
    assert (got.peer, got.scheme, got.host) == seen


def test_a_trusted_ipv4_proxy_is_believed_on_a_dual_stack_socket() -> None:
    request = replace(PLAIN, peer="::ffff:10.0.0.9", headers=(("x-forwarded-proto", "https"),))
    assert behind_proxy(request, TRUSTED).scheme == "https"


READERS = (ip_network("192.0.2.0/24"), ip_network("10.0.0.1/32"), ip_network("fd00::/8"))
XFF = "x-forwarded-for"
CLIENTS: dict[str, tuple[str, Headers, bool]] = {
    # name: who connected, headers, whether it may be one of READERS
    "itself": ("192.0.2.7", (), True),
    "somebody else": ("198.51.100.7", (), False),
    "on a dual-stack socket": ("::ffff:192.0.2.7", (), True),
    "nobody, as on a Unix socket": ("", (), False),
    "through a trusted proxy": ("10.0.0.9", ((XFF, "192.0.2.7"),), True),
    "through two of them": ("10.0.0.9", ((XFF, "192.0.2.7, 10.0.0.8"),), True),
    "through a trusted proxy on a dual-stack socket": ("::ffff:10.0.0.9", ((XFF, "192.0.2.7"),), True),
    "another one through it": ("10.0.0.9", ((XFF, "198.51.100.7"),), False),
    "another one who says to come for a reader": ("10.0.0.9", ((XFF, "192.0.2.7, 198.51.100.7"),), False),
    "a trusted proxy that is a reader, for itself": ("10.0.0.1", (), True),
    "a trusted proxy that is a reader, for another": ("10.0.0.1", ((XFF, "198.51.100.7"),), False),
    "for whom it does not say": ("10.0.0.1", (("x-forwarded-proto", "https"),), False),
    "for whom it says nothing": ("10.0.0.1", ((XFF, " , "),), False),
    "for whom it says in a language not read here": ("10.0.0.1", (("forwarded", "for=192.0.2.7"),), False),
    "for something that is no address": ("10.0.0.9", ((XFF, "unknown"),), False),
    "through an unknown proxy that is a reader": ("192.0.2.7", ((XFF, "192.0.2.8"),), False),
    "through one that only says that it is one": ("192.0.2.7", (("via", "1.1 proxy"),), False),
    "through one that says what it likes": ("192.0.2.7", (("x-real-ip", "192.0.2.8"),), False),
    "of IPv6": ("fd00::1", (), True),
}


@pytest.mark.parametrize(("peer", "headers", "expected"), CLIENTS.values(), ids=CLIENTS.keys())
def test_who_made_a_request_is_known_or_nobody(peer: str, headers: Headers, expected: bool) -> None:
    assert comes_from(replace(PLAIN, peer=peer, headers=headers), TRUSTED, READERS) is expected


def test_without_trusted_proxies_nothing_that_was_forwarded_comes_from_anybody() -> None:
    request = replace(PLAIN, peer="192.0.2.7")
    assert comes_from(request, (), READERS)
    assert not comes_from(replace(request, headers=((XFF, "192.0.2.7"),)), (), READERS)


BASES = [
    pytest.param("", False, "http://gw.example:5000", id="what the client said"),
    pytest.param("https://hub.example/", False, "https://hub.example", id="the public URL"),
    pytest.param("https://hub.example", True, "https://gw.example:5000", id="a listed host stays itself"),
    pytest.param("", True, "http://gw.example:5000", id="a listed host without a public URL"),
]


@pytest.mark.parametrize(("public_url", "listed", "base"), BASES)
def test_the_public_base_is_configured_or_what_the_client_said(public_url: str, listed: bool, base: str) -> None:
    assert public_base(PLAIN, public_url, host_is_listed=listed) == base


@pytest.mark.parametrize(
    ("base", "service"), [("https://Hub.Example:8443/x", "hub.example:8443"), ("http://[::1]:5000", "[::1]:5000")]
)
def test_the_service_is_the_host_and_port_in_lower_case(base: str, service: str) -> None:
    assert service_of(base) == service


UI = "https://ui.example"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(None, ("*",)), (UI, ()), (UI, ("https://other.example",)), ("null", (UI,)), ("", (UI,))],
)
@pytest.mark.parametrize("preflight", [True, False])
def test_an_origin_that_is_not_listed_gets_no_cors_headers(
    origin: str | None, allowed: tuple[str, ...], preflight: bool
) -> None:
    varies = (("vary", "Origin"),) if allowed and "*" not in allowed else ()
    assert cors_headers(origin, allowed, preflight=preflight) == varies


@pytest.mark.parametrize("allowed", [(UI,), ("*",)])
def test_a_listed_origin_gets_its_own_name_back(allowed: tuple[str, ...]) -> None:
    for preflight in (True, False):
        headers = dict(cors_headers(UI, allowed, preflight=preflight))
        assert headers["access-control-allow-origin"] == UI
        assert headers["vary"] == "Origin"
        assert ("access-control-allow-methods" in headers) is preflight
        assert ("access-control-expose-headers" in headers) is not preflight
        assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "host", ["", "a.example,b.example", "a\r\nb", "hub.example.com/x", "[", "[:]", "a:0", "a:99999"]
)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(OciError) as caught:
        check_request(Request("GET", "/v2/", "", (), "http", host, "::1"))
    assert caught.value.status == 400


def test_headers_are_counted() -> None:
    check_request(replace(PLAIN, headers=(("a", ""),) * MAX_HEADERS))
    with pytest.raises(OciError) as caught:
        check_request(replace(PLAIN, headers=(("a", ""),) * (MAX_HEADERS + 1)))
    assert caught.value.status == 431


@pytest.mark.parametrize(
    ("peer", "group"),
    [
        ("10.0.0.9", "10.0.0.9"),
        ("::ffff:10.0.0.9", "10.0.0.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_whose_an_address_is(peer: str, group: str) -> None:
    assert address_group(peer) == group
