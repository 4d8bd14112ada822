"""The token endpoint, and who a request comes from.

hubferry is the issuer for its own host names. A token names repositories and pull, is sealed, and expires no later
than what it stands for (core/access.py). Credentials are checked against the upstream that the scope names, and
against the host name's or the default upstream when there is no scope (`docker login`).
"""

import json
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hubferry.core.access import MIN_LIFETIME_S, Credential, Grant, lifetime_s
from hubferry.core.challenge import format_challenge
from hubferry.core.errors import Code, OciError
from hubferry.core.freshness import COVERED
from hubferry.core.http import Request
from hubferry.core.routing import Endpoint, Route, RoutingTable, resolve, resolve_host
from hubferry.core.token_request import TokenRequest, from_form, from_query, parse_basic
from hubferry.ports import Clock, Sealer
from hubferry.pull.answer import Answer, Trail, json_answer
from hubferry.pull.attempts import Attempts
from hubferry.pull.fetch import Fetcher
from hubferry.pull.target import Origin, Target

LOGIN_PATIENCE_S = 3.0  # a challenge and a token, over a slow line
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class ProvenAt:
    """The upstream that took a credential (empty: none could say), and for how long that may be relied on."""

    upstream: str
    lifetime_s: float | None


class Login:
    """Issues tokens and reads them back."""

    def __init__(
        self,
        table: RoutingTable,
        origins: dict[str, Origin],
        fetcher: Fetcher,
        sealer: Sealer,
        clock: Clock,
        *,
        is_open: bool = False,
    ) -> None:
        """`is_open`: no token is asked for (`access.login`)."""
        self._is_open = is_open
        self._table = table
        self._origins = origins
        self._fetcher = fetcher
        self._sealer = sealer
        self._clock = clock
        self._proven: OrderedDict[Credential, dict[str, None]] = OrderedDict()
        self._attempts = Attempts(clock)

    async def issue(self, request: Request, endpoint: Endpoint, service: str, trail: Trail) -> Answer:
        """Answer a token request. Raises OciError: 401 when the upstream refuses the credentials."""
        resolve_host(request, self._table)
        authorization = request.header("authorization")
        if request.method == "POST":
            asked = from_form(request.body, authorization)
        else:
            asked = from_query(endpoint.query, authorization)
        routes = self._routes(request, endpoint, asked)
        now = self._clock.time()
        if asked.credential is None:
            life_s = lifetime_s(None)
            grant = Grant(tuple(route.named for route in routes), service, now + life_s)
        else:
            home, named = self._home(request), self._table.by_name(endpoint.namespace)
            upstream = trail.upstream = routes[0].upstream if routes else named.name if named else home
            same = [route for route in routes if route.upstream == upstream]
            with self._guarded(request, asked.credential):
                proof = await self._prove_if_possible(asked.credential, upstream, home, same)
            life_s = lifetime_s(proof.lifetime_s)
            grant = Grant(tuple(route.named for route in same), service, now + life_s)
            if proof.upstream == upstream:
                grant = replace(grant, upstream=upstream, credential=asked.credential)
        token = await self._sealer.seal(grant)
        issued = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        document = {"token": token, "access_token": token, "expires_in": int(life_s), "issued_at": issued}
        return json_answer(json.dumps(document).encode(), (("cache-control", "no-store"),))

    def _routes(self, request: Request, endpoint: Endpoint, asked: TokenRequest) -> list[Route]:
        """The repositories to grant: what cannot be pulled here is left out, because a subset is no error."""
        routes = []
        for scope in asked.scopes:
            if scope.wants_pull:
                try:
                    routes.append(resolve(scope.name, endpoint.namespace, request, self._table))
                except OciError:
                    continue
        return routes

    async def credential_for(self, credential: Credential, route: Route, request: Request) -> Credential | None:
        """What of a client's Basic credentials may be shown to a route's upstream: all or nothing."""
        if route.upstream in self._proven.get(credential, {}):
            return credential
        home = self._home(request)
        with self._guarded(request, credential):
            proof = await self._prove_or_none(credential, route, home)
        return credential if proof.upstream == route.upstream else None

    async def _prove_or_none(self, credential: Credential, route: Route, home: str) -> ProvenAt:
        """As `_prove`; what is not to be proven now is proven nowhere: what is open to everybody may still be had."""
        try:
            async with self._fetcher.patience(
                Target(self._origins[route.upstream]), is_covered=True, slow_s=LOGIN_PATIENCE_S
            ):
                return await self._prove(credential, route.upstream, home, [route])
        except OciError as error:
            if error.status == 401:
                raise
            return ProvenAt("", None)

    def _guarded(self, request: Request, credential: Credential) -> AbstractContextManager[None]:
        """Around every proof: see Attempts.trying. What held anywhere is no guess."""
        return nullcontext() if credential in self._proven else self._attempts.trying(request.peer, credential)

    async def _prove_if_possible(
        self, credential: Credential, upstream: str, home: str, routes: list[Route]
    ) -> ProvenAt:
        """As `_prove`; while the upstream fails, whoever names repositories may have what is open to everybody.

        Otherwise a login would keep its owner from what an anonymous client is given from the cache.
        """
        try:
            async with self._fetcher.patience(
                Target(self._origins[upstream]), is_covered=bool(routes), slow_s=LOGIN_PATIENCE_S
            ):
                return await self._prove(credential, upstream, home, routes)
        except OciError as error:
            if not routes or error.status not in COVERED:
                raise
            return ProvenAt("", MIN_LIFETIME_S)

    async def _prove(self, credential: Credential, upstream: str, home: str, routes: list[Route]) -> ProvenAt:
        """Where a credential holds: at the upstream that the scope names, or at the host name's own.

        Clients send what they were given for this gateway's host name with every image, so a Docker Hub login
        also comes along when the image is from ghcr.io. Once it is known whose it is, nobody else is shown it,
        and the others are pulled from anonymously. Raises OciError as `check` does.
        """
        known = self._proven.get(credential)
        if known and upstream not in known and upstream != home:
            return ProvenAt(next(iter(known)), None)
        try:
            life_s = await self.check(self._origins[upstream], credential, routes)
        except OciError as error:
            # ghcr.io answers 403 to a credential that is not its own
            if error.status not in (400, 401, 403) or upstream == home:
                raise
            life_s = await self.check(self._origins[home], credential, [])
            upstream = home
        self._proven.setdefault(credential, {})[upstream] = None
        while len(self._proven) > MAX_REMEMBERED:
            self._proven.popitem(last=False)
        return ProvenAt(upstream, life_s)

    def _home(self, request: Request) -> str:
        """The upstream that a host name means when no image is named: `docker login`. Not what `?ns=` says."""
        place = resolve_host(request, self._table)
        return place.name if place else self._table.default

    async def check_ping(self, credential: Credential, upstream: str, request: Request) -> None:
        """Prove a credential that came with `/v2/`, which means this upstream. Raises OciError as `check`, and 429."""
        with self._guarded(request, credential):
            await self._prove(credential, upstream, self._home(request), [])

    async def check(self, origin: Origin, credential: Credential, routes: list[Route]) -> float | None:
        """Prove a credential to its upstream; how long the proof lives, in seconds, None if it does not say.

        Raises OciError 401 when it is refused, 503 when the upstream cannot be reached.
        """
        repository = routes[0].repository if routes else ""
        proof = await self._fetcher.prove(Target(origin, repository, credential))
        if not proof.accepted:
            raise OciError(
                401,
                Code.UNAUTHORIZED,
                f"{origin.name} refused the user name or password of {credential.username}: log in again",
                detail={"upstream": origin.name},
            )
        return proof.lifetime_s

    async def identify(self, request: Request, service: str) -> Grant | Credential | None:
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
        if grant is None or grant.service != service:
            raise _invalid("the token was not issued by this gateway for this host name: log in again")
        if grant.expires_at <= self._clock.time():
            raise _invalid("the token has expired: ask for a new one")
        return grant


def _invalid(message: str) -> OciError:
    return OciError(401, Code.UNAUTHORIZED, message, detail={"error": "invalid_token"})


def challenge(base: str, service: str, scope: str = "", error: str = "") -> tuple[str, str]:
    """The `WWW-Authenticate` line of a 401: one Bearer challenge that names this gateway."""
    return ("www-authenticate", format_challenge(f"{base}/token", service, scope, error))
