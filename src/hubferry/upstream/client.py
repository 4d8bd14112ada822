"""The `Upstream` port on pyreqwest (reqwest and rustls under Python).

Why this client: docs/dependencies.md. What it is told: no redirects, no decoding, no proxy from the environment,
HTTP/1.1 (one connection per body, so that a slow reader stalls only its own), and the one address that was
checked. Hence one pooled client per (upstream, scheme, host, port), renewed when its address has aged.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError, ConnectTimeoutError, PyreqwestError, RequestTimeoutError
from pyreqwest.proxy import ProxyBuilder
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from hubferry.core.exchange import Send
from hubferry.core.http import Headers
from hubferry.core.redirect import literal_problem
from hubferry.core.redirect import origin as origin_of
from hubferry.core.settings import UpstreamSettings
from hubferry.ports import Cause, Clock, TooLarge, UpstreamFailure, UpstreamResponse
from hubferry.upstream.addresses import checked_addresses

CHUNK_BYTES: Final = 256 * 1024
MAX_CLIENTS = 128  # CDNs have a handful of host names; more is an upstream that redirects to ever new ones
ADDRESS_TTL_S = 60.0
MAX_ADDRESSES = 3


class StreamedBody:
    """A body as it arrives; `read` is for the server shell, `close` for everybody."""

    def __init__(self, stream: StreamRequest, response: Response, host: str) -> None:
        self._stream: StreamRequest | None = stream
        self._reader = response.body_reader
        self._host = host

    async def read(self, amount: int = CHUNK_BYTES) -> bytes | None:
        """Up to `amount` bytes as soon as some are there, None at the end. Raises UpstreamFailure."""
        try:
            chunk = await self._reader.read(amount)
        except PyreqwestError as error:
            raise failure_of(error, self._host) from None
        return None if chunk is None else bytes(chunk)

    async def close(self) -> None:
        """End the transfer and give the connection back, or close it when the body was not read to its end."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.__aexit__(None, None, None)


@dataclass(frozen=True, slots=True)
class StreamedResponse:
    """The head of one answer."""

    status: int
    headers: Headers
    body: StreamedBody


@dataclass(frozen=True, slots=True)
class _Pool:
    client: Client
    expires_at: float


_Key = tuple[str, str, str, int]


class ReqwestUpstream:
    """Performs single HTTP exchanges with the hosts of configured upstreams."""

    def __init__(self, upstreams: Mapping[str, UpstreamSettings], clock: Clock) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self._pools: OrderedDict[_Key, _Pool] = OrderedDict()

    async def send(self, upstream: str, request: Send) -> StreamedResponse:
        """See ports.Upstream. A connection that fails is tried on the host's next address."""
        settings = self._upstreams[upstream]
        scheme, host, port = origin_of(request.url)
        key = (upstream, scheme, host, port)
        pool = self._pools.get(key)
        if pool is not None and self._clock.monotonic() < pool.expires_at:
            self._pools.move_to_end(key)
            return await self._send(pool, settings, request, host)
        failure: UpstreamFailure | None = None
        for address in await self._addresses(settings, host, port):
            pool = _Pool(build_client(settings, host, port, address), self._clock.monotonic() + ADDRESS_TTL_S)
            try:
                response = await self._send(pool, settings, request, host)
            except UpstreamFailure as error:
                await pool.client.close()
                failure = error
                if error.cause is not Cause.TCP:
                    break
                continue
            self._keep(key, pool)
            return response
        raise failure or UpstreamFailure(Cause.DNS, host, "the name has no address")

    async def _addresses(self, settings: UpstreamSettings, host: str, port: int) -> list[str | None]:
        """The addresses to try; [None] when a proxy resolves the name, which only lets literals be checked."""
        if settings.proxy:
            if not settings.allow_private_addresses and (problem := literal_problem(host)):
                raise UpstreamFailure(Cause.ADDRESS, host, problem)
            return [None]
        found = await checked_addresses(
            host,
            port,
            allow_private=settings.allow_private_addresses,
            timeout_s=settings.connect_timeout.seconds,
        )
        return list(found[:MAX_ADDRESSES])

    async def _send(self, pool: _Pool, settings: UpstreamSettings, request: Send, host: str) -> StreamedResponse:
        builder = pool.client.request(request.method, request.url)
        for name, value in request.headers:
            builder = builder.header(name, value, is_sensitive=name == "authorization")
        # the limit is what pyreqwest reads ahead before it returns the head: nothing, or the first byte waits
        stream = builder.streamed_read_buffer_limit(0).build_streamed()
        try:
            async with asyncio.timeout(settings.response_timeout.seconds):
                response = await stream.__aenter__()
        except TimeoutError as error:
            if isinstance(error, PyreqwestError):
                raise failure_of(error, host) from None
            raise UpstreamFailure(Cause.TIMEOUT, host, "no response header") from None
        except PyreqwestError as error:
            raise failure_of(error, host) from None
        headers = tuple(response.headers.items())
        return StreamedResponse(response.status, headers, StreamedBody(stream, response, host))

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:
        """See ports.Upstream."""
        body = response.body
        if not isinstance(body, StreamedBody):
            raise TypeError("a body of another client")
        return await read_whole(body, limit_bytes)

    def _keep(self, key: _Key, pool: _Pool) -> None:
        # a replaced client is only dropped, never closed: bodies that it still carries keep it alive
        self._pools[key] = pool
        self._pools.move_to_end(key)
        while len(self._pools) > MAX_CLIENTS:
            self._pools.popitem(last=False)

    async def close(self) -> None:
        """Close every client."""
        pools, self._pools = self._pools, OrderedDict()
        for pool in pools.values():
            await pool.client.close()


def build_client(settings: UpstreamSettings, host: str, port: int, address: str | None) -> Client:
    """A client for one origin. `address` is the one it connects to; None leaves the name to the proxy."""
    builder = (
        ClientBuilder()
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .http1_only()
        .connect_timeout(timedelta(seconds=settings.connect_timeout.seconds))
        .read_timeout(timedelta(seconds=settings.read_timeout.seconds))
        .pool_max_idle_per_host(64)
    )
    if address is not None and address != host:
        builder = builder.resolve(host, address, port)
    if settings.ca_file:
        builder = builder.add_root_certificate_pem(Path(settings.ca_file).read_bytes())
    if settings.proxy:
        builder = builder.proxy(_proxy(settings.proxy))
    return builder.build()


def _proxy(url: str) -> ProxyBuilder:
    """socks5 means remote DNS here as well: a blocked network lies about names."""
    parts = urlsplit(url)
    scheme = "socks5h" if parts.scheme == "socks5" else parts.scheme
    proxy = ProxyBuilder.all(f"{scheme}://{parts.netloc.rpartition('@')[2]}")
    if parts.username:
        proxy = proxy.basic_auth(unquote(parts.username), unquote(parts.password or ""))
    return proxy


async def read_whole(body: StreamedBody, limit_bytes: int) -> bytes:
    """The whole body; always closes it. Raises TooLarge, UpstreamFailure."""
    parts: list[bytes] = []
    size = 0
    try:
        while (chunk := await body.read()) is not None:
            size += len(chunk)
            if size > limit_bytes:
                raise TooLarge(f"more than {limit_bytes} bytes")
            parts.append(chunk)
    finally:
        await body.close()
    return b"".join(parts)


def failure_of(error: PyreqwestError, host: str) -> UpstreamFailure:
    """pyreqwest's error as the port's; the URL (which may be signed) stays out of its text."""
    details = getattr(error, "details", None)
    causes = [str(cause.get("message", "")) for cause in (details or {}).get("causes") or []]
    last = causes[-1] if causes and "://" not in causes[-1] else ""
    connecting = "client error (Connect)" in causes
    if isinstance(error, ConnectTimeoutError | RequestTimeoutError):
        return UpstreamFailure(Cause.TIMEOUT, host, "connecting" if connecting else last)
    if isinstance(error, ConnectError) and connecting:
        if "dns error" in causes:
            return UpstreamFailure(Cause.DNS, host, last)
        if "tcp connect error" in causes:
            return UpstreamFailure(Cause.TCP, host, last)
        return UpstreamFailure(Cause.TLS, host, last)
    return UpstreamFailure(Cause.CUT, host, last)
