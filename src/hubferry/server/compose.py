"""The composition root: settings -> an application with every part in place."""

import asyncio
import errno
import platform
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from publicsuffixlist import PublicSuffixList

from hubferry.core.access import Credential, Identities
from hubferry.core.client import Network, comes_from
from hubferry.core.http import Request
from hubferry.core.platforms import parse_platforms
from hubferry.core.redirect import trust_of
from hubferry.core.routing import table_of
from hubferry.core.settings import ServerSettings, Settings, UpstreamSettings
from hubferry.core.values import ConfigError, parse_accounts, toml_key
from hubferry.core.warm import parse_tagged
from hubferry.fill.fills import Fills
from hubferry.fill.parts import Effort
from hubferry.ports import EventLog, Sealer
from hubferry.pull import Gateway, Keep
from hubferry.pull.checked_manifests import CheckedManifests
from hubferry.pull.system_clock import SystemClock
from hubferry.pull.target import Origin
from hubferry.server.app import App
from hubferry.server.clients import ClientLimits
from hubferry.server.keep_warm import KeepWarm
from hubferry.server.log import AccessLog, Events, is_readable, logger
from hubferry.server.pages import ReadMetrics, build_pages
from hubferry.server.seal import JweSealer
from hubferry.store.blobs import BlobStore
from hubferry.store.content import FileStore
from hubferry.store.housekeeping import Housekeeping
from hubferry.store.index import SqliteIndex
from hubferry.store.layout import Layout
from hubferry.store.ledger import Ledger, Limits, Removed
from hubferry.upstream.client import SocketUpstream

if TYPE_CHECKING:
    from hubferry.server.metrics import Counters

MAX_SECRETS = 2**20  # of a file with a password, or with accounts


@dataclass(frozen=True)
class Parts:
    """A gateway in its place, how many blobs it is fetching, and how to take it down."""

    gateway: Gateway
    count_fills: Callable[[], int]
    close: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Keys:
    """What the workers of a server share: the key that seals tokens, and one that names logins and is in no file."""

    tokens: bytes
    identities: bytes


def build_app(settings: Settings, keys: Keys) -> App:
    """The application of one worker process. Raises ConfigError for a file that cannot be read."""
    counters = build_counters(settings)
    parts = build_parts(
        settings,
        JweSealer(keys.tokens),
        Events(),
        counters,
        evicted=report_evicted(counters),
        identities=Identities(keys.identities),
    )
    trusted = networks(settings.server.trusted_proxies)
    readers = networks(settings.server.metrics_from)
    read_metrics = None if counters is None else metrics_reader(counters, trusted, readers)
    pages = build_pages(table_of(settings), settings.server.public_url, read_metrics)
    schedule = build_schedule(settings, parts.gateway)

    async def shut_down() -> None:
        if schedule is not None:
            await schedule.close()
        await parts.close()

    access_log = AccessLog(readable=is_readable(settings.server.log_format), least=settings.server.log_level)
    start = None if schedule is None else schedule.start
    return App(
        parts.gateway,
        pages,
        access_log,
        trusted,
        shut_down,
        start=start,
        counters=counters,
        count_fills=parts.count_fills,
    )


def build_schedule(settings: Settings, gateway: Gateway) -> KeepWarm | None:
    """What keeps images warm beside the requests, if any are to be."""
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
    counters: "Counters | None" = None,
    *,
    evicted: Callable[[Removed], None],
    identities: Identities | None = None,
) -> Parts:
    """What answers requests, over sockets and a folder. Raises ConfigError for a file that cannot be read."""
    clock = SystemClock()
    upstream = SocketUpstream(settings.upstreams, clock, counters, settings.no_proxy)
    suffixes = PublicSuffixList()
    keep, index, house, blobs, fills = None, None, None, None, None
    if settings.cache.enabled:
        folder = Path(settings.cache.dir)
        index = SqliteIndex(folder, log, counters)
        limits = Limits(settings.cache.max_size.size_bytes, settings.cache.min_free.size_bytes)
        ledger = Ledger(Layout(folder), index.transact, limits, evicted=evicted)
        house = Housekeeping(Layout(folder), ledger, index.transact)
        house.start()
        blobs = BlobStore(folder, ledger, log)
        unwatched_bytes = settings.cache.max_unwatched.size_bytes
        effort = Effort(
            settings.cache.patience.seconds, settings.cache.connections, settings.cache.parallel_from.size_bytes
        )
        fills = Fills(blobs, log, unwatched_bytes=unwatched_bytes, effort=effort, metrics=counters)
        keep = Keep(index, FileStore(folder, ledger), blobs, fills)
    gateway = Gateway(
        settings,
        table_of(settings),
        build_origins(settings),
        upstream=upstream,
        manifests=CheckedManifests(upstream),
        sealer=sealer,
        clock=clock,
        log=log,
        registrable_domain=suffixes.privatesuffix,
        keep=keep,
        identities=identities,
        metrics=counters,
    )

    def count_fills() -> int:
        return 0 if fills is None else fills.count()

    async def close() -> None:
        await gateway.close()
        if fills is not None:
            await fills.close()
        if blobs is not None:
            await blobs.close()
        await upstream.close()
        if house is not None:
            await asyncio.to_thread(house.close)
        if index is not None:
            await index.close()

    return Parts(gateway, count_fills, close)


def build_client_limits(server: ServerSettings) -> ClientLimits:
    """What clients' connections are held to."""
    return ClientLimits(
        server.write_timeout.seconds,
        server.min_client_rate.size_bytes,
        server.connections_per_address,
        networks(server.trusted_proxies),
    )


def networks(texts: Sequence[str]) -> list[Network]:
    """Networks of checked settings."""
    return [ip_network(text) for text in texts]


def build_counters(settings: Settings) -> "Counters | None":
    """What counts for `/metrics`, when there is anybody who may read it."""
    if not settings.server.metrics_from:
        return None
    from hubferry.server.metrics import Counters  # noqa: PLC0415 - not before run.py has said where counts go

    return Counters(settings.upstreams)


def metrics_reader(counters: "Counters", trusted: Sequence[Network], readers: Sequence[Network]) -> ReadMetrics:
    """What `/metrics` answers."""

    async def read(arrived: Request) -> bytes | None:
        return await counters.exposition() if comes_from(arrived, trusted, readers) else None

    return read


def report_evicted(counters: "Counters | None") -> Callable[[Removed], None]:
    """What becomes of the ledger's word that something had to go; called on threads."""

    def report(removed: Removed) -> None:
        logger().info("evicted", files=removed.files, bytes=removed.size_bytes)
        if counters is not None:
            counters.evicted(removed)

    return report


def load_tls(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context, None for plain HTTP. Raises ConfigError when the files cannot be used."""
    server = settings.server
    if not server.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # some clients resume only there
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except (OSError, ssl.SSLError) as error:
        problem = f"{server.tls_cert} and {server.tls_key} cannot be used ({error}): check both files"
        raise ConfigError("server.tls_cert", problem) from None
    return context


def build_origins(settings: Settings) -> list[Origin]:
    """Every upstream with what its operator allows and its account. Raises ConfigError."""
    return [build_origin(name, upstream) for name, upstream in settings.upstreams.items()]


def build_origin(name: str, upstream: UpstreamSettings) -> Origin:
    """One upstream. Raises ConfigError when its password, accounts or CA file cannot be read."""
    accounts = []
    if upstream.username:
        password = upstream.password or _read(name, "password_file", upstream.password_file)
        accounts.append(Credential(upstream.username, password))
    if upstream.accounts_file:
        accounts += _read_accounts(name, upstream.accounts_file)
    if upstream.ca_file:
        _check_authorities(name, upstream.ca_file)
    return Origin(name, upstream, trust_of(upstream), tuple(dict.fromkeys(accounts)))


def _check_authorities(name: str, path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it holds no PEM certificate"
        raise ConfigError(f"upstreams.{toml_key(name)}.ca_file", f"{path} cannot be used ({reason})") from None


def _read_accounts(name: str, path: str) -> list[Credential]:
    try:
        return [Credential(*pair) for pair in parse_accounts(_read(name, "accounts_file", path))]
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
