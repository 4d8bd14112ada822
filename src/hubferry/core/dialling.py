"""Decide which addresses of a host name are dialled, and in which order.

Pure: takes times as arguments. At most MOST addresses are tried. Those that served lately come first, and those that
failed lately come last. IPv6 and IPv4 alternate (RFC 8305 section 4), so that an IPv4 address gets its turn in time in
a network whose IPv6 leads nowhere. Not here: looking names up (transport/addresses.py), dialling (transport/dial.py).
"""

from collections.abc import Sequence
from itertools import chain, zip_longest

MOST = 3
REMEMBERED_S = 600.0
MAX_REMEMBERED = 512  # pairs of host and address; CDNs have many names


class AddressHistory:
    """Remembers for REMEMBERED_S whether the last connection to each address succeeded or failed."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[bool, float]] = {}

    def served(self, host: str, address: str, now_s: float) -> None:
        """Note that a connection to the address was made, including the TLS handshake where there is one."""
        self._remember(host, address, now_s, is_good=True)

    def failed(self, host: str, address: str, now_s: float) -> None:
        """Note that no connection to the address could be made."""
        self._remember(host, address, now_s, is_good=False)

    def order(self, host: str, addresses: Sequence[str], now_s: float) -> list[str]:
        """Return the addresses to dial, at most MOST, the best first. `addresses` are in the resolver's order."""
        ranks = {address: self._rank(host, address, now_s) for address in addresses}
        return sorted(_in_turn(addresses), key=ranks.__getitem__)[:MOST]

    def _rank(self, host: str, address: str, now_s: float) -> int:
        is_good, until_s = self._known.get((host, address), (False, now_s))
        if until_s <= now_s:
            return 1
        return 0 if is_good else 2

    def _remember(self, host: str, address: str, now_s: float, *, is_good: bool) -> None:
        self._known.pop((host, address), None)
        while len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]  # the one that was noted longest ago
        self._known[host, address] = (is_good, now_s + REMEMBERED_S)


def _in_turn(addresses: Sequence[str]) -> list[str]:
    first = [address for address in addresses if (":" in address) == (":" in addresses[0])]
    other = [address for address in addresses if (":" in address) != (":" in addresses[0])]
    return [address for address in chain(*zip_longest(first, other)) if address is not None]
