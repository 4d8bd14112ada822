"""The token endpoint, and who a request comes from.

hubferry is the issuer for its own host names. A token names repositories and pull, and is sealed. It lives as long as
what it stands for, but at least 60 s and at most 300 (core/access.py). Credentials are checked against the upstream of
the first scope to pull; scopes of other upstreams are dropped then. Without a scope (`docker login`) it is the upstream
that `?ns=` names, else the host name's, else the default.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hubferry.core.access import MIN_LIFETIME_S, Credential, Grant, UserLogin, lifetime_s
from hubferry.core.bounded import BoundedMap
from hubferry.core.challenge import format_challenge
from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import COVERED
from hubferry.core.routing import Route, RoutingTable, resolve
from hubferry.core.scope import Scope
from hubferry.core.token_request import TokenRequest, from_form, from_query, parse_basic
from hubferry.gateway.attempts import REFUSED, Attempt, Attempts, TooManyAttempts
from hubferry.gateway.request import RegistryRequest
from hubferry.ports.shell import Clock, Sealer
from hubferry.remote.base import LoginCheck
from hubferry.remote.fetch import Fetcher
from hubferry.remote.target import Target, Upstream

LOGIN_PATIENCE_S = 3.0  # a challenge and a token, over a slow line
ALL_BUT_401 = frozenset(range(400, 600)) - {401}
MOST_BYTES = 8 * 2**20  # of remembered credentials: one may have 12 KB
ENTRY_BYTES = 300  # of one beside its name and secret


@dataclass(frozen=True, slots=True)
class TokenQuestion:
    """What a token is asked for: with which credential (None: none), at which upstream that is shown, for what.

    `login` is of the user of the gateway's own who asks.
    """

    credential: Credential | None
    upstream: str
    routes: tuple[Route, ...]
    login: UserLogin | None = None


@dataclass(frozen=True, slots=True)
class AcceptedAt:
    """The upstream that took a credential, and for how long that may be relied on.

    `upstream` is empty when it was refused, or nobody could be asked.
    """

    upstream: str
    lifetime_s: float | None


class Login:
    """Issues sealed tokens, and identifies the callers that show them or a Basic credential."""

    def __init__(
        self,
        table: RoutingTable,
        upstreams: dict[str, Upstream],
        fetcher: Fetcher,
        sealer: Sealer,
        clock: Clock,
        *,
        is_open: bool = False,
    ) -> None:
        """With `is_open` a token that is not ours is ignored (`access.login = "open"`)."""
        self._is_open = is_open
        self._table = table
        self._upstreams = upstreams
        self._fetcher = fetcher
        self._sealer = sealer
        self._clock = clock
        # the upstreams that checked a credential and took it
        self._accepted_at: BoundedMap[tuple[str, ...]] = BoundedMap(most_bytes=MOST_BYTES)
        self._attempts = Attempts(clock)

    @staticmethod
    def read(request: RegistryRequest) -> TokenRequest:
        """What a token request says. Raises OciError: 400, 401 and 404 for one that cannot be read."""
        authorization = request.header("authorization")
        if request.received.method == "POST":
            return from_form(request.received.body, authorization)
        return from_query(request.endpoint.query, authorization)

    def question(
        self, request: RegistryRequest, credential: Credential | None, routes: Sequence[Route], login: UserLogin | None
    ) -> TokenQuestion:
        """What a token is asked for, given the credential for an upstream and the repositories that may be had."""
        if credential is None:
            return TokenQuestion(None, "", tuple(routes), login)
        named = self._table.by_name(request.endpoint.namespace)
        upstream = routes[0].upstream if routes else named.name if named else request.home
        return TokenQuestion(credential, upstream, tuple(one for one in routes if one.upstream == upstream), login)

    async def issue(self, request: RegistryRequest, asked: TokenQuestion) -> bytes:
        """The JSON of a token response. Raises OciError: 401 when the upstream refuses the credentials."""
        now = self._clock.time()
        names = tuple(route.named for route in asked.routes)
        if asked.credential is None:
            life_s = lifetime_s(None)
            grant = Grant(names, request.service, now + life_s)
        else:
            passing = COVERED if asked.routes else frozenset()
            accepted = await self._find_or_none(asked.credential, asked.upstream, request, asked.routes, passing)
            life_s = lifetime_s(accepted.lifetime_s)
            grant = Grant(names, request.service, now + life_s)
            if accepted.upstream == asked.upstream:
                grant = replace(grant, upstream=asked.upstream, credential=asked.credential)
        if asked.login is not None and asked.login.ends_at is not None:
            life_s = min(life_s, max(asked.login.ends_at - now, 1.0))
        token = await self._sealer.seal(
            replace(grant, login=asked.login, expires_at=min(grant.expires_at, now + life_s))
        )
        issued = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        document = {"token": token, "access_token": token, "expires_in": int(life_s), "issued_at": issued}
        return json.dumps(document).encode()

    def routes(self, request: RegistryRequest, scopes: Sequence[Scope]) -> list[Route]:
        """The repositories that scopes name: what cannot be pulled here is left out, because a subset is no error."""
        routes = []
        for scope in scopes:
            if scope.wants_pull:
                try:
                    routes.append(resolve(scope.name, request.endpoint.namespace, request.host, self._table))
                except OciError:
                    continue
        return routes

    async def credential_for(self, credential: Credential, route: Route, request: RegistryRequest) -> Credential | None:
        """What of a client's Basic credentials may be shown to a route's upstream: all or nothing.

        Raises OciError 401 when it is refused there, TooManyAttempts.
        """
        if route.upstream in (self._accepted_at.get(credential) or ()):
            return credential
        accepted = await self._find_or_none(credential, route.upstream, request, [route], ALL_BUT_401)
        return credential if accepted.upstream == route.upstream else None

    async def check_at_api_root(self, credential: Credential, request: RegistryRequest) -> None:
        """Check a credential that came with `/v2/` where it belongs. Raises OciError as `_check`, TooManyAttempts."""
        await self._find_where_accepted(credential, request.upstream, request, [], is_covered=False)

    async def _find_or_none(
        self,
        credential: Credential,
        upstream: str,
        request: RegistryRequest,
        routes: Sequence[Route],
        passing: frozenset[int],
    ) -> AcceptedAt:
        """As `_find_where_accepted`, but after an error of a `passing` status it is accepted nowhere.

        Refused, it would keep its owner from what an anonymous client is given, also from the cache. Raises OciError
        for every other status, TooManyAttempts.
        """
        try:
            return await self._find_where_accepted(credential, upstream, request, routes, is_covered=bool(passing))
        except OciError as error:
            if isinstance(error, TooManyAttempts) or error.status not in passing:
                raise
            return AcceptedAt("", MIN_LIFETIME_S)

    async def _find_where_accepted(
        self,
        credential: Credential,
        upstream: str,
        request: RegistryRequest,
        routes: Sequence[Route],
        *,
        is_covered: bool,
    ) -> AcceptedAt:
        """Where a credential is accepted: at the upstream that the scope names, or at the host name's own.

        Clients send what they were given for this gateway's host name with every image, so a Docker Hub login
        also comes along when the image is from ghcr.io. Once it is known where it is accepted, only that upstream and
        the host name's own are shown it, and the others are pulled from anonymously. With `is_covered` nobody waits
        long for an upstream. Raises OciError as `_check`, TooManyAttempts.
        """
        known, home = self._accepted_at.get(credential) or (), request.home
        if known and upstream not in known and upstream != home:
            return AcceptedAt(known[0], None)
        with self._against_guessing(request.received.peer, credential, upstream) as attempt:
            try:
                checked = await self._check(upstream, credential, routes, is_covered=is_covered)
            except OciError as error:
                if error.status not in REFUSED or upstream == home:
                    raise
                attempt.was_refused = True  # unless the other one checks it and takes it
                checked = await self._check(home, credential, [], is_covered=is_covered)
                upstream = home
            attempt.was_accepted = checked.was_asked
        if checked.was_asked and upstream not in known:
            self._accepted_at.put(credential, (*known, upstream), credential.size_bytes + ENTRY_BYTES)
        return AcceptedAt(upstream, checked.lifetime_s)

    def _against_guessing(self, peer: str, credential: Credential, upstream: str) -> AbstractContextManager[Attempt]:
        """Return the guard against guessing (Attempts.trying); none where the credential was accepted before."""
        if upstream in (self._accepted_at.get(credential) or ()):
            return nullcontext(Attempt())
        return self._attempts.trying(peer, credential, upstream)

    async def _check(
        self, name: str, credential: Credential, routes: Sequence[Route], *, is_covered: bool
    ) -> LoginCheck:
        """Show a credential to an upstream, which takes it.

        Raises OciError: 401 when it is refused, 503 when the upstream cannot be reached, what its status means
        otherwise.
        """
        upstream = self._upstreams[name]
        repository = routes[0].repository if routes else ""
        async with self._fetcher.limit_wait(Target(upstream), is_covered=is_covered, slow_s=LOGIN_PATIENCE_S):
            checked = await self._fetcher.check_login(Target(upstream, repository, credential))
        if not checked.accepted:
            raise OciError(
                401,
                Code.UNAUTHORIZED,
                f"{name} refused the user name or password of {credential.username}: log in again",
                detail={"upstream": name},
            )
        return checked

    async def identify(self, request: RegistryRequest) -> Grant | Credential | None:
        """The grant or credential that came with a request; None when none did.

        Raises OciError 401 for a token that is not ours (unless login is open), was made for another host name, or
        has expired.
        """
        authorization = request.header("authorization")
        scheme, _, value = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return parse_basic(authorization)
        grant = await self._sealer.open(value.strip())
        if grant is None and self._is_open:
            return None  # ollama sends a token of its own to whatever registry it asks
        if grant is None or grant.service != request.service:
            raise _invalid("the token was not issued by this gateway for this host name: log in again")
        if grant.expires_at <= self._clock.time():
            raise _invalid("the token has expired: ask for a new one")
        return grant


def _invalid(message: str) -> OciError:
    return OciError(401, Code.UNAUTHORIZED, message, detail={"error": "invalid_token"})


def challenge(base: str, service: str, scope: str = "", error: str = "") -> tuple[str, str]:
    """Return a `WWW-Authenticate` header line: one Bearer challenge that names this gateway's token endpoint."""
    return ("www-authenticate", format_challenge(f"{base}/token", service, scope, error))
