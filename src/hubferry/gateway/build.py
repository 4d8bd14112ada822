"""The composition of a gateway, which both shells share: remote/ below pull/ below gateway/."""

from collections.abc import Sequence
from dataclasses import dataclass

from hubferry.core.access import Identities
from hubferry.core.redirect import RegistrableDomain
from hubferry.core.routing import RoutingTable
from hubferry.core.rules import AccessPolicy
from hubferry.core.settings import Settings
from hubferry.gateway.admission import Admission
from hubferry.gateway.callers import Callers
from hubferry.gateway.download import Downloads
from hubferry.gateway.gateway import Gateway
from hubferry.gateway.login import Login
from hubferry.gateway.users import Users
from hubferry.gateway.visitors import Visitors
from hubferry.ports.shell import UNCOUNTED, Clock, EventLog, Metrics, PasswordChecker, Sealer, TokenChecker, UserSource
from hubferry.ports.upstream import Transport
from hubferry.pull.build import Remote, build_pull
from hubferry.pull.export import Exporter
from hubferry.pull.services import DiskCache, EdgeCache, Instruments
from hubferry.remote.exchanges import Exchanges
from hubferry.remote.fetch import Fetcher, WaitLimits
from hubferry.remote.limits import RateLimits
from hubferry.remote.lists import RemoteLists
from hubferry.remote.manifests import RemoteManifests
from hubferry.remote.search import Search
from hubferry.remote.single_flight import SharedTasks, SingleFlight
from hubferry.remote.target import Upstream
from hubferry.remote.tokens import UpstreamTokens


@dataclass(frozen=True, kw_only=True)
class ShellParts:
    """What a shell brings: how upstreams are reached, tokens sealed, time told, events logged and content kept.

    `cache` None: everything is streamed through. `identities` name logins in its index; None: by names that only this
    process knows. `users` and `passwords` are there with `access.login = "users"`, `tokens` with `access.issuers`.
    `single_flight` None: one task for all who ask the same. `reads_bodies`: the bodies that it gives can be read.
    """

    transport: Transport
    sealer: Sealer
    clock: Clock
    log: EventLog
    registrable_domain: RegistrableDomain
    cache: DiskCache | EdgeCache | None = None
    identities: Identities | None = None
    users: UserSource | None = None
    passwords: PasswordChecker | None = None
    tokens: TokenChecker | None = None
    metrics: Metrics = UNCOUNTED
    single_flight: SingleFlight | None = None
    wait_limits: WaitLimits = WaitLimits()  # noqa: RUF009 - frozen
    reads_bodies: bool = False


def build_gateway(settings: Settings, table: RoutingTable, upstreams: Sequence[Upstream], parts: ShellParts) -> Gateway:
    """Build the gateway of one resolved configuration from what a shell brings."""
    by_name = {upstream.name: upstream for upstream in upstreams}
    clock, log, transport, metrics = parts.clock, parts.log, parts.transport, parts.metrics
    single_flight = parts.single_flight or SharedTasks()
    limits = RateLimits(clock, log, metrics, {upstream.name: upstream.accounts for upstream in upstreams})
    tokens = UpstreamTokens(
        transport,
        limits,
        clock,
        log,
        registrable_domain=parts.registrable_domain,
        single_flight=single_flight,
    )
    fetcher = Fetcher(Exchanges(transport, tokens, log), limits, clock=clock, log=log, wait_limits=parts.wait_limits)
    remote = Remote(
        transport,
        fetcher,
        RemoteManifests(fetcher, transport, metrics),
        RemoteLists(fetcher, transport),
        single_flight,
    )
    instruments = Instruments(clock, log, metrics, parts.identities)
    pull = build_pull(settings, by_name, remote, parts.cache, instruments)
    is_open = settings.access.login == "open"
    admission = Admission(AccessPolicy(settings.access, settings.upstreams))
    login = Login(table, by_name, fetcher, parts.sealer, clock, is_open=is_open)
    users = None
    if settings.access.login == "users":
        if parts.users is None or parts.passwords is None:
            raise ValueError("who has users needs to know them")
        users = Users(parts.users, parts.passwords, clock, parts.tokens)
    callers = Callers(login, pull, admission, users=users, is_open=is_open)
    downloads = Downloads(pull, callers, Exporter(pull) if parts.reads_bodies else None)

    def is_down(upstream: str) -> bool:
        return fetcher.is_down(by_name[upstream])

    search = Search(fetcher, transport)
    public_url = settings.server.public_url
    visitors = Visitors(table, public_url, pull, callers, search, admission=admission, clock=clock)
    return Gateway(
        settings.server,
        table,
        pull,
        callers,
        search,
        admission=admission,
        downloads=downloads,
        is_down=is_down,
        visitors=visitors,
        limits=limits,
    )
