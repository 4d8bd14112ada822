"""Parse the header of the PROXY protocol, with which a load balancer tells for whom it opened a connection.

It comes once, before everything else on the connection, also before TLS. Versions 1 (a line of text) and 2 (binary), as
the specification of HAProxy describes them (proxy-protocol.txt). Pure.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

MAX_LINE = 107  # bytes of a header of version 1, with its end (section 2.1)
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
FIXED_SIZE = 16  # bytes of a header of version 2 before the addresses
MAX_REST = 4096  # bytes that may follow in version 2: addresses, and what balancers add about TLS

# by family and kind of socket: how long the addresses and ports are in version 2
SIZE_IPV4 = 12
SIZE_IPV6 = 36
TCP_IPV4 = 0x11
TCP_IPV6 = 0x21


@dataclass(frozen=True)
class ProxyHeader:
    """A complete header: its size in bytes, and the client's address and port.

    The client is None when the balancer opened the connection for itself, such as for a health check, or says nothing
    about the client.
    """

    size_bytes: int
    client: tuple[str, int] | None


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """Parse the header that `data`, the first bytes of a connection, begins with.

    Returns None while the header is incomplete. Raises ValueError, which says why, for anything that cannot become one.
    """
    if data.startswith(SIGNATURE):
        return _parse_binary(data)
    if SIGNATURE.startswith(data):
        return None
    return _parse_line(data)


def _parse_line(data: bytes) -> ProxyHeader | None:
    begin = b"PROXY "
    if not data.startswith(begin[: len(data)]):
        raise ValueError("there is no PROXY protocol header")
    line, end, _ = data[:MAX_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= MAX_LINE:
            raise ValueError("the line of the header has no end")
        return None
    size = len(line) + len(end)
    words = line.decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader(size, None)
    if words[1] not in ("TCP4", "TCP6") or len(words) != 6:
        raise ValueError("the line of the header is not PROXY TCP4 or TCP6, two addresses and two ports")
    client, _server = (_address(text, words[1]) for text in words[2:4])
    port, _server_port = map(_port, words[4:])
    return ProxyHeader(size, (client, port))


def _address(text: str, family: str) -> str:
    kind = IPv4Address if family == "TCP4" else IPv6Address
    try:
        address = kind(text)
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise ValueError(f"an address of the header is not one of {family}")
    return _plain(address)


def _plain(address: IPv4Address | IPv6Address) -> str:
    """Return the text of an address; of an IPv4 address that is written as IPv6, the IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536):
        raise ValueError("a port of the header is not a number up to 65535")
    return int(text)


def _parse_binary(data: bytes) -> ProxyHeader | None:
    if len(data) < FIXED_SIZE:
        return None
    version, command = data[12] >> 4, data[12] & 0xF
    kind, rest_size = data[13], int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1:
        raise ValueError("the header is of an unknown version or command")
    if rest_size > MAX_REST:
        raise ValueError(f"the header is larger than {MAX_REST} bytes")
    if len(data) < FIXED_SIZE + rest_size:
        return None
    size = FIXED_SIZE + rest_size
    rest = data[FIXED_SIZE:size]
    if command == 0 or kind not in (TCP_IPV4, TCP_IPV6):
        return ProxyHeader(size, None)
    if kind == TCP_IPV4 and rest_size >= SIZE_IPV4:
        return ProxyHeader(size, (str(IPv4Address(rest[:4])), int.from_bytes(rest[8:10], "big")))
    if kind == TCP_IPV6 and rest_size >= SIZE_IPV6:
        return ProxyHeader(size, (_plain(IPv6Address(rest[:16])), int.from_bytes(rest[32:34], "big")))
    raise ValueError("the header is too short for the addresses that it says to have")
