"""What a client needs of a gateway: name, connection, health, registry, realm, and a small pull through it.

The gateway is asked for HOST/docker.io/library/hello-world and the like, as `docker pull` does, with the login that
`docker login` or `podman login` left for it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from hubferry.core.access import Credential
from hubferry.core.challenge import parse_challenges
from hubferry.core.diagnosis import Failure, Seen, judge_failure, judge_registry
from hubferry.core.diagnosis_gateway import judge_gateway_names, judge_health, judge_realm
from hubferry.core.diagnosis_machine import judge_clock
from hubferry.core.errors import OciError
from hubferry.core.exchange import choose
from hubferry.core.finding import Finding
from hubferry.core.http import get_all
from hubferry.core.image import ImageName
from hubferry.core.no_proxy import NoProxy
from hubferry.core.redirect import Trust, origin
from hubferry.core.reference import is_address
from hubferry.core.settings import UpstreamSettings
from hubferry.doctor.probe import Probe
from hubferry.doctor.pull import PullProblem, PullRefused, pull
from hubferry.ports.upstream import UpstreamFailure
from hubferry.remote.exchanges import AccountRefused
from hubferry.remote.target import Target, Upstream

NOT_TRIED = "not tried, because of what failed before"
LOG_IN = "it wants a login"


@dataclass
class Gateway:
    """A gateway that is examined: its URL, its CA file (empty: the system's), the login to show (None: none).

    `realm` (where it sends clients for tokens) and `needs_login` (whether it wants a login for the image) become known.
    """

    url: str
    ca_file: str = ""
    credential: Credential | None = None
    realm: str = ""
    needs_login: bool = False
    skews: dict[str, float] = field(default_factory=dict)

    def probe(self) -> Probe:
        """Return a probe that asks it, and believes the realm that it named."""
        settings = UpstreamSettings(url=self.url, allow_private_addresses=True, ca_file=self.ca_file)
        hosts = (_host_of(self.realm),) if self.realm else ()
        trust = Trust(allow_http=self.url.startswith("http:"), allow_private_addresses=True, realm_hosts=hosts)
        return Probe(Upstream(urlsplit(self.url).netloc, settings, trust), NoProxy(), self.skews)


async def examine_gateway(gateway: Gateway, image: ImageName) -> AsyncIterator[Finding]:
    """Check the way to a gateway, what it says, and a pull of `image`; later checks need the earlier ones."""
    probe = gateway.probe()
    try:
        for check in (check_names, check_connection, check_health):
            finding = await check(probe)
            yield finding
            if finding.mark == "failed":
                yield Finding("registry, realm, pull", "skipped", NOT_TRIED)
                return
        finding, seen = await check_registry(probe)
        yield finding
    finally:
        await probe.close()
    if seen is not None and finding.mark != "failed":
        gateway.realm = _realm(seen)
        finding = check_realm(gateway)
        yield finding
    if finding.mark == "failed":
        yield Finding("pull", "skipped", NOT_TRIED)
    else:
        yield await check_pull(gateway, image)
    yield judge_clock(gateway.skews)


async def check_names(probe: Probe) -> Finding:
    """Check that the gateway's name has addresses."""
    url = probe.upstream.settings.url
    host = origin(url)[1]
    if is_address(host):
        return Finding("names", "ok", f"{host} is an address: no name is looked up")
    try:
        return judge_gateway_names(host, await probe.addresses(url))
    except (OSError, UnicodeError, TimeoutError) as error:
        said = getattr(error, "strerror", None) or "no answer in time"
        return judge_failure("names", "gateway", Failure("DNS", host, f"{host} cannot be resolved: {said}"))


async def check_connection(probe: Probe) -> Finding:
    """Check TCP and, for https, TLS with a certificate for the name."""
    scheme, host, port = origin(probe.upstream.settings.url)
    try:
        seconds = await probe.connect(probe.upstream.settings.url)
    except UpstreamFailure as error:
        return failure("connection", error)
    how = "TCP, and TLS with a certificate for this name" if scheme == "https" else "TCP, without TLS"
    return Finding("connection", "ok", f"{host}:{port} answers in {seconds * 1000:.0f} ms: {how}")


async def check_health(probe: Probe) -> Finding:
    """Check that hubferry answers, or says why not."""
    parts = urlsplit(probe.upstream.settings.url)
    try:
        return judge_health(await probe.look(f"{parts.scheme}://{parts.netloc}/healthz"))
    except UpstreamFailure as error:
        return failure("health", error)


async def check_registry(probe: Probe) -> tuple[Finding, Seen | None]:
    """Check that a registry answers at /v2/."""
    try:
        seen = await probe.look(f"{probe.upstream.bases[0]}/v2/")
    except UpstreamFailure as error:
        return failure("registry", error), None
    return judge_registry("registry", "gateway", seen), seen


def check_realm(gateway: Gateway) -> Finding:
    """Check that clients are sent for their tokens to where they reached the gateway."""
    if not gateway.realm:
        return Finding("realm", "ok", "clients need no token")
    return judge_realm(gateway.url, gateway.realm)


async def check_pull(gateway: Gateway, image: ImageName) -> Finding:
    """Pull a small image through the gateway: as nobody and, if it wants a login, with the one that is there."""
    finding = await pull_as(gateway, image, None)
    gateway.needs_login = finding.text.startswith(LOG_IN)
    if not gateway.needs_login:
        return finding
    if gateway.credential is None:
        remedy = f"docker login {urlsplit(gateway.url).netloc}, and then this again"
        return Finding("pull", "failed", f"{LOG_IN} for {image}, and there is none of docker or podman here", remedy)
    finding = await pull_as(gateway, image, gateway.credential)
    if finding.text.startswith(LOG_IN):
        problem = f"it does not take the login of {gateway.credential.username} for {image}"
        return Finding("pull", "failed", problem, f"docker login {urlsplit(gateway.url).netloc}")
    return finding


async def pull_as(gateway: Gateway, image: ImageName, credential: Credential | None) -> Finding:
    """Pull an image through the gateway with this login (None: as nobody)."""
    probe = gateway.probe()
    target = Target(probe.upstream, f"{image.upstream}/{image.repository}", credential)
    started = probe.clock.monotonic()
    try:
        pulled = await pull(probe, target, probe.upstream.bases[0], image.reference or "latest", layers=True)
    except (UpstreamFailure, OciError, PullProblem, AccountRefused) as error:
        if isinstance(error, OciError | PullRefused) and error.status == 401:
            return Finding("pull", "failed", f"{LOG_IN}: {error}")
        return failure("pull", error)
    finally:
        await probe.close()
    seconds = probe.clock.monotonic() - started
    *most, last = pulled.parts
    text = f"{', '.join(most)} and {last} of {image} came in {seconds:.1f} s ({pulled.size_bytes} bytes), unchanged"
    return Finding("pull", "ok", text)


def failure(name: str, error: Exception) -> Finding:
    """Return the finding about what was raised while a gateway was asked."""
    if isinstance(error, UpstreamFailure):
        return judge_failure(name, "gateway", Failure(error.cause.name, error.host, str(error), error.detail))
    remedy = (
        "see docs/errors.md, and `hubferry doctor` on the server" if isinstance(error, PullProblem | OciError) else ""
    )
    return Finding(name, "failed", str(error), remedy)


def _realm(seen: Seen) -> str:
    challenge = choose(parse_challenges(get_all(seen.headers, "www-authenticate")))
    return challenge.param("realm") if challenge is not None and challenge.scheme == "bearer" else ""


def _host_of(url: str) -> str:
    """Return the host of a URL that somebody else wrote, empty for what is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
