"""The token endpoint, and who a request comes from.

hubferry is the issuer for its own host names. A token names repositories and pull, and is sealed. It lives as long as
what it stands for, but at least 60 s and at most 300 (core/access.py). Credentials are checked against the upstream of
the first scope to pull; scopes of other upstreams are dropped then. Without a scope (`docker login`) it is the upstream
that `?ns=` names, else the host name's, else the default.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hubferry.core.access import MIN_LIFETIME_S, Credential, Grant, lifetime_s
from hubferry.core.challenge import format_challenge
from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import COVERED
from hubferry.core.routing import Route, RoutingTable, resolve
from hubferry.core.token_request import TokenRequest, from_form, from_query, parse_basic
from hubferry.gateway.attempts import Attempts
from hubferry.gateway.request import RegistryRequest
from hubferry.ports.shell import Clock, Sealer
from hubferry.remote.fetch import Fetcher
from hubferry.remote.target import Target, Upstream

LOGIN_PATIENCE_S = 3.0  # a challenge and a token, over a slow line
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class TokenQuestion:
    """What a token is asked for: by whom (None: anybody), at which upstream the credential is shown, for what."""

    credential: Credential | None
    upstream: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class AcceptedAt:
    """The upstream that took a credential (empty: none could say), and for how long that may be relied on."""

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
        """With `is_open` no token is asked for, and one that is not ours is ignored (`access.login = "open"`)."""
        self._is_open = is_open
        self._table = table
        self._upstreams = upstreams
        self._fetcher = fetcher
        self._sealer = sealer
        self._clock = clock
        self._holds_at: OrderedDict[Credential, dict[str, None]] = OrderedDict()
        self._attempts = Attempts(clock)

    def read(self, request: RegistryRequest) -> TokenQuestion:
        """What a token request asks for. Raises OciError: 400, 401 and 404 for one that cannot be read."""
        authorization = request.header("authorization")
        if request.received.method == "POST":
            asked = from_form(request.received.body, authorization)
        else:
            asked = from_query(request.endpoint.query, authorization)
        routes = self._routes(request, asked)
        if asked.credential is None:
            return TokenQuestion(None, "", tuple(routes))
        named = self._table.by_name(request.endpoint.namespace)
        upstream = routes[0].upstream if routes else named.name if named else request.home
        return TokenQuestion(asked.credential, upstream, tuple(one for one in routes if one.upstream == upstream))

    async def issue(self, request: RegistryRequest, asked: TokenQuestion) -> bytes:
        """The JSON of a token response. Raises OciError: 401 when the upstream refuses the credentials."""
        now = self._clock.time()
        names = tuple(route.named for route in asked.routes)
        if asked.credential is None:
            life_s = lifetime_s(None)
            grant = Grant(names, request.service, now + life_s)
        else:
            with self._against_guessing(request.received.peer, asked.credential):
                accepted = await self._find_if_possible(asked.credential, asked.upstream, request.home, asked.routes)
            life_s = lifetime_s(accepted.lifetime_s)
            grant = Grant(names, request.service, now + life_s)
            if accepted.upstream == asked.upstream:
                grant = replace(grant, upstream=asked.upstream, credential=asked.credential)
        token = await self._sealer.seal(grant)
        issued = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        document = {"token": token, "access_token": token, "expires_in": int(life_s), "issued_at": issued}
        return json.dumps(document).encode()

    def _routes(self, request: RegistryRequest, asked: TokenRequest) -> list[Route]:
        """The repositories to grant: what cannot be pulled here is left out, because a subset is no error."""
        routes = []
        for scope in asked.scopes:
            if scope.wants_pull:
                try:
                    routes.append(resolve(scope.name, request.endpoint.namespace, request.host, self._table))
                except OciError:
                    continue
        return routes

    async def credential_for(self, credential: Credential, route: Route, request: RegistryRequest) -> Credential | None:
        """What of a client's Basic credentials may be shown to a route's upstream: all or nothing."""
        if route.upstream in self._holds_at.get(credential, {}):
            return credential
        with self._against_guessing(request.received.peer, credential):
            accepted = await self._find_or_nowhere(credential, route, request.home)
        return credential if accepted.upstream == route.upstream else None

    async def _find_or_nowhere(self, credential: Credential, route: Route, home: str) -> AcceptedAt:
        """As `_find_where_it_holds`, but what cannot be checked now holds nowhere: its owner still has what is open."""
        try:
            async with self._fetcher.patience(
                Target(self._upstreams[route.upstream]), is_covered=True, slow_s=LOGIN_PATIENCE_S
            ):
                return await self._find_where_it_holds(credential, route.upstream, home, [route])
        except OciError as error:
            if error.status == 401:
                raise
            return AcceptedAt("", None)

    def _against_guessing(self, peer: str, credential: Credential) -> AbstractContextManager[None]:
        """Return the guard against guessing (Attempts.trying); none for a credential that was accepted before."""
        return nullcontext() if credential in self._holds_at else self._attempts.trying(peer, credential)

    async def _find_if_possible(
        self, credential: Credential, upstream: str, home: str, routes: Sequence[Route]
    ) -> AcceptedAt:
        """As `_find_where_it_holds`, but while the upstream fails a login that names repositories holds nowhere.

        Refused, it would keep its owner from what an anonymous client is given from the cache.
        """
        try:
            async with self._fetcher.patience(
                Target(self._upstreams[upstream]), is_covered=bool(routes), slow_s=LOGIN_PATIENCE_S
            ):
                return await self._find_where_it_holds(credential, upstream, home, routes)
        except OciError as error:
            if not routes or error.status not in COVERED:
                raise
            return AcceptedAt("", MIN_LIFETIME_S)

    async def _find_where_it_holds(
        self, credential: Credential, upstream: str, home: str, routes: Sequence[Route]
    ) -> AcceptedAt:
        """Where a credential holds: at the upstream that the scope names, or at the host name's own.

        Clients send what they were given for this gateway's host name with every image, so a Docker Hub login
        also comes along when the image is from ghcr.io. Once it is known where it holds, only that upstream and the
        host name's own are shown it, and the others are pulled from anonymously. Raises OciError as `check` does.
        """
        known = self._holds_at.get(credential)
        if known and upstream not in known and upstream != home:
            return AcceptedAt(next(iter(known)), None)
        try:
            life_s = await self.check(self._upstreams[upstream], credential, routes)
        except OciError as error:
            # ghcr.io answers 403 to a credential that is not its own
            if error.status not in (400, 401, 403) or upstream == home:
                raise
            life_s = await self.check(self._upstreams[home], credential, [])
            upstream = home
        self._holds_at.setdefault(credential, {})[upstream] = None
        while len(self._holds_at) > MAX_REMEMBERED:
            self._holds_at.popitem(last=False)
        return AcceptedAt(upstream, life_s)

    async def check_at_api_root(self, credential: Credential, request: RegistryRequest) -> None:
        """Check a credential that came with `/v2/` where it belongs. Raises OciError as `check`, and 429."""
        with self._against_guessing(request.received.peer, credential):
            await self._find_where_it_holds(credential, request.upstream, request.home, [])

    async def check(self, upstream: Upstream, credential: Credential, routes: Sequence[Route]) -> float | None:
        """Show a credential to its upstream. Return for how many seconds that may be relied on, None: it does not say.

        Raises OciError 401 when it is refused, 503 when the upstream cannot be reached.
        """
        repository = routes[0].repository if routes else ""
        checked = await self._fetcher.check_login(Target(upstream, repository, credential))
        if not checked.accepted:
            raise OciError(
                401,
                Code.UNAUTHORIZED,
                f"{upstream.name} refused the user name or password of {credential.username}: log in again",
                detail={"upstream": upstream.name},
            )
        return checked.lifetime_s

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
