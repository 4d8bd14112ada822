"""Case tables of core.redirect: what is followed, what is believed, which address may be dialled."""

from ipaddress import ip_address

import pytest

from hubferry.core.redirect import (
    Refused,
    Trust,
    address_problem,
    decide_hop,
    decide_realm,
    literal_problem,
    origin,
)

HERE = "https://reg.example.com/v2/a/blobs/x?q=1"
OPEN = Trust(allow_http=True, allow_private_addresses=True)


def domain_of(host: str) -> str | None:
    """A public suffix list of three suffixes."""
    for suffix in ("com", "co.uk", "github.io"):
        if host == suffix:
            return None
        if host.endswith("." + suffix):
            return host.removesuffix("." + suffix).rpartition(".")[2] + "." + suffix
    return None


ORIGINS = [
    ("https://A.example/x", ("https", "a.example", 443)),
    ("http://a.example", ("http", "a.example", 80)),
    ("https://a.example:8443", ("https", "a.example", 8443)),
    ("http://[::1]:5000/", ("http", "::1", 5000)),
    ("nonsense", ("", "", 80)),
]


@pytest.mark.parametrize(("url", "expected"), ORIGINS)
def test_an_origin_is_scheme_host_and_port(url: str, expected: tuple[str, str, int]) -> None:
    assert origin(url) == expected


def test_a_port_that_is_no_number_has_no_origin() -> None:
    with pytest.raises(ValueError, match="Port"):
        origin("https://a.example:x/")


FOLLOWED = [
    ("https://cdn.example.net/x?sig=%2F#frag", "https://cdn.example.net/x?sig=%2F"),
    ("/y", "https://reg.example.com/y"),
    ("y", "https://reg.example.com/v2/a/blobs/y"),
    ("?page=2", "https://reg.example.com/v2/a/blobs/x?page=2"),
    ("//reg.example.com:443/y", "https://reg.example.com:443/y"),
    ("//reg.example.com:444/y", "https://reg.example.com:444/y"),
    ("../../../../y", "https://reg.example.com/y"),
    ("https://8.8.8.8/y", "https://8.8.8.8/y"),
    ("https://[2606:4700::1]/y", "https://[2606:4700::1]/y"),
]


@pytest.mark.parametrize(("location", "url"), FOLLOWED)
def test_a_redirect_resolves_against_the_current_url(location: str, url: str) -> None:
    assert decide_hop(HERE, location, 0, Trust()) == url


REFUSED = {
    "missing": None,
    "empty": "",
    "http": "http://cdn.example.net/",
    "another scheme": "javascript:alert(1)",
    "file": "file:///etc/passwd",
    "userinfo": "https://user:pw@cdn.example.net/",
    "empty userinfo": "https://@cdn.example.net/",
    "host hidden behind userinfo": "https://reg.example.com:443@evil.example/",
    "backslash": "https://cdn.example.net\\@reg.example.com/",
    "backslashes for slashes": "\\\\evil.example\\x",
    "space": "https://cdn.example.net/a b",
    "space in host": "https://cdn.example .net/",
    "not ASCII": "https://cdn.example.net/ä",
    "lookalike host": "https://reg.exampl\u0435.com/",
    "control character": "https://cdn.example.net/\x01",
    "delete": "https://cdn.example.net/\x7f",
    "too long": "https://cdn.example.net/" + "x" * 8192,
    "port that is no number": "https://cdn.example.net:x/",
    "port out of range": "https://cdn.example.net:65536/",
    "broken bracket": "https://[::1/",
    "bracket without address": "https://[x]/",
}


@pytest.mark.parametrize("location", REFUSED.values(), ids=REFUSED.keys())
def test_a_location_that_no_honest_upstream_sends_is_refused(location: str | None) -> None:
    assert isinstance(decide_hop(HERE, location, 0, Trust()), Refused)


@pytest.mark.parametrize("location", ["https://cdn.example.net/a\r\nb", "https://cdn\t.example.net/", "/a\nb"])
def test_a_location_with_line_breaks_is_refused_rather_than_cleaned(location: str) -> None:
    assert isinstance(decide_hop(HERE, location, 0, Trust()), Refused)


def test_http_never_follows_https_whatever_is_allowed() -> None:
    assert isinstance(decide_hop(HERE, "http://reg.example.com/", 0, OPEN), Refused)


def test_an_upstream_on_plain_http_may_redirect_to_http_and_to_https() -> None:
    assert decide_hop("http://a.example/", "http://b.example/", 0, OPEN) == "http://b.example/"
    assert decide_hop("http://a.example/", "https://a.example/", 0, OPEN) == "https://a.example/"


@pytest.mark.parametrize(("hops", "followed"), [(0, True), (4, True), (5, False), (6, False)])
def test_the_fifth_hop_is_the_last(hops: int, followed: bool) -> None:
    assert isinstance(decide_hop(HERE, "/x", hops, Trust()), str) is followed


PRIVATE_HOSTS = [
    "localhost",
    "a.localhost",
    "printer.local",
    "metadata.google.internal",
    "127.0.0.1",
    "127.1",
    "0x7f000001",
    "0x7f.0.0.1",
    "127.0.0.0x1",
    "017700000001",
    "2130706433",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:a00:1::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    pytest.param("169.254.169.254."),
    pytest.param("127.0.0.1."),
    pytest.param("localhost."),
    pytest.param("metadata.google.internal."),
    pytest.param("fec0::1"),
    pytest.param("192.0.0.192"),
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "64:ff9b::a83f:8110",
    "2002:a83f:8110::1",
    "192.88.99.1",
    "2002:c058:6301::",
    "3fff::1",
    "3fff:fff::1",
    "2001:20::1",
    "5f00::1",
    "100::1",
    "4000::1",
    "::ffff:0:a00:1",
]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_a_private_or_special_address_is_a_problem_however_it_is_written(host: str) -> None:
    assert literal_problem(host)
    shown = f"[{host}]" if ":" in host else host
    if "%" not in host:
        assert isinstance(decide_hop(HERE, f"https://{shown}/", 0, Trust()), Refused)
        assert isinstance(decide_hop(HERE, f"//{shown}:443/", 0, Trust()), Refused)
        assert isinstance(decide_realm(HERE, f"https://{shown}/", Trust(), domain_of), Refused)


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "2606:4700::1", "64:ff9b::808:808", "2002:808:808::", "cdn.example.net", "168.63.129.17"]
)
def test_a_public_address_or_a_name_is_none(host: str) -> None:
    assert literal_problem(host) == ""


def test_private_addresses_are_followed_where_the_operator_allows_them() -> None:
    assert decide_hop(HERE, "https://127.0.0.1:5000/", 0, OPEN) == "https://127.0.0.1:5000/"


@pytest.mark.parametrize(
    "host",
    [
        "%31%32%37%2e0.0.1",
        pytest.param("%6c%6f%63%61%6c%68%6f%73%74"),
        pytest.param("a%00.example"),
        pytest.param("a,b.example"),
        pytest.param("a;b.example"),
    ],
)
def test_a_host_that_no_name_looks_like_is_refused(host: str) -> None:
    assert isinstance(decide_hop(HERE, f"https://{host}/", 0, Trust()), Refused)


def test_teredo_is_judged_by_server_and_client() -> None:
    public = ip_address("2001:0:808:808::f7f7:f7f7")  # server 8.8.8.8, client 8.8.8.8 in complement
    assert address_problem(public) == ""


BELIEVED = {
    "the same host": (HERE, "https://reg.example.com/token", Trust()),
    "the same host on another port": (HERE, "https://reg.example.com:8443/token", Trust()),
    "the same registrable domain": (HERE, "https://auth.example.com/token", Trust()),
    "the registrable domain itself": (HERE, "https://example.com/token", Trust()),
    "the upstream's allow-list": (HERE, "https://auth.other.com/t", Trust(realm_hosts=("auth.other.com",))),
    "an allowed address": ("https://10.0.0.1/", "https://10.0.0.1:5001/t", OPEN),
    "plain http of plain http": ("http://reg.example.com/", "http://reg.example.com/t", OPEN),
    "a host without a suffix that is the challenger": ("https://registry/", "https://registry/t", Trust()),
}


@pytest.mark.parametrize(("challenger", "realm", "trust"), BELIEVED.values(), ids=BELIEVED.keys())
def test_a_realm_at_home_is_believed(challenger: str, realm: str, trust: Trust) -> None:
    assert decide_realm(challenger, realm, trust, domain_of) is None


DISBELIEVED = {
    "a foreign domain": (HERE, "https://auth.evil.com/token", Trust()),
    "a name that ends like ours": (HERE, "https://evil-example.com/", Trust()),
    "ours as a subdomain": (HERE, "https://reg.example.com.evil.com/", Trust()),
    "userinfo": (HERE, "https://reg.example.com@evil.com/", Trust()),
    "our userinfo on our host": (HERE, "https://me:pw@reg.example.com/", Trust()),
    "a shared public suffix": ("https://a.co.uk/", "https://b.co.uk/", Trust()),
    "a private suffix": ("https://me.github.io/", "https://you.github.io/", Trust()),
    "plain http": (HERE, "http://reg.example.com/token", Trust()),
    "relative": (HERE, "/token", Trust()),
    "empty": (HERE, "", Trust()),
    "no URL": (HERE, "https://[/", Trust()),
    "a private address": (HERE, "https://10.0.0.1/token", Trust(realm_hosts=("10.0.0.1",))),
    "an allowed private address that is not the challenger": (HERE, "https://10.0.0.1/token", OPEN),
    "the neighbour of an address": ("https://10.0.0.1/", "https://10.0.0.2/", OPEN),
    "a line break": (HERE, "https://reg.example.com/\r\nx", Trust()),
    "a backslash": (HERE, "https://evil.com\\@reg.example.com/", Trust()),
}


@pytest.mark.parametrize(("challenger", "realm", "trust"), DISBELIEVED.values(), ids=DISBELIEVED.keys())
def test_a_realm_elsewhere_is_refused(challenger: str, realm: str, trust: Trust) -> None:
    refused = decide_realm(challenger, realm, trust, domain_of)
    assert refused is not None
    assert refused.reason.startswith("a token realm")
    assert "pw" not in refused.reason


def test_a_plain_http_realm_of_an_https_upstream_is_refused_even_where_http_is_allowed() -> None:
    assert decide_realm(HERE, "http://reg.example.com/token", Trust(allow_http=True), domain_of) is not None


def test_an_address_has_no_registrable_domain_whatever_a_list_says() -> None:
    refused = decide_realm("https://10.0.0.1/", "https://11.9.0.1/", OPEN, lambda _: "0.1")
    assert refused is not None
