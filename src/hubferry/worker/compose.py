"""The composition root of the Worker: its variables -> a shell with every part in place."""

from typing import Any

import js

from hubferry.clock import SystemClock
from hubferry.core.access import Credential, Identities
from hubferry.core.freshness import timing_of
from hubferry.core.redirect import trust_of
from hubferry.core.routing import table_of
from hubferry.core.settings import CacheSettings, UpstreamSettings
from hubferry.core.values import parse_token_key
from hubferry.gateway.build import ShellParts, build_gateway
from hubferry.pages.site import Site
from hubferry.pull.services import EdgeCache
from hubferry.remote.fetch import WaitLimits
from hubferry.remote.single_flight import NoSharing
from hubferry.remote.target import Upstream
from hubferry.worker.domains import registrable_domain
from hubferry.worker.edge_cache import DataCentreCache, EdgeBlobs, EdgeIndex, EdgeStore
from hubferry.worker.log import Events
from hubferry.worker.seal import WebCryptoSealer
from hubferry.worker.settings import read_settings
from hubferry.worker.shell import Shell
from hubferry.worker.transport import FetchTransport
from hubferry.worker.users import NoPasswords, VariableUsers


def build_shell(env: Any) -> Shell:
    """Return the shell of one isolate. Raises ConfigError for variables that cannot be used."""
    settings = read_settings(read_bindings(env))
    table = table_of(settings)
    parts = ShellParts(
        transport=FetchTransport(settings.upstreams),
        sealer=WebCryptoSealer(parse_token_key(settings.access.token_key)),
        clock=SystemClock(),
        log=Events(),
        registrable_domain=registrable_domain,
        cache=_build_cache(settings.cache),
        identities=Identities(parse_token_key(settings.access.token_key)),  # never leaves the isolate
        single_flight=NoSharing(),
        wait_limits=WAIT_LIMITS,
        users=VariableUsers(settings.access) if settings.access.login == "users" else None,
        passwords=NoPasswords(),
    )
    upstreams = [_upstream(name, known) for name, known in settings.upstreams.items()]
    gateway = build_gateway(settings, table, upstreams, parts)
    return Shell(gateway, Site(settings, table, gateway, SystemClock()), log_level=settings.server.log_level)


def _build_cache(settings: CacheSettings) -> EdgeCache | None:
    if not settings.enabled:
        return None
    cache = DataCentreCache()
    return EdgeCache(
        EdgeIndex(cache, timing_of(settings)), EdgeStore(cache), EdgeBlobs(cache, settings.max_copied.size_bytes)
    )


# No limit on waiting for an upstream when kept content could answer instead. On a Worker a request to an upstream does
# not go on after its client was answered, so with a limit a slow upstream would never get to answer at all.
WAIT_LIMITS = WaitLimits(covered_s=None, probe_s=None)


def read_bindings(env: Any) -> dict[str, object]:
    """Return a Worker's variables, secrets and other bindings by name.

    They are read from the JavaScript object, because the SDK's wrapper cannot list them.
    """
    return {str(pair[0]): pair[1] for pair in js.Object.entries(env._env)}  # noqa: SLF001


def _upstream(name: str, upstream: UpstreamSettings) -> Upstream:
    accounts = (Credential(upstream.username, upstream.password),) if upstream.username else ()
    return Upstream(name, upstream, trust_of(upstream), accounts)
