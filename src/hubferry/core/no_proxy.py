"""Parse NO_PROXY: which hosts are reached directly although their upstream has a proxy.

Pure. There is no standard. hubferry does what docker and containerd do, because they read the same variable (Go's
golang.org/x/net/http/httpproxy). curl agrees with all of it except a leading dot:
- entries are separated by commas or white space; case and a dot at the end do not matter;
- `*` is every host;
- `example.com` is that name and all names below it, `.example.com` and `*.example.com` only those below it;
- an address or a network (`10.0.0.0/8`) applies to hosts that are written as addresses; no name is looked up for it;
- `:port` behind a name or an address restricts the entry to that port; IPv6 then needs its brackets.
Entries that cannot be read are ignored, as in every other program, because the variable is not only for hubferry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class _Name:
    suffix: str  # the name with a dot in front
    with_itself: bool
    port: int | None

    def matches(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        return host.endswith(self.suffix) or (self.with_itself and host == self.suffix[1:])


@dataclass(frozen=True, slots=True)
class _Network:
    network: Network
    port: int | None

    def matches(self, address: Address, port: int) -> bool:
        return self.port in (None, port) and address in self.network


@dataclass(frozen=True, slots=True)
class NoProxy:
    """The hosts that are reached without a proxy. Without entries there are none."""

    everything: bool = False
    names: tuple[_Name, ...] = ()
    networks: tuple[_Network, ...] = ()

    def matches(self, host: str, port: int) -> bool:
        """Return whether a host is reached directly. `host` is as in a URL, but without the brackets of IPv6."""
        if self.everything:
            return True
        address = _address(host)
        if address is not None:
            return any(entry.matches(address, port) for entry in self.networks)
        host = host.lower().rstrip(".")
        return any(entry.matches(host, port) for entry in self.names)


def no_proxy_of(environ: Mapping[str, str]) -> NoProxy:
    """Parse the variable `NO_PROXY` or, where that is empty or missing, `no_proxy`."""
    return parse_no_proxy(environ.get("NO_PROXY") or environ.get("no_proxy") or "")


def parse_no_proxy(text: str) -> NoProxy:
    """Parse the value of the variable. Entries that cannot be read are ignored."""
    entries = [entry for entry in text.replace(",", " ").split() if entry]
    if "*" in entries:
        return NoProxy(everything=True)
    names: list[_Name] = []
    networks: list[_Network] = []
    for entry in entries:
        network = _network(entry)
        host, port = (entry, None) if network else _divided(entry)
        network = network or _network(host)
        if network:
            networks.append(_Network(network, port))
        elif name := _name(host, port):
            names.append(name)
    return NoProxy(names=tuple(names), networks=tuple(networks))


def _divided(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    if not colon:
        return entry, None
    if not port.isdecimal() or not port.isascii() or len(port) > 5:
        return "", None
    return host, int(port)


def _name(host: str, port: int | None) -> _Name | None:
    suffix = host.lower().rstrip(".").removeprefix("*")
    if not suffix.strip(".") or any(letter in suffix for letter in "*:/[]"):
        return None
    return _Name("." + suffix.removeprefix("."), with_itself=not host.startswith((".", "*")), port=port)


def _network(text: str) -> Network | None:
    address = _address(text)
    if address is not None:
        return ip_network(address)
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _address(text: str) -> Address | None:
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ip_address(inner)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
