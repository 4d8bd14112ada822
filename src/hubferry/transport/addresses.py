"""Resolve a host name, and keep only the addresses that may be dialled.

The client connects to exactly the address that was checked here, so that a name that resolves differently between check
and connect (DNS rebinding) gains nothing.
"""

import asyncio
import contextlib
import errno
import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from hubferry.core.redirect import address_problem, literal_problem
from hubferry.ports.upstream import Cause, UpstreamFailure

Address = IPv4Address | IPv6Address
AddressInfo = tuple[Any, Any, int, str, Any]  # an entry of what socket.getaddrinfo returns


AT_ONCE = 4  # look-ups of one upstream's names


class Names:
    """Looks names up. A caller that asks for a name that is being looked up already waits for the same answer.

    A resolver that hangs holds a thread for each look-up. So each upstream has at most AT_ONCE of them: one whose names
    hang, or that redirects to ever new names, holds up nobody else.
    """

    def __init__(self) -> None:
        self._running: dict[tuple[str, str, int], asyncio.Task[list[Address]]] = {}
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def checked_addresses(self, host: str, port: int, *, upstream: str, allow_private: bool) -> list[str]:
        """Return the addresses of a host that an upstream named, in the resolver's order of preference.

        Raises UpstreamFailure: DNS when the name does not resolve, ADDRESS when any of its addresses may not be
        dialled. A name that points inside as well as outside is not to be trusted. With `allow_private` every address
        is allowed.
        """
        literal = _literal(host)
        if literal is None:
            if not allow_private and (problem := literal_problem(host)):
                raise UpstreamFailure(Cause.ADDRESS, host, problem)
            addresses = await self._resolve(host, port, upstream)
        else:
            addresses = [literal]
        for address in addresses:
            if not allow_private and (problem := address_problem(address)):
                raise UpstreamFailure(Cause.ADDRESS, host, problem)
        return [str(address) for address in addresses]

    async def _resolve(self, host: str, port: int, upstream: str) -> list[Address]:
        key = (upstream, host, port)  # not shared with other upstreams: it may wait for the turns of this one
        task = self._running.get(key)
        if task is None:
            turns = self._turns.setdefault(upstream, asyncio.Semaphore(AT_ONCE))
            task = asyncio.create_task(_look_up(host, port, turns))
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[str, str, int], done: asyncio.Task[list[Address]]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # marks it as retrieved: perhaps everybody who waited has given up


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


async def _look_up(host: str, port: int, turns: asyncio.Semaphore) -> list[Address]:
    try:
        async with turns:
            found = await resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise UpstreamFailure(Cause.DNS, host, getattr(error, "strerror", "") or "not a name") from None
    unique = dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found)
    return [ip_address(text) for text in unique]


async def resolve(host: str, port: int) -> list[AddressInfo]:
    """Return what socket.getaddrinfo returns for TCP. Raises OSError, UnicodeError.

    It runs on a thread of its own. uvloop's own getaddrinfo has two threads for all names, and a thread of a pool would
    keep the process from ending while a resolver hangs.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[AddressInfo]] = loop.create_future()

    def tell(result: list[AddressInfo] | BaseException) -> None:
        if not found.done():
            if isinstance(result, BaseException):
                found.set_exception(result)
            else:
                found.set_result(result)

    def run() -> None:
        result: list[AddressInfo] | BaseException
        try:
            result = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits has to learn of it
            result = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(tell, result)

    try:
        threading.Thread(target=run, name="resolve", daemon=True).start()
    except RuntimeError as error:  # there are as many threads as the machine allows
        raise OSError(errno.EAGAIN, f"no thread for looking it up ({error})") from None
    return await found
