"""What a server needs of an upstream: names or proxy, connection, registry, tokens, pulls left, content.

The checks build on each other: after one that failed, the others are skipped. A base (the upstream's own URL or a
mirror's) that fails is a warning as long as another one works, because that one answers.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from hubferry.core.access import Credential
from hubferry.core.challenge import Challenge, parse_challenges
from hubferry.core.diagnosis import Failure, Seen, judge_failure, judge_names, judge_registry
from hubferry.core.diagnosis_machine import judge_quota
from hubferry.core.errors import OciError
from hubferry.core.exchange import Authenticate, choose
from hubferry.core.finding import Finding
from hubferry.core.http import get_all
from hubferry.core.image import ImageName
from hubferry.core.masking import mask_userinfo
from hubferry.core.redirect import origin
from hubferry.core.reference import is_address
from hubferry.doctor.probe import Probe
from hubferry.doctor.pull import PullProblem, PullRefused, head_manifest, pull
from hubferry.ports.upstream import UpstreamFailure
from hubferry.remote.exchanges import AccountRefused
from hubferry.remote.target import Target

# a public image of each built-in upstream, of which the manifest and the config (a few KiB) are fetched
IMAGES = {
    "docker.io": ("library/hello-world", "latest"),
    "ghcr.io": ("linuxserver/nginx", "latest"),
    "quay.io": ("prometheus/busybox", "latest"),
    "gcr.io": ("distroless/static", "latest"),
    "registry.k8s.io": ("pause", "3.9"),
    "mcr.microsoft.com": ("hello-world", "latest"),
    "public.ecr.aws": ("docker/library/hello-world", "latest"),
    "lscr.io": ("linuxserver/nginx", "latest"),
}
MISSING = (401, 403, 404)  # what a registry answers for an image that it does not have or show
MAX_ACCOUNTS = 20  # whose logins are tried
NOT_TRIED = "not tried, because of what failed before"


@dataclass(frozen=True, slots=True)
class Base:
    """A base of an upstream while it is checked: its URL, and what its findings are called."""

    probe: Probe
    url: str
    label: str


async def check_upstream(probe: Probe, image: ImageName | None) -> list[Finding]:
    """Check every base of an upstream, and then tokens, pulls left and content by the first that works.

    `image` is what is asked for; None: one that the registry is known to have.
    """
    upstream = probe.upstream
    reports: list[tuple[list[Finding], Seen | None, Base]] = []
    for number, url in enumerate(upstream.bases):
        base = Base(probe, url, f"{upstream.name} mirror {number}" if number else upstream.name)
        reports.append((*await check_base(base), base))
    working = next(((seen, base) for _, seen, base in reports if seen is not None), None)
    findings = [one for found, _, _ in reports for one in found]
    if working is None:
        return [*findings, Finding(f"{upstream.name} and the rest", "skipped", NOT_TRIED)]
    findings = [replace(one, mark="warning") if one.mark == "failed" else one for one in findings]
    return [*findings, *[one async for one in check_pulls(*working, image)]]


async def check_base(base: Base) -> tuple[list[Finding], Seen | None]:
    """Check the way to one base, and what answers there; None when that is no registry."""
    findings = []
    if not base.probe.proxy(base.url):  # a proxy looks names up by itself
        findings.append(await check_names(base))
        if (bypass := check_bypass(base)) is not None:
            findings.append(bypass)
        if findings[0].mark == "failed":
            return findings, None
    findings.append(await check_connection(base))
    if findings[-1].mark == "failed":
        return findings, None
    finding, seen = await check_registry(base)
    return [*findings, finding], None if finding.mark == "failed" else seen


async def check_names(base: Base) -> Finding:
    """Check which addresses the base's host has."""
    name, probe = f"{base.label} names", base.probe
    _, host, _ = origin(base.url)
    if is_address(host):
        return Finding(name, "ok", f"{host} is an address: no name is looked up")
    try:
        addresses = await probe.addresses(base.url)
    except (OSError, UnicodeError, TimeoutError) as error:
        said = getattr(error, "strerror", None) or "no answer in time"
        return judge_failure(name, "upstream", Failure("DNS", host, f"{host} cannot be resolved: {said}"))
    return judge_names(name, host, addresses, allow_private=probe.upstream.settings.allow_private_addresses)


def check_bypass(base: Base) -> Finding | None:
    """Say that NO_PROXY has the base reached directly although its upstream has a proxy."""
    setting = base.probe.upstream.settings.proxy
    if not setting or base.probe.proxy(base.url):
        return None
    problem = f"NO_PROXY has {origin(base.url)[1]} reached directly, although the upstream has proxy set"
    return Finding(f"{base.label} proxy", "warning", problem, "take it out of NO_PROXY, or remove proxy")


async def check_connection(base: Base) -> Finding:
    """Check TCP, or the proxy in between, and for https TLS with a certificate for the name."""
    name, proxy = f"{base.label} connection", base.probe.proxy(base.url)
    try:
        seconds = await base.probe.connect(base.url)
    except UpstreamFailure as error:
        return failure(name, error)
    scheme, host, port = origin(base.url)
    how = "TCP, and TLS with a certificate for this name" if scheme == "https" else "TCP"
    through = f" through {mask_userinfo(proxy)}" if proxy else ""
    return Finding(name, "ok", f"{host}:{port}{through} answers in {seconds * 1000:.0f} ms: {how}")


async def check_registry(base: Base) -> tuple[Finding, Seen | None]:
    """Check that a registry answers at /v2/."""
    name = f"{base.label} registry"
    try:
        seen = await base.probe.look(f"{base.url}/v2/")
    except UpstreamFailure as error:
        return failure(name, error), None
    return judge_registry(name, "upstream", seen), seen


async def check_pulls(seen: Seen, base: Base, image: ImageName | None) -> AsyncIterator[Finding]:
    """Check what a pull by a base needs: tokens, pulls left, content."""
    name = base.probe.upstream.name
    repository, reference = (image.repository, image.reference or "latest") if image else IMAGES.get(name, ("", ""))
    is_own = base.url == base.probe.upstream.bases[0]
    accounts = base.probe.upstream.accounts if is_own else ()
    tokens = await check_tokens(base, seen, repository, accounts)
    yield tokens
    rest = f"{name} quota, content"
    if tokens.mark == "failed":
        yield Finding(rest, "skipped", NOT_TRIED)
    elif not repository:
        yield Finding(rest, "skipped", f"no image of it is known: name one with --image {name}/REPOSITORY:TAG")
    else:
        target = Target(base.probe.upstream, repository, accounts[0] if accounts else None)
        quota = await check_quota(base, target, reference)
        yield quota
        if quota.mark in ("ok", "warning"):
            yield await check_content(base, target, reference)


async def check_tokens(base: Base, seen: Seen, repository: str, accounts: tuple[Credential, ...]) -> Finding:
    """Check that the token service gives a token: to each of the gateway's accounts, or to nobody in particular."""
    name = f"{base.probe.upstream.name} tokens"
    challenge: Challenge | None = choose(parse_challenges(get_all(seen.headers, "www-authenticate")))
    if seen.status != 401 or challenge is None:
        return Finding(name, "ok", "none is needed")
    step = Authenticate(seen.url, challenge, anonymous=origin(seen.url) != origin(base.url))
    for credential in accounts[:MAX_ACCOUNTS] or (None,):
        try:
            token = await base.probe.tokens.authorization(base.probe.upstream, step, repository, credential)
        except UpstreamFailure as error:
            return failure(name, error)
        except OciError as error:
            return Finding(name, "failed", error.message, "see the account's settings" if credential else "")
        if token is None:
            remedy = "set username and password_file, unless clients log in by themselves"
            return Finding(name, "warning", "it gives nothing without a login", remedy)
    whom = f"{len(accounts)} account{'s' * (len(accounts) > 1)} of the gateway" if accounts else "anybody"
    if challenge.scheme != "bearer":
        return Finding(name, "ok", f"none is needed beside {whom}")
    return Finding(name, "ok", f"{origin(challenge.param('realm'))[1]} gives one to {whom}")


async def check_quota(base: Base, target: Target, reference: str) -> Finding:
    """Check how many pulls are left, by a HEAD, which costs none."""
    name = f"{target.upstream.name} quota"
    try:
        obtained = await head_manifest(base.probe, target, base.url, reference)
    except (UpstreamFailure, OciError, AccountRefused) as error:
        return failure(name, error)
    response = obtained.response
    await response.body.close()
    if response.status in MISSING:
        return Finding(name, "skipped", _missing(target, reference, response.status))
    has_account = target.credential is not None
    return judge_quota(name, response.status, response.headers, base.probe.clock.time(), has_account=has_account)


async def check_content(base: Base, target: Target, reference: str) -> Finding:
    """Check that manifest and config of an image come, from the host that the registry redirects to."""
    name = f"{target.upstream.name} content"
    try:
        pulled = await pull(base.probe, target, base.url, reference, layers=False)
    except (UpstreamFailure, OciError, PullProblem, AccountRefused) as error:
        if isinstance(error, PullRefused) and error.status in MISSING:
            return Finding(name, "skipped", _missing(target, reference, error.status))
        return failure(name, error)
    origin_host = f"from {pulled.direct_host}" if pulled.direct_host else "without a redirect"
    return Finding(name, "ok", f"manifest and config of {target.repository}:{reference} come {origin_host}, unchanged")


def _missing(target: Target, reference: str, status: int) -> str:
    named = f"--image {target.upstream.name}/REPOSITORY:TAG"
    return f"{target.repository}:{reference} is not to be had there ({status}): name another image with {named}"


def failure(name: str, error: Exception) -> Finding:
    """Return the finding about what was raised while an upstream was asked."""
    if isinstance(error, UpstreamFailure):
        return judge_failure(name, "upstream", Failure(error.cause.name, error.host, str(error), error.detail))
    return Finding(name, "failed", str(error))
