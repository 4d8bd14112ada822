"""Who sent a request, whose right counts for it upstream, and the challenge when it shows nothing that helps.

Two questions, answered separately: whether the client may use the gateway for an image at all, which the rules decide
by address and user (admission.py), and with whose credential the upstream is asked. With `access.login = "upstream"`
what a client shows is a login of the upstream. With "users" it is a login of the gateway's own, with which one of the
upstream may come along (core/users.split_password); a client whose path has a secret is known by that, and shows its
login of the upstream as ever.
"""

from dataclasses import dataclass

from hubferry.core.access import Credential, Grant, UserLogin
from hubferry.core.errors import Code, OciError, TokenNeeded
from hubferry.core.http import Request, get
from hubferry.core.routing import EndpointKind, Route
from hubferry.core.rules import Requester
from hubferry.core.scope import pull_scope
from hubferry.core.token_request import TokenRequest
from hubferry.gateway.admission import Admission
from hubferry.gateway.login import Login, TokenQuestion, challenge
from hubferry.gateway.request import RegistryRequest
from hubferry.gateway.users import Users, unknown_secret
from hubferry.pull.pull import Pull

FOR_PEOPLE = frozenset({EndpointKind.DOWNLOAD, EndpointKind.PAGE})  # a browser or curl shows a password, or nothing


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    `requester` is what the rules decide by. `grant` is that of a token which came with the request, `credential` a
    login of an upstream which did; at most one of them is there.
    """

    requester: Requester
    grant: Grant | None = None
    credential: Credential | None = None


class Callers:
    """Finds out for each request who sent it and which credential is used upstream, and challenges clients."""

    def __init__(
        self, login: Login, pull: Pull, admission: Admission, *, users: Users | None = None, is_open: bool = False
    ) -> None:
        """`users` None: the gateway has none of its own. With `is_open` no token is asked for."""
        self.login = login
        self._pull = pull
        self._admission = admission
        self._users = users
        self._is_open = is_open

    def client_login(self, received: Request) -> UserLogin | None:
        """Return the login of a client by the secret in its path, None: there is none. Raises OciError 404."""
        if self._users is not None:
            return self._users.client(received)
        if received.secret:
            raise unknown_secret()
        return None

    def requester(self, request: RegistryRequest, credential: Credential | None) -> Requester:
        """Return who shows a credential, as far as no password has to be checked to know that: else by address.

        Raises OciError 401 for a login that has ended.
        """
        login = request.login
        if login is None and self._users is not None and credential is not None:
            login = self._users.recognized(credential)
        return self._requester(request.received.peer, login)

    def revision(self) -> int:
        """Return a number that grows whenever a login may have ended."""
        return 0 if self._users is None else self._users.revision()

    async def identify(self, request: RegistryRequest) -> Caller:
        """Return who sent a request. Nobody is asked.

        Raises OciError 401 for a token or login that does not count, and for a password, which has to be shown to the
        token endpoint.
        """
        shown = await self.login.identify(request)
        grant, credential = (shown, None) if isinstance(shown, Grant) else (None, shown)
        address = request.received.peer
        if self._users is None:
            return Caller(Requester(address), grant, credential)
        login = request.login
        if credential is not None:
            found = self._users.by_token(credential)
            if found is not None:
                login, credential = login or found.login, found.credential
            elif login is None or self._users.is_of_gateway(credential):
                raise OciError(401, Code.UNAUTHORIZED, "a password is shown to the token endpoint: see the challenge")
        elif grant is not None:
            if login is not None and grant.login != login:
                raise OciError(401, Code.UNAUTHORIZED, "the token is not of the client whose secret is in the URL")
            login = grant.login
        return Caller(self._requester(address, login), grant, credential)

    async def person(self, request: RegistryRequest) -> Caller:
        """Return who sends a search, or asks for a file or page, for which people show their password, without a token.

        Raises OciError 401 and 503, TooManyAttempts.
        """
        shown = await self.login.identify(request)
        if self._users is None or request.login is not None or not isinstance(shown, Credential):
            return await self.identify(request)
        found = await self._users.log_in(shown, request.received.peer)
        return Caller(self._requester(request.received.peer, found.login), None, found.credential)

    async def token_question(self, request: RegistryRequest, asked: TokenRequest) -> TokenQuestion:
        """Return what a token request asks for, as far as the rules let it have anything.

        Raises OciError: 401 for a wrong password of a user and for somebody without a login who can have nothing, 503,
        TooManyAttempts.
        """
        login, credential = request.login, asked.credential
        if self._users is not None and credential is not None:
            # a client with a secret in its path shows its login of the upstream, and what is of the gateway stays here
            found = self._users.by_token(credential)
            if found is None and (login is None or self._users.is_of_gateway(credential)):
                found = await self._users.log_in(credential, request.received.peer)
            if found is not None:
                login, credential = login or found.login, found.credential
        requester = self._requester(request.received.peer, login)
        routes = [
            route for route in self.login.routes(request, asked.scopes) if self._admission.may_have(requester, route)
        ]
        if self._users is not None and requester.user is None and not routes:
            raise OciError(
                401, Code.UNAUTHORIZED, f"log in to pull through this gateway: docker login {request.service}"
            )
        return self.login.question(request, credential, routes, login)

    async def check_api_root(self, caller: Caller, request: RegistryRequest) -> None:
        """Check what came with `/v2/`, which clients ping to learn how to authenticate.

        Raises OciError: TokenNeeded when nothing came, 401 for a credential that the upstream refuses.
        """
        if caller.credential is not None:
            await self.login.check_at_api_root(caller.credential, request)
        elif caller.grant is None and caller.requester.user is None and not self._is_open:
            raise TokenNeeded("a token is needed: the challenge says where to get one, also anonymously")

    async def credential(self, caller: Caller, request: RegistryRequest, route: Route) -> Credential | None:
        """The credential to use upstream, None: none. Raises OciError 401 with a challenge when a token is needed."""
        upstream = self._pull.upstreams[route.upstream]
        if caller.credential is not None:
            return await self.login.credential_for(caller.credential, route, request) or upstream.account
        if caller.grant is not None and caller.grant.allows(route, bool(upstream.settings.library)):
            return caller.grant.credential or upstream.account
        # for these nobody gets a token first: what everybody may pull is given without one
        may_have_no_token = caller.requester.user is not None or request.endpoint.kind in FOR_PEOPLE
        if self._is_open or (caller.grant is None and may_have_no_token):
            return upstream.account
        message = f"a token for pulling {route.named} is needed: the challenge says where to get one"
        if caller.grant is not None:
            line = self.challenge(request, pull_scope(route.named), "insufficient_scope")
            raise OciError(401, Code.UNAUTHORIZED, message, headers=(line,))
        # ollama asks for ranges of blobs without the token that it has: what is open to everybody is given without one
        if request.endpoint.kind is EndpointKind.BLOB and await self._pull.is_open_to_all(
            route.upstream, route.repository
        ):
            return upstream.account
        raise TokenNeeded(message, headers=(self.challenge(request, pull_scope(route.named)),))

    def with_challenge(self, error: OciError, request: RegistryRequest) -> OciError:
        """Return an error with the gateway's own challenge if it is a 401 that has none; any other as it is."""
        if error.status != 401 or get(error.headers, "www-authenticate") is not None:
            return error
        if request.endpoint.kind in FOR_PEOPLE and self._users is not None:
            return error.with_header(
                ("www-authenticate", f'Basic realm="hubferry at {request.service}", charset="UTF-8"')
            )
        if request.route is None:
            shown = (request.header("authorization") or "").lower()
            return error.with_header(self.challenge(request, "", "invalid_token" if shown[:7] == "bearer " else ""))
        scope = pull_scope(request.route.named)
        if isinstance(error, TokenNeeded):
            return error.with_header(self.challenge(request, scope))
        is_invalid = isinstance(error.detail, dict) and error.detail.get("error") == "invalid_token"
        return error.with_header(
            self.challenge(request, scope, "invalid_token" if is_invalid else "insufficient_scope")
        )

    def _requester(self, address: str, login: UserLogin | None) -> Requester:
        """Return who asks. Raises OciError 401 for a login that has ended."""
        return Requester(address, None if login is None or self._users is None else self._users.user_of(login))

    @staticmethod
    def challenge(request: RegistryRequest, scope: str = "", error: str = "") -> tuple[str, str]:
        """Return the `WWW-Authenticate` header line for a 401 to this request."""
        return challenge(request.base_url, request.service, scope, error)
