"""The composition root: a Worker's variables -> a shell with every part in place."""

from typing import Any

import js

from hubferry.core.access import Credential, Identities
from hubferry.core.redirect import trust_of
from hubferry.core.routing import table_of
from hubferry.core.settings import CacheSettings, UpstreamSettings
from hubferry.core.values import parse_token_key
from hubferry.pages.home import HomePage
from hubferry.pull import Gateway, PassingKeep
from hubferry.pull.checked_manifests import CheckedManifests
from hubferry.pull.fetch import Patience
from hubferry.pull.flights import SoloFlights
from hubferry.pull.kept_manifests import timing_of
from hubferry.pull.system_clock import SystemClock
from hubferry.pull.target import Origin
from hubferry.worker.domains import registrable_domain
from hubferry.worker.edge_cache import EdgeBlobs, EdgeCache, EdgeIndex, EdgeStore
from hubferry.worker.log import Events
from hubferry.worker.seal import WebCryptoSealer
from hubferry.worker.settings import read_settings
from hubferry.worker.shell import Shell
from hubferry.worker.upstream import FetchUpstream


def build_shell(env: Any) -> Shell:
    """The shell of one isolate. Raises ConfigError."""
    settings = read_settings(read_bindings(env))
    upstream = FetchUpstream(settings.upstreams)
    table = table_of(settings)
    gateway = Gateway(
        settings,
        table,
        [_origin(name, known) for name, known in settings.upstreams.items()],
        upstream=upstream,
        manifests=CheckedManifests(upstream),
        sealer=WebCryptoSealer(parse_token_key(settings.access.token_key)),
        clock=SystemClock(),
        log=Events(),
        registrable_domain=registrable_domain,
        keep=_build_keep(settings.cache),
        identities=Identities(parse_token_key(settings.access.token_key)),  # never leaves the isolate
        flights=SoloFlights,
        patience=PATIENCE,
    )
    return Shell(gateway, HomePage(table, settings.server.public_url), log_level=settings.server.log_level)


def _build_keep(settings: CacheSettings) -> PassingKeep | None:
    if not settings.enabled:
        return None
    cache = EdgeCache()
    return PassingKeep(EdgeIndex(cache, timing_of(settings)), EdgeStore(cache), EdgeBlobs(cache))


# here nobody goes on asking when whoever asked has stopped waiting: then no slow upstream would ever be heard
PATIENCE = Patience(covered_s=None, probe_s=None)


def read_bindings(env: Any) -> dict[str, object]:
    """A Worker's variables, secrets and other bindings; the SDK's wrapper does not list them."""
    return {str(pair[0]): pair[1] for pair in js.Object.entries(env._env)}  # noqa: SLF001


def _origin(name: str, upstream: UpstreamSettings) -> Origin:
    accounts = (Credential(upstream.username, upstream.password),) if upstream.username else ()
    return Origin(name, upstream, trust_of(upstream), accounts)
