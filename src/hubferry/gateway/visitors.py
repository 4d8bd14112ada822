"""Whoever looks at a page: the same questions as of a pull, asked of a browser.

A visitor may see what a pull would give them: the same rules, rights and limits. Where there are users, a browser logs
in with HTTP Basic; it needs neither a form nor a cookie. Elsewhere a visitor is nobody, and sees what everybody may
pull. A page asks upstreams for its visitor, so that visitors are limited also where clients are not (MOST_A_MINUTE).
"""

from collections.abc import Callable
from dataclasses import dataclass

from hubferry.core.bounded import BoundedMap
from hubferry.core.client import address_group
from hubferry.core.errors import Asked, Code, OciError
from hubferry.core.http import Request
from hubferry.core.image import ImageName
from hubferry.core.image_details import ImageDetails, ImagePlatform, PlatformDetails, Referrer, TagList
from hubferry.core.routing import Endpoint, EndpointKind, Route, RoutingTable, resolve_host
from hubferry.core.rules import Requester
from hubferry.core.search_results import SearchResult, parse_search
from hubferry.core.token_request import parse_basic
from hubferry.gateway.admission import Admission
from hubferry.gateway.callers import Caller, Callers
from hubferry.gateway.request import RegistryRequest, resolve_request
from hubferry.ports.shell import Clock, Visit
from hubferry.pull.inspect import Inspector
from hubferry.pull.pull import Pull
from hubferry.remote.parsing import parsed
from hubferry.remote.refusals import unusable
from hubferry.remote.search import Search
from hubferry.remote.target import Target

MOST_A_MINUTE = 60  # pages of one address that may ask an upstream, or rewrite a long text
SEARCH_S = 300.0  # how long what an upstream found is shown again
SEARCHES_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who looks at a page, and the page that is asked for."""

    request: RegistryRequest
    caller: Caller


@dataclass(frozen=True, slots=True)
class SeenRepository:
    """One repository, as a visitor sees it: what an Inspector finds out with their right. Methods raise OciError."""

    inspector: Inspector
    target: Target

    async def image(self, reference: str) -> ImageDetails:
        """Return what a tag or digest stands for."""
        return await self.inspector.image(self.target, reference)

    async def platform(self, platform: ImagePlatform) -> PlatformDetails:
        """Return one image of it, with its layers."""
        return await self.inspector.platform(self.target, platform)

    async def tags(self) -> TagList:
        """Return the tags of the repository, the newest first."""
        return await self.inspector.tags(self.target)

    async def referrers(self, digest: str) -> list[Referrer]:
        """Return what refers to a manifest."""
        return await self.inspector.referrers(self.target, digest)


class Visitors:
    """Finds out who looks at a page, and what of the registries they may see there."""

    def __init__(
        self,
        table: RoutingTable,
        public_url: str,
        pull: Pull,
        callers: Callers,
        search: Search,
        *,
        admission: Admission,
        clock: Clock,
    ) -> None:
        self._table = table
        self._public_url = public_url
        self._pull = pull
        self._callers = callers
        self._search = search
        self._admission = admission
        self._clock = clock
        self._seen: BoundedMap[tuple[float, int]] = BoundedMap()
        self._found: BoundedMap[tuple[float, bytes]] = BoundedMap(most_bytes=SEARCHES_BYTES)

    def admit(self, received: Request, visit: Visit, *, is_costly: bool = True) -> RegistryRequest:
        """Return the request for a page, after `visit` has admitted who sent it; only costly pages are counted here.

        Raises OciError, 429 for who asks for too much. No password is checked.
        """
        request = self._page_request(received)
        try:
            visit.admit(self._callers.requester(request, parse_basic(request.header("authorization"))))
        except OciError as error:
            raise self._callers.with_challenge(error, request) from None
        if is_costly:
            self._count(received.peer)
        return request

    async def identify(self, received: Request, visit: Visit) -> Visitor:
        """Return who asks for a page, after `visit` has admitted them. Raises OciError; a 401 asks for a login."""
        request = self.admit(received, visit)
        try:
            return Visitor(request, await self._callers.person(request))
        except OciError as error:
            raise self._callers.with_challenge(error, request) from None

    def recognized(self, received: Request) -> Requester | None:
        """Return who asks for a page as far as no password has to be checked to know that; None: nobody known."""
        try:
            request = self._page_request(received)
            return self._callers.requester(request, parse_basic(received.header("authorization")))
        except OciError:
            return None

    def _page_request(self, received: Request) -> RegistryRequest:
        """Return a request for a page as one of the registry. Raises OciError for a strange host name or secret."""
        login = self._callers.client_login(received)
        host = resolve_host(received.host, self._table)
        page = Endpoint(EndpointKind.PAGE)
        return resolve_request(received, page, host, self._table, self._public_url, login=login)

    def login_needed(self, visitor: Visitor) -> OciError:
        """Return the 401 that makes a browser ask for a user name and a password."""
        error = OciError(401, Code.UNAUTHORIZED, "log in as a user of this gateway who may see this page")
        return self._callers.with_challenge(error, visitor.request)

    async def repository(self, visitor: Visitor, image: ImageName) -> SeenRepository:
        """Return the repository of an image for a visitor. Raises OciError when they may not pull it."""
        route = self._route(image)
        try:
            self._admission.check_reference(visitor.caller.requester, visitor.request, route, image.reference)
            credential = await self._callers.credential(visitor.caller, visitor.request, route)
        except OciError as error:
            raise self._callers.with_challenge(error, visitor.request) from None
        target = await self._pull.target(image.upstream, image.repository, credential)
        return SeenRepository(self._pull.inspector, target)

    def tag_filter(self, visitor: Visitor, image: ImageName) -> Callable[[str], bool] | None:
        """Return what decides which tags of a repository a visitor is shown; None: all of them."""
        return self._admission.tag_filter(visitor.caller.requester, self._route(image))

    async def search(self, visitor: Visitor, upstream: str, parameters: dict[str, str]) -> SearchResult:
        """Return what an upstream finds, without what this visitor may not pull. Raises OciError."""
        try:
            self._admission.check_search(visitor.caller.requester, visitor.request)
        except OciError as error:
            raise self._callers.with_challenge(error, visitor.request) from None
        found = await self._find(upstream, parameters)
        try:
            allowed = await self._admission.filtered(found, visitor.caller.requester, self._pull.upstreams[upstream])
            return await parsed(allowed, parse_search)
        except ValueError:
            raise unusable(Asked(upstream, "search", ""), "its result cannot be read") from None

    async def kept_repositories(self, visitor: Visitor, upstream: str, words: str) -> list[str]:
        """Return repositories of an upstream of which something is kept, and that this visitor may pull from."""
        names = await self._pull.inspector.kept_repositories(self._pull.upstreams[upstream], words)
        requester = visitor.caller.requester
        return [name for name in names if self._admission.may_have(requester, Route(upstream, name, name))]

    async def _find(self, upstream: str, parameters: dict[str, str]) -> bytes:
        """Return what an upstream finds, at most SEARCH_S old. It is asked without an account, for anybody."""
        key = (upstream, *sorted(parameters.items()))
        known, now = self._found.get(key), self._clock.monotonic()
        if known is not None and now - known[0] < SEARCH_S:
            return known[1]
        found = await self._search.find(self._pull.upstreams[upstream], parameters)
        self._found.put(key, (now, found), len(found) + sum(map(len, parameters.values())))
        return found

    def _count(self, peer: str) -> None:
        """Count a page. Raises OciError 429 for an address that asks for too many."""
        now, address = self._clock.monotonic(), address_group(peer)
        since, count = self._seen.get(address) or (now, 0)
        if now - since >= 60.0:
            since, count = now, 0
        if count >= MOST_A_MINUTE:
            wait_s = round(60.0 - (now - since)) + 1
            message = f"this gateway shows one address at most {MOST_A_MINUTE} such pages a minute: try again soon"
            raise OciError(429, Code.TOOMANYREQUESTS, message, headers=(("retry-after", str(wait_s)),))
        self._seen.put(address, (since, count + 1))

    @staticmethod
    def _route(image: ImageName) -> Route:
        return Route(image.upstream, image.repository, f"{image.upstream}/{image.repository}")
