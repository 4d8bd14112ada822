"""The composition root of the server: settings -> an application with every part in place."""

import asyncio
import errno
import platform
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from hubferry.clock import SystemClock
from hubferry.core.access import Credential, Identities
from hubferry.core.client import Network, comes_from
from hubferry.core.http import Request
from hubferry.core.platforms import parse_platforms
from hubferry.core.redirect import trust_of
from hubferry.core.routing import table_of
from hubferry.core.settings import LimitSettings, ServerSettings, Settings, UpstreamSettings
from hubferry.core.values import ConfigError, parse_accounts, toml_key
from hubferry.core.warm import parse_tagged
from hubferry.fill.bounds import Effort
from hubferry.fill.fills import LocalFills
from hubferry.gateway.build import ShellParts, build_gateway
from hubferry.gateway.gateway import Gateway
from hubferry.gateway.operators import Operators
from hubferry.pages.site import Site
from hubferry.ports.shell import UNCOUNTED, EventLog, Metrics, Sealer
from hubferry.ports.upstream import Transport
from hubferry.pull.services import DiskCache
from hubferry.remote.fetch import WaitLimits
from hubferry.remote.target import Upstream
from hubferry.server.activity import Activity, FetchedCounter
from hubferry.server.app import App, ReadMetrics
from hubferry.server.audit import AuditLog
from hubferry.server.board import ServerBoard
from hubferry.server.clients import ClientLimits
from hubferry.server.domains import registrable_domain
from hubferry.server.keep_warm import KeepWarm
from hubferry.server.log import AccessLog, Events, is_readable, logger
from hubferry.server.passwords import BcryptPasswords
from hubferry.server.seal import JweSealer
from hubferry.server.watched_users import WatchedUsers
from hubferry.store.blobs import FileBlobs
from hubferry.store.content import FileStore
from hubferry.store.housekeeping import Housekeeping
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout
from hubferry.store.ledger import CacheLimits, Ledger, Removed
from hubferry.transport.client import SocketTransport

if TYPE_CHECKING:
    from hubferry.server.metrics import Counters
    from hubferry.server.usage import Usage

MAX_SECRETS = 2**20  # bytes in a file with a password or with accounts


@dataclass(frozen=True)
class Parts:
    """A gateway with everything that it needs.

    `users` are the gateway's own, None without any; they can be watched. `usage` counts what clients use; None: nothing
    is limited. `count_fills` returns how many blobs it is fetching at the moment. `close` stops everything and releases
    it.
    """

    gateway: Gateway
    users: WatchedUsers | None
    usage: "Usage | None"
    count_fills: Callable[[], int]
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Keys:
    """The keys that all workers of a server share.

    `tokens` seals tokens. `identities` gives logins their names (core.access.Identities); it is in no file.
    """

    tokens: bytes
    identities: bytes


def build_app(settings: Settings, keys: Keys) -> App:
    """Return the application of one worker process. Raises ConfigError for a file that cannot be read."""
    counters = build_counters(settings)
    audit = AuditLog(settings.audit.file) if settings.audit.file else None
    activity = build_activity(settings)
    metrics: Metrics = UNCOUNTED if counters is None else counters
    parts = build_parts(
        settings,
        JweSealer(keys.tokens),
        Events(),
        metrics if activity is None else FetchedCounter(activity, metrics),
        evicted=report_evicted(counters),
        identities=Identities(keys.identities),
    )
    trusted = networks(settings.server.trusted_proxies)
    readers = networks(settings.server.metrics_from)
    read_metrics = None if counters is None else metrics_reader(counters, trusted, readers)
    board = None
    if activity is not None:
        operators = Operators(settings.pages.operators, trusted, parts.gateway.visitors)
        board = ServerBoard(settings, parts.gateway, operators, activity, audit=audit)
    site = Site(settings, table_of(settings), parts.gateway, SystemClock(), board)
    beside = [one for one in (build_schedule(settings, parts.gateway), parts.users, activity) if one is not None]

    def start() -> None:
        for one in beside:
            one.start()

    async def shut_down() -> None:
        if board is not None:
            await board.close()
        for one in beside:
            await one.close()
        await parts.close()
        if audit is not None:
            audit.close()

    access_log = AccessLog(readable=is_readable(settings.server.log_format), least=settings.server.log_level)
    return App(
        parts.gateway,
        site,
        access_log,
        trusted,
        shut_down,
        start=start,
        counters=counters,
        read_metrics=read_metrics,
        count_fills=parts.count_fills,
        usage=parts.usage,
        audit=audit,
        activity=activity,
        end_streams=(lambda: None) if board is None else board.end_streams,
    )


def build_activity(settings: Settings) -> Activity | None:
    """Return what counts for the status page, or None when nobody may see it."""
    if not settings.pages.operators.who:
        return None
    return Activity(Path(settings.cache.dir) / "activity" if settings.cache.enabled else None)


def build_schedule(settings: Settings, gateway: Gateway) -> KeepWarm | None:
    """Return the schedule that keeps images warm, or None when `warm.images` is empty."""
    if not settings.warm.images:
        return None
    images = [parse_tagged(text, settings.upstreams, settings.default_upstream) for text in settings.warm.images]
    platforms = parse_platforms(settings.warm.platforms, platform.machine())
    lock = Path(settings.cache.dir) / "warm.lock"
    return KeepWarm(gateway.warmer(), images, platforms, every_s=settings.warm.every.seconds, lock=lock)


def build_parts(
    settings: Settings,
    sealer: Sealer,
    log: EventLog,
    metrics: Metrics = UNCOUNTED,
    *,
    evicted: Callable[[Removed], None],
    identities: Identities | None = None,
    transport: Transport | None = None,
) -> Parts:
    """Return a gateway over sockets and, with `cache.enabled`, a cache folder.

    `evicted` is told what was removed from the cache to make room. `transport` takes the place of the sockets; whoever
    gave it closes it. Raises ConfigError for a file that cannot be read.
    """
    upstreams = build_upstreams(settings)  # first: nothing was begun that a failure would leave behind
    clock = SystemClock()
    users = WatchedUsers(settings.access) if settings.access.login == "users" else None
    usage = build_usage(settings)
    tokens = None
    if settings.access.issuers.rows:
        check_issuers(settings)
        from hubferry.server.oidc import OidcTokens  # noqa: PLC0415 - nobody else waits for it at the start

        tokens = OidcTokens(settings.access.issuers, clock, settings.no_proxy)
    sockets = SocketTransport(settings.upstreams, clock, metrics, settings.no_proxy, usage)
    cache, index, housekeeping, blobs, fills = None, None, None, None, None
    if settings.cache.enabled:
        folder = Path(settings.cache.dir)
        index = SqliteIndex(folder, log, metrics)
        limits = CacheLimits(settings.cache.max_size.size_bytes, settings.cache.min_free.size_bytes)
        ledger = Ledger(Layout(folder), index.transact, limits, evicted=evicted)
        housekeeping = Housekeeping(Layout(folder), ledger, index.transact)
        housekeeping.start()
        blobs = FileBlobs(folder, ledger, log)
        unwatched_bytes = settings.cache.max_unwatched.size_bytes
        effort = Effort(
            settings.cache.patience.seconds, settings.cache.connections, settings.cache.parallel_from.size_bytes
        )
        fills = LocalFills(blobs, log, unwatched_bytes=unwatched_bytes, effort=effort, metrics=metrics)
        cache = DiskCache(index, FileStore(folder, ledger), blobs, fills)
    brought = ShellParts(
        transport=transport or sockets,
        sealer=sealer,
        clock=clock,
        log=log,
        registrable_domain=registrable_domain,
        cache=cache,
        identities=identities,
        metrics=metrics,
        users=users,
        passwords=None if users is None else BcryptPasswords(),
        tokens=tokens,
        reads_bodies=True,
        # what takes the place of sockets answers at once or never: nothing is gained by asking it again
        wait_limits=WaitLimits() if transport is None else WaitLimits(pauses_s=()),
    )
    gateway = build_gateway(settings, table_of(settings), upstreams, brought)

    def count_fills() -> int:
        return 0 if fills is None else fills.count()

    async def close() -> None:
        await gateway.close()
        if fills is not None:
            await fills.close()
        if blobs is not None:
            await blobs.close()
        await sockets.close()
        if tokens is not None:
            await tokens.close()
        if housekeeping is not None:
            await asyncio.to_thread(housekeeping.close)
        if index is not None:
            await index.close()

    return Parts(gateway, users, usage, count_fills, close)


def build_usage(settings: Settings) -> "Usage | None":
    """Return what counts how much clients use, or None when nothing is limited."""
    if settings.limits == LimitSettings():
        return None
    from hubferry.server.usage import Usage  # noqa: PLC0415 - nobody else waits for its library at the start

    return Usage(settings.limits, settings.server.workers)


def build_client_limits(server: ServerSettings) -> ClientLimits:
    """Return the limits for the connections of clients."""
    return ClientLimits(
        server.write_timeout.seconds,
        server.min_client_rate.size_bytes,
        server.connections_per_address,
        networks(server.trusted_proxies),
    )


def networks(texts: Sequence[str]) -> list[Network]:
    """Parse networks of settings that were checked before."""
    return [ip_network(text) for text in texts]


def build_counters(settings: Settings) -> "Counters | None":
    """Return the counters for `/metrics`, or None when nobody may read it."""
    if not settings.server.metrics_from:
        return None
    from hubferry.server.metrics import Counters  # noqa: PLC0415 - not before run.py has set the folder for counts

    return Counters(settings.upstreams)


def metrics_reader(counters: "Counters", trusted: Sequence[Network], readers: Sequence[Network]) -> ReadMetrics:
    """Return a function that returns the text of `/metrics`, or None for a client that may not read it.

    `trusted` are the networks of trusted proxies, `readers` those of the clients that may read the metrics.
    """

    async def read(arrived: Request) -> bytes | None:
        return await counters.exposition() if comes_from(arrived, trusted, readers) else None

    return read


def report_evicted(counters: "Counters | None") -> Callable[[Removed], None]:
    """Return a function that logs and counts what was removed from the cache. It is called on threads."""

    def report(removed: Removed) -> None:
        logger().info("evicted", files=removed.files, bytes=removed.size_bytes)
        if counters is not None:
            counters.evicted(removed)

    return report


def load_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context, or None for plain HTTP. Raises ConfigError when the files cannot be used."""
    server = settings.server
    if not server.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # some clients resume a download only over HTTP/1.1
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except (OSError, ssl.SSLError) as error:
        problem = f"{server.tls_cert} and {server.tls_key} cannot be used ({error}): check both files"
        raise ConfigError("server.tls_cert", problem) from None
    return context


def build_upstreams(settings: Settings) -> list[Upstream]:
    """Return every upstream with its accounts and with what the operator allows for it. Raises ConfigError."""
    return [build_upstream(name, upstream) for name, upstream in settings.upstreams.items()]


def build_upstream(name: str, upstream: UpstreamSettings) -> Upstream:
    """Return one upstream. Raises ConfigError when its password, accounts or CA file cannot be read."""
    accounts = []
    if upstream.username:
        password = upstream.password or _read(name, "password_file", upstream.password_file)
        accounts.append(Credential(upstream.username, password))
    if upstream.accounts_file:
        accounts += _read_accounts(name, upstream.accounts_file)
    if upstream.ca_file:
        _check_authorities(f"upstreams.{toml_key(name)}", upstream.ca_file)
    return Upstream(name, upstream, trust_of(upstream), tuple(dict.fromkeys(accounts)))


def check_issuers(settings: Settings) -> None:
    """Raise ConfigError for a CA file of an issuer that cannot be used."""
    for issuer in settings.access.issuers.rows:
        if issuer.ca_file:
            _check_authorities("access.issuers", issuer.ca_file)


def _check_authorities(setting: str, path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no PEM certificate"
        raise ConfigError(f"{setting}.ca_file", f"{path} cannot be used ({reason})") from None


def _read_accounts(name: str, path: str) -> list[Credential]:
    text = _read(name, "accounts_file", path)
    try:
        return [Credential(*pair) for pair in parse_accounts(text)]
    except ValueError as error:
        raise ConfigError(f"upstreams.{toml_key(name)}.accounts_file", f"{path}: {error}") from None


def _read(name: str, key: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_SECRETS + 1)
        if len(content) > MAX_SECRETS:
            raise OSError(errno.EFBIG, f"it is larger than {MAX_SECRETS} bytes")
        return content.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"upstreams.{toml_key(name)}.{key}",
            f"{path} cannot be read ({reason}): check path and permissions",
        ) from None
