"""Resolve a host name and keep only the addresses that may be dialled.

The client connects to exactly the address that was checked here, so a name that changes its mind between check
and connect (DNS rebinding) gains nothing.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from hubferry.core.redirect import address_problem, literal_problem
from hubferry.ports import Cause, UpstreamFailure


async def checked_addresses(host: str, port: int, *, allow_private: bool) -> list[str]:
    """Addresses of a host in the resolver's order of preference.

    Raises UpstreamFailure: DNS when the name does not resolve, ADDRESS when any
    of its addresses may not be dialled: a name that points inside as well as outside is not to be trusted.
    """
    literal = _literal(host)
    if literal is None:
        if not allow_private and (problem := literal_problem(host)):
            raise UpstreamFailure(Cause.ADDRESS, host, problem)
        addresses = await _resolve(host, port)
    else:
        addresses = [literal]
    for address in addresses:
        if not allow_private and (problem := address_problem(address)):
            raise UpstreamFailure(
                Cause.ADDRESS, host, f"{problem}; allow_private_addresses = true allows it for this upstream"
            )
    return [str(address) for address in addresses]


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


async def _resolve(host: str, port: int) -> list[IPv4Address | IPv6Address]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UpstreamFailure(Cause.DNS, host, getattr(error, "strerror", "") or "not a name") from None
    unique = dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found)
    return [ip_address(text) for text in unique]
