"""Ask one upstream or gateway step by step, with the transport, tokens and exchanges that a server uses."""

import asyncio
import contextlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from hubferry.clock import SystemClock
from hubferry.core.diagnosis import Seen
from hubferry.core.diagnosis_machine import skew_s
from hubferry.core.exchange import REDIRECTS, Send
from hubferry.core.headers import UNENCODED
from hubferry.core.http import get
from hubferry.core.no_proxy import NoProxy
from hubferry.core.redirect import Refused, decide_hop, origin
from hubferry.ports.shell import UNCOUNTED
from hubferry.ports.upstream import UpstreamFailure
from hubferry.remote.exchanges import USER_AGENT, Exchanges
from hubferry.remote.limits import RateLimits
from hubferry.remote.single_flight import SharedTasks
from hubferry.remote.target import Upstream
from hubferry.remote.tokens import UpstreamTokens
from hubferry.server.domains import registrable_domain
from hubferry.transport.addresses import resolve
from hubferry.transport.client import SocketTransport, StreamedResponse
from hubferry.transport.connect import Connector, Destination

MAX_BEGINNING = 4096  # bytes of a body that is only looked at


class Silent:
    """The `EventLog` port: what would be logged is in the findings."""

    def warning(self, event: str, fields: Mapping[str, object]) -> None:
        """Leave an event out: what it would say is judged from the answers."""


class Probe:
    """Everything that asks one upstream. `skews` collects by how many seconds this clock is ahead of each host's."""

    def __init__(self, upstream: Upstream, no_proxy: NoProxy, skews: dict[str, float]) -> None:
        self.upstream = upstream
        self.no_proxy = no_proxy
        self.skews = skews
        self.clock = SystemClock()
        settings = {upstream.name: upstream.settings}
        self.transport = SocketTransport(settings, self.clock, no_proxy=no_proxy)
        limits = RateLimits(self.clock, Silent(), UNCOUNTED, {upstream.name: upstream.accounts})
        self.tokens = UpstreamTokens(
            self.transport,
            limits,
            self.clock,
            Silent(),
            registrable_domain=registrable_domain,
            single_flight=SharedTasks(),
        )
        self.exchanges = Exchanges(self.transport, self.tokens, Silent())
        self._connector = Connector(settings, no_proxy, self.clock)

    def proxy(self, url: str) -> str:
        """Return the proxy that a URL is reached through; empty: directly. It may contain a password."""
        _, host, port = origin(url)
        return "" if self.no_proxy.matches(host, port) else self.upstream.settings.proxy

    async def addresses(self, url: str) -> list[str]:
        """Return the addresses of a URL's host within `connect_timeout`. Raises OSError, TimeoutError, UnicodeError."""
        _, host, port = origin(url)
        async with asyncio.timeout(self.upstream.settings.connect_timeout.seconds):
            found = await resolve(host, port)
        return list(dict.fromkeys(str(item[4][0]).partition("%")[0] for item in found))

    async def connect(self, url: str) -> float:
        """Connect to a URL's host, with TLS for https, and return the seconds that it took. Raises UpstreamFailure."""
        started = self.clock.monotonic()
        wire = await self._connector.connect(Destination(self.upstream.name, *origin(url)))
        wire.close()
        return self.clock.monotonic() - started

    async def look(self, url: str) -> Seen:
        """Return the answer to a GET, after redirects that may be followed. Raises UpstreamFailure."""
        for hops in range(10):
            response = await self.send("GET", url)
            if response.status in REDIRECTS:
                target = decide_hop(url, get(response.headers, "location"), hops, self.upstream.trust)
                if not isinstance(target, Refused):
                    await response.body.close()
                    url = target
                    continue
            break
        return Seen(url, response.status, response.headers, await self._beginning(response))

    async def send(self, method: str, url: str) -> StreamedResponse:
        """Perform one request, and note the clock of whoever answers. Raises UpstreamFailure."""
        headers = (*UNENCODED, ("user-agent", USER_AGENT))
        response = await self.transport.send(self.upstream.name, Send(method, url, headers))
        ahead_s = skew_s(response.headers, self.clock.time())
        if ahead_s is not None:
            self.skews[urlsplit(url).netloc.rpartition("@")[2]] = ahead_s
        return response

    async def _beginning(self, response: StreamedResponse) -> bytes:
        """Return the first bytes of a body, which is then closed; what breaks it off is no matter here."""
        beginning = b""
        with contextlib.suppress(UpstreamFailure):
            while len(beginning) < MAX_BEGINNING and (piece := await response.body.read()) is not None:
                beginning += piece
        await response.body.close()
        return beginning[:MAX_BEGINNING]

    async def close(self) -> None:
        """Close the connections of the transport. The probe cannot be used after that."""
        await self.transport.close()
