"""Exchanges led astray: Authorization stays at home, private literals are never asked, six hops never made."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.exchange import Authenticate, Deliver, Exchange, Fail, Send
from hubferry.core.redirect import MAX_HOPS, Refused, Trust, decide_hop, decide_realm, origin
from tests.properties.inputs import hostile

HOSTS = [
    "reg.example",
    "REG.example",
    "reg.example:443",
    "reg.example:8443",
    "cdn.example",
    "a.reg.example",
    "reg.example.",
]
PRIVATE = [
    "127.0.0.1",
    "[::1]",
    "169.254.169.254",
    "[::ffff:10.0.0.1]",
    "2130706433",
    "0x7f.1",
    "localhost",
    "10.1",
]
schemes = st.sampled_from(["https", "https", "http", "ftp", "HTTPS"])
urls = st.builds("{}://{}/{}".format, schemes, st.sampled_from(HOSTS + PRIVATE), st.one_of(st.just("x"), hostile))
locations = st.one_of(
    st.none(), urls, hostile, hostile.map("//{}".format), hostile.map("https://{}".format), hostile.map("https://reg.example/{}".format),
    st.sampled_from(["/x", "?y", "x", "//cdn.example/x", "https://user:pw@reg.example/"]),
)  # fmt: skip
CHALLENGE = (("www-authenticate", 'Bearer realm="https://auth.reg.example/token"'),)
answers = st.one_of(
    locations.map(lambda location: (307, location)),
    st.sampled_from([(401, None), (401, None), (200, None), (403, None)]),
)
addresses = st.one_of(
    st.integers(0, 2**32 - 1).map(IPv4Address),
    st.integers(0, 2**128 - 1).map(IPv6Address),
    st.integers(0, 2**32 - 1).map(lambda number: IPv6Address((0xFFFF << 32) | number)),
)


@given(st.lists(answers, max_size=14), st.booleans())
def test_authorization_never_reaches_another_origin(script: list[tuple[int, str | None]], allow_http: bool) -> None:
    trust = Trust(allow_http=allow_http)
    exchange = Exchange("GET", "https://reg.example/v2/", (), trust)
    step: object = exchange.begin()
    obtained: dict[str, tuple[str, str, int]] = {}
    hops = 0
    for status, location in script:
        if isinstance(step, Authenticate):
            value = f"Bearer {len(obtained)}"
            obtained[value] = origin(step.challenger)
            assert step.anonymous == (origin(step.challenger) != ("https", "reg.example", 443))
            step = exchange.authorized(value)
        if isinstance(step, Deliver | Fail):
            break
        assert isinstance(step, Send)
        for name, value in step.headers:
            if name == "authorization":
                assert obtained[value] == origin(step.url)
        assert step.url.isascii()
        assert step.url.isprintable()
        assert " " not in step.url
        headers = CHALLENGE if status == 401 else () if location is None else (("location", location),)
        hops += status == 307
        step = exchange.received(status, headers)
    if hops > MAX_HOPS:
        assert isinstance(step, Deliver | Fail)


@given(locations)
def test_a_hop_is_https_without_userinfo_to_no_private_literal(location: str | None) -> None:
    hop = decide_hop("https://reg.example/v2/x", location, 0, Trust())
    if isinstance(hop, Refused):
        return
    assert hop.startswith("https://")
    authority = re.split(r"[/?#]", hop)[2]
    assert "@" not in authority
    assert "\\" not in hop
    assert "#" not in hop
    assert authority.rpartition(":")[0] not in PRIVATE
    assert authority not in PRIVATE


@given(addresses)
def test_an_address_that_is_not_global_is_never_followed(address: IPv4Address | IPv6Address) -> None:
    literal = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
    hop = decide_hop("https://reg.example/", f"https://{literal}/", 0, Trust())
    inner = getattr(address, "ipv4_mapped", None) or address
    if not inner.is_global or inner.is_multicast:
        assert isinstance(hop, Refused)
    if isinstance(hop, str):
        assert ip_address(origin(hop)[1]) == address


@given(st.one_of(urls, hostile, hostile.map("https://{}".format)), st.booleans())
def test_a_realm_is_at_home_or_refused(realm: str, allow_http: bool) -> None:
    trust = Trust(allow_http=allow_http, realm_hosts=("auth.other.example",))
    refused = decide_realm(
        "https://reg.example/v2/",
        realm,
        trust,
        lambda host: "reg.example" if host.endswith("reg.example") else None,
    )
    if refused is None:
        host = origin(realm)[1]
        assert host == "auth.other.example" or host.endswith("reg.example")
