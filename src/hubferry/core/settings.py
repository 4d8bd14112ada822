"""All settings as one frozen `Settings`: every option with its type, default and help line; the built-in upstreams.

Pure. The dataclasses below are the only place where options are declared: `hubferry config show` is generated from
them, and docs/configuration.md is checked against them. Users rely on the names, so names must not change. Not here:
reading values (values.py), combining the sources of settings (settings_sources.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from hubferry.core.access_values import AccessRules, Groups, Issuers, Operators
from hubferry.core.limit_values import ByteRate, RateSchedule, RequestRate
from hubferry.core.masking import MASK, mask_userinfo
from hubferry.core.no_proxy import NoProxy
from hubferry.core.values import Duration, Size, TagTtls, format_toml, toml_key


def option(default: Any, help_line: str, *, secret: bool = False, **metadata: Any) -> Any:
    """Return a dataclass field for an option, with its help line.

    `choices` are the allowed values. `check` is the name of a rule in `values.CHECKS`. An option with `only_worker` has
    a meaning on Cloudflare Workers only: servers refuse it and do not show it.

    A `secret` is never shown, neither by `config show` nor by the `repr` of its section. White space around it is
    dropped, because programs that print a secret or pass it through a pipe end it with a newline.
    """
    if isinstance(default, list):
        raise TypeError("defaults are immutable: use a tuple")
    is_shown = not secret and metadata.get("check") != "proxy"
    return field(default=default, repr=is_shown, metadata={"help": help_line, "secret": secret, **metadata})


@dataclass(frozen=True)
class ServerSettings:
    """The options of the section `[server]`."""

    listen: tuple[str, ...] = option(
        ("127.0.0.1:5000",), "address and port, or a list of them: 127.0.0.1:5000, [::]:5000", check="listen"
    )
    public: bool = option(False, "true: beyond this machine, although nothing restricts who may pull what and how much")
    public_url: str = option(
        "",
        "base URL that token realms and the page show, e.g. https://hub.example.com; empty: taken from the request",
        check="url",
    )
    tls_cert: str = option("", "PEM file with the certificate chain; empty: plain HTTP")
    tls_key: str = option("", "PEM file with the private key of tls_cert")
    workers: int = option(1, "worker processes", check="positive")
    trusted_proxies: tuple[str, ...] = option(
        (),
        "networks of proxies whose X-Forwarded-For, -Proto and -Host are trusted, e.g. 127.0.0.1/32",
        check="networks",
    )
    proxy_protocol: tuple[str, ...] = option(
        (),
        "networks of load balancers whose connections begin with a PROXY protocol header, version 1 or 2",
        check="networks",
    )
    metrics_from: tuple[str, ...] = option(
        (), "networks whose clients may read /metrics, e.g. 127.0.0.1/32; empty: nobody", check="networks"
    )
    cors_origins: tuple[str, ...] = option((), "origins that browsers may call from, e.g. https://ui.example.com")
    shutdown_grace: Duration = option(
        Duration(30.0), "how long running pulls may go on after SIGTERM before they are cut"
    )
    write_timeout: Duration = option(
        Duration(30.0),
        "a client that accepts no data for this long, although some is ready, is disconnected",
        check="span",
    )
    min_client_rate: Size = option(
        Size(1024), "minimum speed of a client in bytes a second, averaged over a write_timeout; 0B: no minimum"
    )
    connections_per_address: int = option(
        256,
        "maximum connections of one address to a worker process; 0: no limit; trusted_proxies have none",
        check="count",
    )
    log_format: str = option(
        "auto",
        "auto: readable on a terminal, JSON otherwise; text; json",
        choices=("auto", "text", "json"),
    )
    log_level: str = option(
        "info",
        "debug: also the challenges that every pull begins with; info; warning: only what went wrong",
        choices=("debug", "info", "warning"),
    )


@dataclass(frozen=True)
class UpstreamSettings:
    """The options of a section `[upstreams."NAME"]`. NAME is the registry host that people write before an image."""

    url: str = option("", "base URL of the registry; empty: https://NAME", check="url")
    default: bool = option(False, "answers requests that name no registry; exactly one upstream has it")
    hosts: tuple[str, ...] = option((), "host names whose requests go to this upstream", check="hosts")
    library: bool = option(False, "add library/ to single names: busybox -> library/busybox")
    mirrors: tuple[str, ...] = option((), "base URLs tried in order when url fails", check="urls")
    username: str = option("", "the gateway's own account there, used for anonymous clients")
    password_file: str = option("", "file with the password or access token of username")
    password: str = option("", "the password or access token itself, instead of password_file", secret=True)
    accounts_file: str = option(
        "", "file with further accounts, one user:password in a line; the one with most pulls left is used"
    )
    proxy: str = option("", "reach it through http://[user:password@]host:port or socks5://...", check="proxy")
    ca_file: str = option("", "PEM file with further certificate authorities to trust")
    allow_private_addresses: bool = option(
        False, "allow the upstream, its realm and its redirects on private or loopback addresses"
    )
    realm_hosts: tuple[str, ...] = option(
        (), "more hosts on which its token realm may be, besides its own registrable domain", check="realm_hosts"
    )
    search_url: str = option("", "URL of the search API for `docker search`; empty: no search", check="url")
    connect_timeout: Duration = option(Duration(5.0), "time limit for DNS, TCP and the proxy together", check="span")
    tls_timeout: Duration = option(Duration(5.0), "time limit for the TLS handshake", check="span")
    response_timeout: Duration = option(Duration(20.0), "time limit for the header of an answer", check="span")
    read_timeout: Duration = option(Duration(15.0), "time limit between two pieces of a body", check="span")
    min_rate: Size = option(
        Size(1024), "minimum speed of a body in bytes a second, averaged over a read_timeout of waiting; 0B: no minimum"
    )


@dataclass(frozen=True)
class AccessSettings:
    """The options of the section `[access]`: who may pull, and the key that seals tokens."""

    login: str = option(
        "upstream",
        "upstream: clients log in with their account of the upstream, or pull anonymously; open: no login asked; "
        "users: clients log in as users of users_file",
        choices=("upstream", "open", "users"),
    )
    users_file: str = option("", 'file with NAME:HASH of each user, as `htpasswd -B` makes it; for login = "users"')
    users: str = option("", "the users themselves, as lines of such a file, instead of users_file", secret=True)
    secrets_file: str = option(
        "",
        "file with access tokens of users and secrets of clients that cannot log in; empty: secrets.json beside "
        "users_file",
    )
    secrets: str = option("", "the content of such a file, instead of secrets_file", secret=True)
    issuers: Issuers = option(Issuers(), "whose ID tokens and workload identities are a login, in place of a password")
    groups: Groups = option(Groups(), 'groups of users for the rules, e.g. {admins = ["alice", "bob"]}')
    networks: tuple[str, ...] = option(
        (), "networks whose clients may use the gateway, e.g. 192.168.0.0/16; empty: every address", check="networks"
    )
    deny_networks: tuple[str, ...] = option(
        (), "networks whose clients may not, also within networks", check="networks"
    )
    deny: tuple[str, ...] = option(
        (), "images that nobody may pull, e.g. docker.io/evil/**; comes before rules", check="image_patterns"
    )
    rules: AccessRules = option(AccessRules(), "who may pull which images; the first rule that matches counts")
    allow: tuple[str, ...] = option(
        (),
        "images that everybody may pull, e.g. docker.io/library/*; when there are any, all others are denied",
        check="image_patterns",
    )
    token_key_file: str = option(
        "", "file with the key that seals tokens, made on first start; empty: token.key in cache.dir"
    )
    token_key: str = option(
        "",
        "the key itself, base64url of 32 bytes, instead of token_key_file; empty: the file",
        secret=True,
        check="token_key",
    )


@dataclass(frozen=True)
class LimitSettings:
    """The options of the section `[limits]`: how much clients may have. Nothing is limited unless it is set."""

    requests: RequestRate = option(
        RequestRate(), "how many requests a client may send, e.g. 50/s; more are refused with 429; empty: any number"
    )
    burst: Duration = option(
        Duration(10.0),
        "requests are counted over this time, so a client that was quiet may send more at once",
        check="span",
    )
    downloads: int = option(
        0, "how many blobs a client may fetch at a time; more are refused; 0: any number", check="count"
    )
    rate: ByteRate = option(ByteRate(), "how fast a client may fetch, e.g. 100MiB/s; empty: as fast as it can")
    bytes_per_day: Size = option(
        Size(0), "how much a client may fetch in a day, e.g. 500GiB; then it is refused until the day is over; 0B: any"
    )
    total_rate: ByteRate = option(
        ByteRate(), "how fast all clients together may fetch, shared fairly among them; empty: as fast as they can"
    )
    upstream_rate: ByteRate = option(
        ByteRate(), "how fast upstreams are fetched from, all together; empty: as fast as they can"
    )
    schedule: RateSchedule = option(
        RateSchedule(), "total_rate and upstream_rate at some times of the day; the first that holds counts"
    )


@dataclass(frozen=True)
class CacheSettings:
    """The options of the section `[cache]`: what is kept, how much, and for how long it may answer."""

    enabled: bool = option(True, "false: stream through, keep nothing")
    dir: str = option("./data", "folder for what hubferry keeps")
    max_size: Size = option(Size(20 * 2**30), "maximum size of the cache")
    min_free: Size = option(Size(2**30), "space that is always left free on the disk")
    max_unwatched: Size = option(Size(2**30), "how much more of a blob is fetched after its last client has left")
    patience: Duration = option(
        Duration(60.0), "how long a download that broke off is retried without progress", check="span"
    )
    connections: int = option(
        6, "maximum connections for one large blob, where several are faster; 1: always one", check="positive"
    )
    parallel_from: Size = option(Size(16 * 2**20), "minimum remaining size for which a blob gets several connections")
    prefetch: bool = option(True, "fetch the layers of an image as soon as a client begins to pull it")
    complete: bool = option(
        True,
        "after a pull also fetch what other clients need: manifests of all platforms, attestations, what refers to it",
    )
    tag_ttl: Duration = option(Duration(60.0), "how long a tag is answered without asking the upstream")
    tag_ttls: TagTtls = option(TagTtls(), "the same for images that match a pattern; the first match counts")
    public_ttl: Duration = option(
        Duration(3600.0),
        "how long public content is served before the upstream is asked again whether it is still public",
        check="span",
    )
    stale_if_error: Duration = option(Duration(7 * 86400.0), "how long a kept tag is served while the upstream fails")
    unknown_referrers: str = option(
        "absent",
        "if it is unknown what refers to a kept image: absent: answer as if nothing did; error: pass on the failure",
        choices=("absent", "error"),
    )
    max_copied: Size = option(
        Size(256 * 1024),
        "largest blob that is copied to the data centre's cache; copying costs 6 to 10 ms of CPU time for each MB",
        only_worker=True,
    )


@dataclass(frozen=True)
class WarmSettings:
    """The options of the section `[warm]`: the images that are kept warm."""

    images: tuple[str, ...] = option((), "images that a server keeps warm, e.g. nginx:1.27, ghcr.io/owner/app:1")
    platforms: tuple[str, ...] = option(
        (),
        "for which platforms, e.g. linux/amd64, linux/arm64; all; empty: that of this machine",
        check="platforms",
    )
    referrers: Size = option(
        Size(64 * 2**20), "how much of what refers to an image (signatures, SBOMs) is fetched with it; 0B: nothing"
    )
    every: Duration = option(Duration(6 * 3600.0), "how often the server checks whether they changed", check="span")


@dataclass(frozen=True)
class AuditSettings:
    """The options of the section `[audit]`: who pulled what, in a log of its own."""

    file: str = option("", "file that gets a JSON line for everything that is pulled or denied; empty: no such log")


@dataclass(frozen=True)
class PagesSettings:
    """The options of the section `[pages]`: who may see what the gateway does, and change what it keeps."""

    operators: Operators = option(
        Operators(),
        "users, groups and networks for whom /status is, e.g. user:alice, group:admins, 127.0.0.1/32; empty: nobody",
    )


@dataclass(frozen=True)
class Settings:
    """All settings, resolved from their sources and checked (settings_sources.resolve)."""

    server: ServerSettings
    upstreams: Mapping[str, UpstreamSettings]
    access: AccessSettings
    cache: CacheSettings
    warm: WarmSettings
    limits: LimitSettings = field(default_factory=LimitSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    pages: PagesSettings = field(default_factory=PagesSettings)
    no_proxy: NoProxy = field(default_factory=NoProxy)  # NO_PROXY is for every program, so it is not an option of ours

    @property
    def default_upstream(self) -> str:
        """The name of the upstream for requests that name no registry."""
        return next(name for name, upstream in self.upstreams.items() if upstream.default)


SECTIONS: Mapping[str, type] = MappingProxyType(
    {
        "server": ServerSettings,
        "access": AccessSettings,
        "limits": LimitSettings,
        "cache": CacheSettings,
        "warm": WarmSettings,
        "audit": AuditSettings,
        "pages": PagesSettings,
    }
)

BUILT_IN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "docker.io": {
            "url": "https://registry-1.docker.io",
            "default": True,
            "library": True,
            "search_url": "https://index.docker.io/v1/search",
        },
        "ghcr.io": {},
        "quay.io": {"search_url": "https://quay.io/api/v1/find/repositories"},
        "gcr.io": {},
        "registry.k8s.io": {},
        "mcr.microsoft.com": {},
        "nvcr.io": {},
        "public.ecr.aws": {},
        # linuxserver.io's name for ghcr.io/linuxserver: its challenges name GitHub's token realm
        "lscr.io": {"realm_hosts": ["ghcr.io"]},
    }
)


def describe(settings: Settings) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yield every section of a server's settings: its TOML name, and its options as (key, TOML value, help line).

    Secrets are masked.
    """
    for section in SECTIONS:
        meant = [f for f in fields(SECTIONS[section]) if not f.metadata.get("only_worker")]
        yield section, [_shown(f, getattr(getattr(settings, section), f.name)) for f in meant]
    for name, upstream in settings.upstreams.items():
        shown = [_shown(f, getattr(upstream, f.name)) for f in fields(UpstreamSettings)]
        yield f"upstreams.{toml_key(name)}", shown


def _shown(f: Field[Any], value: Any) -> tuple[str, str, str]:
    if f.metadata["secret"] and value:
        value = MASK
    elif isinstance(value, str) and "//" in value:
        value = mask_userinfo(value)
    elif isinstance(value, tuple) and f.name != "images":  # in images, @ stands before a digest
        value = tuple(map(mask_userinfo, value))
    return f.name, format_toml(value), f.metadata["help"]
