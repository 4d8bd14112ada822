"""Whose right counts for a request: what it shows, what that opens, and the challenge when it opens nothing."""

from hubferry.core.access import Credential, Grant
from hubferry.core.errors import Code, OciError, TokenNeeded
from hubferry.core.http import get
from hubferry.core.routing import EndpointKind, Route
from hubferry.core.scope import pull_scope
from hubferry.gateway.login import Login, challenge
from hubferry.gateway.request import RegistryRequest
from hubferry.pull.pull import Pull


class Callers:
    """Finds out for each request which credential is used upstream, and challenges clients that show nothing."""

    def __init__(self, login: Login, pull: Pull, *, is_open: bool) -> None:
        """With `is_open` no token is asked for (`access.login = "open"`)."""
        self.login = login
        self._pull = pull
        self._is_open = is_open

    async def check_api_root(self, request: RegistryRequest) -> None:
        """Check what came with `/v2/`, which clients ping to learn how to authenticate.

        Raises OciError: TokenNeeded when nothing came, 401 for a credential that the upstream refuses.
        """
        shown = await self.login.identify(request)
        if isinstance(shown, Credential):
            await self.login.check_at_api_root(shown, request)
        if shown is None and not self._is_open:
            raise TokenNeeded("a token is needed: the challenge says where to get one, also anonymously")

    async def credential(self, request: RegistryRequest, route: Route) -> Credential | None:
        """The credential to use upstream, None: none. Raises OciError 401 with a challenge when a token is needed."""
        shown = await self.login.identify(request)
        upstream = self._pull.upstreams[route.upstream]
        if isinstance(shown, Credential):
            return await self.login.credential_for(shown, route, request) or upstream.account
        if isinstance(shown, Grant) and shown.allows(route, bool(upstream.settings.library)):
            return shown.credential or upstream.account
        if self._is_open:
            return upstream.account
        message = f"a token for pulling {route.named} is needed: the challenge says where to get one"
        if shown is not None:
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
        if request.route is None:
            shown = (request.header("authorization") or "").lower()
            return error.with_header(self.challenge(request, "", "invalid_token" if shown[:7] == "bearer " else ""))
        is_invalid = isinstance(error.detail, dict) and error.detail.get("error") == "invalid_token"
        reason = "invalid_token" if is_invalid else "insufficient_scope"
        return error.with_header(self.challenge(request, pull_scope(request.route.named), reason))

    @staticmethod
    def challenge(request: RegistryRequest, scope: str = "", error: str = "") -> tuple[str, str]:
        """Return the `WWW-Authenticate` header line for a 401 to this request."""
        return challenge(request.base_url, request.service, scope, error)
