"""Tokens of upstreams: fetched when challenged, kept no longer than they live, renewed once for all waiters.

The key of a kept token is (upstream, origin, realm, service, scope, credential): two users never share one.
Lifetimes are counted on the monotonic clock from before the request, so a slow answer only shortens them.
Distribution token specification.
"""

import base64
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from hubferry.core.access import Credential, credential_bytes
from hubferry.core.bounded import BoundedMap
from hubferry.core.documents import parse_json
from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.exchange import Authenticate, Send
from hubferry.core.headers import UNENCODED
from hubferry.core.http import Headers
from hubferry.core.redirect import Refused, RegistrableDomain, decide_realm
from hubferry.core.redirect import origin as origin_of
from hubferry.core.scope import narrow_upstream_scope
from hubferry.ports.shell import Clock, EventLog
from hubferry.ports.upstream import TooLarge, Transport
from hubferry.remote.limits import RateLimits
from hubferry.remote.single_flight import SingleFlight

if TYPE_CHECKING:
    from hubferry.remote.target import Upstream

MAX_ANSWER = 64 * 1024
DEFAULT_LIFETIME_S = 60.0  # token specification: what an answer without `expires_in` means
MAX_KEPT_BYTES = 32 * 2**20  # an upstream's token may have MAX_ANSWER, and clients may name any repository
TOKEN_BYTES = 1024  # of the objects of one, without its text


@dataclass(frozen=True, slots=True)
class Token:
    """The value of an `Authorization` header.

    `lifetime_s` is how long it still lives, None when the token service does not say. `expires_at` is monotonic.
    `is_fresh` is False for a token that was kept from before, so that a refusal of it may be its age.
    """

    authorization: str
    lifetime_s: float | None = None
    expires_at: float = 0.0
    is_fresh: bool = True

    def __repr__(self) -> str:
        return f"Token(***, lifetime_s={self.lifetime_s})"


@dataclass(frozen=True, slots=True)
class TokenCall:
    """Everything that makes one token another: also the key under which it is kept."""

    upstream: str
    challenger: tuple[str, str, int]
    realm: str
    service: str
    scope: str
    credential: Credential | None

    def url(self) -> str:
        """Return the realm's URL with service, scopes and account as its query."""
        parts = urlsplit(self.realm)
        # what is asked for is ours to say, whatever the realm has in its own query
        query = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k not in ("scope", "account")]
        if self.service:
            query.append(("service", self.service))
        query.extend(("scope", one) for one in self.scope.split())
        if self.credential:
            query.append(("account", self.credential.username))
        return urlunsplit(parts._replace(query=urlencode(query), fragment=""))


class UpstreamTokens:
    """Obtains the tokens of all upstreams, and keeps them while they live."""

    def __init__(
        self,
        transport: Transport,
        limits: RateLimits,
        clock: Clock,
        log: EventLog,
        *,
        registrable_domain: RegistrableDomain,
        single_flight: SingleFlight,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._log = log
        self._registrable_domain = registrable_domain
        self._kept: BoundedMap[Token] = BoundedMap(most_bytes=MAX_KEPT_BYTES)
        self._single_flight = single_flight
        self._limits = limits

    async def authorization(
        self,
        upstream: "Upstream",
        step: Authenticate,
        repository: str,
        credential: Credential | None,
        *,
        min_remaining_s: float = 0.0,
    ) -> Token | None:
        """What to send for a challenge; None when it asks for credentials and there are none.

        A kept token that lives no longer than `min_remaining_s` is not good enough.

        Raises OciError: 502 for a realm that is not believed or an answer that is none, 401/403/429 when the
        token service refuses, UpstreamFailure when it cannot be reached.
        """
        if step.anonymous:
            credential = None
        if step.challenge.scheme == "basic":
            return Token(basic(credential)) if credential else None
        realm = step.challenge.param("realm")
        problem = decide_realm(step.challenger, realm, upstream.trust, self._registrable_domain)
        if isinstance(problem, Refused):
            self._log.warning("realm_refused", {"upstream": upstream.name, "problem": problem.reason})
            raise OciError(
                502,
                Code.UNKNOWN,
                f"{upstream.name} answered with {problem.reason}: no token is asked for there",
                detail={"upstream": upstream.name},
            )
        scope = narrow_upstream_scope(step.challenge.param("scope"), repository)
        service = step.challenge.param("service")
        request = TokenCall(upstream.name, origin_of(step.challenger), realm, service, scope, credential)
        kept = self._kept.get(request)
        now = self._clock.monotonic()
        if kept and kept.authorization != step.refused and now + min_remaining_s < kept.expires_at:
            return replace(kept, lifetime_s=kept.expires_at - now)
        asked = Asked(limited_as(upstream, step.challenger), repository or "its login", "")
        token = await self._single_flight.once(request, lambda: self._renew(request, asked))
        return replace(token, is_fresh=True)

    async def _renew(self, call: TokenCall, asked: Asked) -> Token:
        self._limits.check(asked, call.credential, "tokens")
        started = self._clock.monotonic()
        headers = UNENCODED
        if call.credential:
            headers = (*headers, ("authorization", basic(call.credential)))
        response = await self._transport.send(call.upstream, Send("GET", call.url(), headers))
        self._limits.heard(asked.upstream, call.credential, "tokens", response.status, response.headers)
        if response.status != 200:
            await response.body.close()
            self._limits.check(asked, call.credential, "tokens")
            raise _refusal(call, response.status, response.headers, asked)
        try:
            body = await self._transport.read(response, MAX_ANSWER)
        except TooLarge:
            raise _no_token(call.upstream, "an answer that is too large") from None
        value, lifetime_s = parse_token(call.upstream, body)
        # a tenth, at most 10 s, in reserve: a token must not expire on its way
        expires_at = started + lifetime_s - min(lifetime_s / 10, 10.0)
        token = Token(f"Bearer {value}", lifetime_s, expires_at, is_fresh=False)
        texts = (token.authorization, call.realm, call.service, call.scope)
        self._kept.put(call, token, TOKEN_BYTES + credential_bytes(call.credential) + sum(map(len, texts)))
        return token


def limited_as(upstream: "Upstream", url: str) -> str:
    """The name under which the limits of what is asked at a URL are kept: a mirror's are not the upstream's."""
    scheme, host, port = origin_of(url)
    return upstream.name if origin_of(upstream.settings.url) == (scheme, host, port) else f"{scheme}://{host}:{port}"


def basic(credential: Credential) -> str:
    """Return the value of an `Authorization: Basic` header (RFC 7617)."""
    pair = f"{credential.username}:{credential.secret}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def parse_token(upstream: str, body: bytes) -> tuple[str, float]:
    """The token and its lifetime in seconds. Raises OciError 502 when the answer is none."""
    try:
        document = parse_json(body)
        value = document.get("token") or document.get("access_token")
        said = document.get("expires_in")
        lifetime_s = DEFAULT_LIFETIME_S if said is None else float(said)
        if not math.isfinite(lifetime_s):
            raise ValueError("not a number of seconds")
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise _no_token(upstream, "an answer that is no token") from None
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        raise _no_token(upstream, "an answer without a token")
    return value, min(max(lifetime_s, 0.0), 86400.0)


def _no_token(upstream: str, what: str) -> OciError:
    return OciError(502, Code.UNKNOWN, f"the token service of {upstream} gave {what}: try again later")


def _refusal(call: TokenCall, status: int, headers: Headers, asked: Asked) -> OciError:
    if status == 401 and call.credential:
        return OciError(
            401,
            Code.UNAUTHORIZED,
            f"{call.upstream} refused the user name or password of {call.credential.username}: "
            "log in again; Docker Hub wants an access token when two-factor is on",
            detail={"upstream": call.upstream},
        )
    if status == 404:
        return _no_token(call.upstream, "404")
    return relay_error(status, headers, replace(asked, upstream=call.upstream))
