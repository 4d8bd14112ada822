"""The headers of load balancers, as the specification writes them (proxy-protocol.txt)."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.proxy_protocol import MAX_LINE, MAX_REST, SIGNATURE, ProxyHeader, parse_proxy_header

Client = tuple[str, int] | None


def binary(client: str, server: str, *, command: int = 0x21, kind: int = 0x11, further: bytes = b"") -> bytes:
    """A header of version 2: port 5555 to port 443, and what a balancer adds."""
    ports = (5555).to_bytes(2, "big") + (443).to_bytes(2, "big")
    rest = ip_address(client).packed + ip_address(server).packed + ports + further
    return SIGNATURE + bytes((command, kind)) + len(rest).to_bytes(2, "big") + rest


WHOLE: dict[str, tuple[bytes, Client]] = {
    "a line, IPv4": (b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 443\r\n", ("192.0.2.1", 5555)),
    "a line, IPv6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 5555 443\r\n", ("2001:db8::1", 5555)),
    "a line of a check": (b"PROXY UNKNOWN\r\n", None),
    "a line of a check that says more": (b"PROXY UNKNOWN ffff:: ffff:: 1 2\r\n", None),
    "binary, IPv4": (binary("192.0.2.1", "198.51.100.1"), ("192.0.2.1", 5555)),
    "binary, IPv6": (binary("2001:db8::1", "2001:db8::2", kind=0x21), ("2001:db8::1", 5555)),
    "binary, IPv4 as IPv6": (binary("::ffff:192.0.2.1", "::ffff:192.0.2.2", kind=0x21), ("192.0.2.1", 5555)),
    "a line, IPv4 as IPv6": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 5555 443\r\n", ("192.0.2.1", 5555)),
    "binary, with more": (binary("192.0.2.1", "198.51.100.1", further=b"\x04\x00\x02ab"), ("192.0.2.1", 5555)),
    "binary, as large as allowed": (binary("192.0.2.1", "1.1.1.1", further=bytes(MAX_REST - 12)), ("192.0.2.1", 5555)),
    "binary, of a check": (SIGNATURE + b"\x20\x00\x00\x00", None),
    "binary, of a check that says more": (binary("192.0.2.1", "198.51.100.1", command=0x20), None),
    "binary, a Unix socket": (SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), None),
}


@pytest.mark.parametrize(("data", "client"), WHOLE.values(), ids=WHOLE.keys())
def test_a_header_is_read_wherever_it_is_cut_and_whatever_follows(data: bytes, client: Client) -> None:
    for size in range(len(data)):
        assert parse_proxy_header(data[:size]) is None, size
    assert parse_proxy_header(data) == ProxyHeader(len(data), client)
    assert parse_proxy_header(data + b"GET / HTTP/1.1\r\n\r\n") == ProxyHeader(len(data), client)


WRONG = {
    "HTTP": b"GET /v2/ HTTP/1.1\r\n",
    "TLS": b"\x16\x03\x01",
    "small letters": b"proxy TCP4",
    "no end": b"PROXY TCP4 " + b"1" * MAX_LINE,
    "an end that comes too late": b"PROXY UNKNOWN " + b"1" * MAX_LINE + b"\r\n",
    "no words": b"PROXY \r\n",
    "a word too few": b"PROXY TCP4 192.0.2.1 198.51.100.1 5555\r\n",
    "a word too many": b"PROXY TCP4 192.0.2.1 198.51.100.1 5555 443 1\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.1 5555 443\r\n",
    "another protocol": b"PROXY UDP4 192.0.2.1 198.51.100.1 5555 443\r\n",
    "no address": b"PROXY TCP4 localhost 198.51.100.1 5555 443\r\n",
    "an address of the other family": b"PROXY TCP4 2001:db8::1 198.51.100.1 5555 443\r\n",
    "a server of the other family": b"PROXY TCP4 192.0.2.1 2001:db8::1 5555 443\r\n",
    "an address with a zone": b"PROXY TCP6 fe80::1%eth0 2001:db8::1 5555 443\r\n",
    "letters for a port": b"PROXY TCP4 192.0.2.1 198.51.100.1 http 443\r\n",
    "a port too large": b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
    "a negative port": b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
    "digits that are not ASCII": "PROXY TCP4 192.0.2.1 198.51.100.1 \uff15 443\r\n".encode(),
    "binary, version 1": SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
    "binary, an unknown command": SIGNATURE + b"\x22\x11\x00\x0c" + bytes(12),
    "binary, too large": SIGNATURE + b"\x21\x11" + (MAX_REST + 1).to_bytes(2, "big"),
    "binary, too short for IPv4": SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11),
    "binary, too short for IPv6": SIGNATURE + b"\x21\x21\x00\x23" + bytes(35),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="header"):
        parse_proxy_header(data)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda b: SIGNATURE + b)), st.integers(0, 300))
def test_more_bytes_never_change_what_was_decided(data: bytes, size: int) -> None:
    """Whatever comes: an answer for the beginning of it is the answer for all of it."""

    def decided(part: bytes) -> object:
        try:
            return parse_proxy_header(part)
        except ValueError:
            return "refused"

    early = decided(data[:size])
    if early is not None:
        assert decided(data) == early
