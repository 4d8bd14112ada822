"""NO_PROXY as docker and containerd read it, entry by entry."""

import pytest

from hubferry.core.no_proxy import no_proxy_of, parse_no_proxy

Case = tuple[str, str, int, bool]  # the variable, a host, its port, whether it is reached directly
CASES: dict[str, Case] = {
    "nothing": ("", "example.com", 443, False),
    "only commas": (" , ,", "example.com", 443, False),
    "everything": ("*", "example.com", 443, True),
    "everything, an address": ("a.test, *", "10.0.0.1", 443, True),
    "a name": ("example.com", "example.com", 443, True),
    "a name below it": ("example.com", "registry.example.com", 443, True),
    "a name that only ends alike": ("example.com", "badexample.com", 443, False),
    "the name above it": ("registry.example.com", "example.com", 443, False),
    "another name": ("example.com", "example.org", 443, False),
    "a leading dot, below": (".example.com", "registry.example.com", 443, True),
    "a leading dot, two below": (".example.com", "a.b.example.com", 443, True),
    "a leading dot, itself": (".example.com", "example.com", 443, False),
    "a star and a dot, below": ("*.example.com", "registry.example.com", 443, True),
    "a star and a dot, itself": ("*.example.com", "example.com", 443, False),
    "a star in the middle means nothing": ("a*.example.com", "ab.example.com", 443, False),
    "a star and a port": ("*.example.com:5000", "a.example.com", 5000, True),
    "a name without dots": ("registry", "registry", 443, True),
    "a top level": ("test", "registry.test", 443, True),
    "the second of several": ("a.test,b.test", "b.test", 443, True),
    "divided by spaces": ("a.test  b.test\tc.test", "b.test", 443, True),
    "divided by both": (" a.test ,  b.test ", "a.test", 443, True),
    "upper case in the variable": ("Example.COM", "example.com", 443, True),
    "upper case in the host": ("example.com", "EXAMPLE.com", 443, True),
    "a dot at the end of the entry": ("example.com.", "example.com", 443, True),
    "a dot at the end of the host": ("example.com", "example.com.", 443, True),
    "a port that is the same": ("example.com:5000", "example.com", 5000, True),
    "a port that is the same, below": ("example.com:5000", "a.example.com", 5000, True),
    "another port": ("example.com:5000", "example.com", 443, False),
    "a port that is none": ("example.com:http", "example.com", 80, False),
    "an address": ("10.0.0.1", "10.0.0.1", 443, True),
    "another address": ("10.0.0.1", "10.0.0.10", 443, False),
    "an address and its port": ("10.0.0.1:5000", "10.0.0.1", 5000, True),
    "an address and another port": ("10.0.0.1:5000", "10.0.0.1", 443, False),
    "the end of an address is no suffix": ("0.0.1", "10.0.0.1", 443, False),
    "a network": ("10.0.0.0/8", "10.200.3.4", 443, True),
    "outside of the network": ("10.0.0.0/8", "11.0.0.1", 443, False),
    "a network with host bits": ("10.1.2.3/8", "10.200.3.4", 443, True),
    "a network is for no name": ("0.0.0.0/0", "example.com", 443, False),
    "a network that is none": ("10.0.0.0/99", "10.0.0.1", 443, False),
    "IPv6": ("2001:db8::1", "2001:db8::1", 443, True),
    "IPv6 in brackets": ("[2001:db8::1]", "2001:db8::1", 443, True),
    "IPv6 written otherwise": ("2001:0DB8:0::1", "2001:db8::1", 443, True),
    "IPv6 and its port": ("[2001:db8::1]:5000", "2001:db8::1", 5000, True),
    "IPv6 and another port": ("[2001:db8::1]:5000", "2001:db8::1", 443, False),
    "an IPv6 network": ("2001:db8::/32", "2001:db8:5::7", 443, True),
    "an IPv6 network, IPv4 host": ("::/0", "10.0.0.1", 443, False),
    "IPv4 within IPv6": ("10.0.0.0/8", "::ffff:10.0.0.1", 443, True),
    "junk beside something": ("https://a.test/, [, :, .., b.test", "b.test", 443, True),
    "a URL is no entry": ("https://a.test", "a.test", 443, False),
}


@pytest.mark.parametrize(("text", "host", "port", "direct"), CASES.values(), ids=CASES.keys())
def test_hosts_that_are_reached_without_a_proxy(text: str, host: str, port: int, direct: bool) -> None:
    assert parse_no_proxy(text).matches(host, port) is direct


@pytest.mark.parametrize(
    ("environ", "direct"),
    [
        ({}, False),
        ({"NO_PROXY": "a.test"}, True),
        ({"no_proxy": "a.test"}, True),
        ({"NO_PROXY": "b.test", "no_proxy": "a.test"}, False),
        ({"NO_PROXY": "", "no_proxy": "a.test"}, True),
    ],
)
def test_either_spelling_of_the_variable_counts_and_capitals_first(environ: dict[str, str], *, direct: bool) -> None:
    assert no_proxy_of(environ).matches("a.test", 443) is direct
