"""A client's request -> an answer, for every registry request but those whose answer server/recent.py repeats.

The order is: the client's address; the shape of the request, its endpoint, host and route (request.py); who asks
(callers.py); the operator's rules (admission.py); the content (pull/), of which responses.py makes the answer. An
OciError that a registry request raises becomes its answer here. A shell answers by itself only what it refuses before
it calls the gateway.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hubferry.core import client, own_image, routing
from hubferry.core.errors import Asked, Denied, OciError, TokenNeeded
from hubferry.core.http import Headers, Request
from hubferry.core.routing import EndpointKind, Route, RoutingTable
from hubferry.core.rules import Requester
from hubferry.core.search_results import split_query, with_registry
from hubferry.core.settings import ServerSettings
from hubferry.core.token_request import parse_basic
from hubferry.gateway.admission import Admission
from hubferry.gateway.answer import AccessRecord, Answer, error_answer, json_answer
from hubferry.gateway.callers import Caller, Callers
from hubferry.gateway.download import Downloads, parse_order
from hubferry.gateway.request import RegistryRequest, resolve_request
from hubferry.gateway.responses import (
    absent_answer,
    blob_answer,
    manifest_answer,
    own_answer,
    referrers_answer,
    tags_answer,
)
from hubferry.gateway.visitors import Visitors
from hubferry.ports.shell import UNLIMITED, Visit
from hubferry.ports.upstream import UpstreamFailure
from hubferry.pull.export import Exporter
from hubferry.pull.pull import Pull
from hubferry.pull.results import Absent
from hubferry.pull.warm import Warmer
from hubferry.remote.limits import RateLimits
from hubferry.remote.lists import referrers_query, tags_query
from hubferry.remote.parsing import parsed
from hubferry.remote.refusals import unreachable, unusable
from hubferry.remote.search import Search
from hubferry.remote.target import Target

API_VERSION = ("docker-distribution-api-version", "registry/2.0")
NO_STORE = ("cache-control", "no-store")
SEARCHED = ("q", "n", "page")  # parameters of a search that are passed on


class Gateway:
    """Answers the registry requests of one configuration.

    `pull` and `search` are what it answers from, for pages and commands, which ask without a request.
    """

    def __init__(
        self,
        server: ServerSettings,
        table: RoutingTable,
        pull: Pull,
        callers: Callers,
        search: Search,
        *,
        admission: Admission,
        downloads: Downloads,
        is_down: Callable[[str], bool],
        visitors: Visitors,
        limits: RateLimits,
    ) -> None:
        """`is_down` says of an upstream that it cannot be reached at the moment, nor any of its mirrors."""
        self.is_down = is_down
        self.visitors = visitors
        self.limits = limits
        self._public_url = server.public_url
        self._cors_origins = server.cors_origins
        self._table = table
        self.pull = pull
        self._callers = callers
        self.search = search
        self._admission = admission
        self._downloads = downloads

    async def handle(self, request: Request, visit: Visit = UNLIMITED) -> Answer | None:
        """The answer to a request, or None when its path is not one of the registry protocol.

        `visit` is told who sent it, and may refuse that client. Never raises OciError. The shell sends the body and
        closes it.
        """
        try:
            self._admission.check_address(request)
            client.check_request(request)
            if request.method == "OPTIONS":
                return self._preflight(request)
            login = self._callers.client_login(request)
            endpoint = routing.parse_endpoint(request.method, request.path, request.query)
            host = routing.resolve_host(request.host, self._table)
            if endpoint is None:
                return None
            resolved = resolve_request(request, endpoint, host, self._table, self._public_url, login=login)
        except OciError as error:
            return self._with_common(_refusal(error, AccessRecord()), request)
        return self._with_common(await self._answer(resolved, visit), request)

    def failed_before_body(self, request: Request, record: AccessRecord, failure: UpstreamFailure) -> Answer:
        """What to send instead of an answer whose body broke off before the client was promised anything."""
        return self._with_common(_refusal(unreachable(record.upstream, failure), record), request)

    def revision(self) -> int:
        """Return a number that changes whenever an answer given a moment ago may no longer be given again."""
        return self.pull.revision() + self._callers.revision()

    def warmer(self) -> Warmer:
        """What fills the cache without anybody asking. Raises ValueError for a gateway that keeps no blobs."""
        return self.pull.warmer

    def exporter(self) -> Exporter:
        """What makes files of images without a request. Raises ValueError for a shell that cannot read blobs."""
        if self._downloads.exporter is None:
            raise ValueError("only a shell that reads blobs can write them to a file")
        return self._downloads.exporter

    async def close(self) -> None:
        """End the work that goes on beside the requests (prefetching)."""
        await self.pull.close()

    async def _answer(self, request: RegistryRequest, visit: Visit) -> Answer:
        record = AccessRecord()
        try:
            if request.route is not None:
                reference = request.endpoint.reference
                record = AccessRecord(request.route.upstream, request.route.repository, reference)
                caller = await self._identify(request, visit)
                record = _with_user(record, caller)
                rule = self._admission.check_image(caller.requester, request, request.route)
                record = replace(record, rule=rule)
                return await self._of_repository(request, request.route, record, caller)
            if request.endpoint.kind is EndpointKind.PING:
                visit.admit(self._callers.requester(request, None))
                return json_answer(b"true")
            if request.endpoint.kind is EndpointKind.API_ROOT:
                await self._callers.check_api_root(await self._identify(request, visit), request)
                return json_answer(b"{}")
            if request.endpoint.kind is EndpointKind.SEARCH:
                record = AccessRecord(request.upstream)
                parameters = {name: request.endpoint.param(name) for name in SEARCHED}
                caller = await self._identify_person(request, visit)
                return replace(json_answer(await self._find(caller.requester, request, parameters)), record=record)
            if request.endpoint.kind is EndpointKind.DOWNLOAD:
                order = parse_order(request, self._table)
                record = order.images[0].record
                is_download = request.wants_body and order.is_fixed
                caller = await self._identify_person(request, visit, is_download=is_download)
                records = []
                for image in order.images:
                    record = _with_user(image.record, caller)
                    reference = image.reference
                    rule = self._admission.check_reference(caller.requester, request, image.route, reference)
                    records.append(replace(record, rule=rule))
                record = records[0]
                return await self._downloads.answer(request, order, caller, records)
            if request.endpoint.kind is EndpointKind.TOKEN:
                form = self._callers.login.read(request)
                visit.admit(self._callers.requester(request, form.credential))
                asked = await self._callers.token_question(request, form)
                record = AccessRecord(asked.upstream, user="" if asked.login is None else asked.login.user)
                return replace(json_answer(await self._callers.login.issue(request, asked), (NO_STORE,)), record=record)
            raise AssertionError(f"nothing answers {request.endpoint.kind}")
        except OciError as error:
            return _refusal(self._callers.with_challenge(error, request), record)

    async def _find(self, requester: Requester, request: RegistryRequest, parameters: dict[str, str]) -> bytes:
        self._admission.check_search(requester, request)
        upstream, named = self.pull.upstreams[request.upstream], ""
        if upstream.settings.default:  # a host name that is another registry's means that one
            named, parameters["q"] = split_query(parameters["q"], self.pull.upstreams)
            upstream = self.pull.upstreams[named or upstream.name]
        found = await self.search.find(upstream, parameters)
        try:
            found = await self._admission.filtered(found, requester, upstream)
            return await parsed(found, partial(with_registry, registry=named)) if named else found
        except ValueError:
            raise unusable(Asked(upstream.name, "search", ""), "its result cannot be read") from None

    async def _of_repository(
        self, request: RegistryRequest, route: Route, record: AccessRecord, caller: Caller
    ) -> Answer:
        if route.repository == own_image.REPOSITORY and (own := own_answer(request, record)) is not None:
            return own
        credential = await self._callers.credential(caller, request, route)
        target = await self.pull.target(route.upstream, route.repository, credential)
        kind = request.endpoint.kind
        if kind is EndpointKind.MANIFEST:
            answer = await self._manifest(request, target, record)
        elif kind is EndpointKind.BLOB:
            found = await self.pull.blob(target, request.blob_query())
            record = replace(record, digest=request.endpoint.reference if request.wants_body else "")
            answer = blob_answer(request.endpoint.reference, found, record)
        elif kind is EndpointKind.TAGS:
            tag_filter = self._admission.tag_filter(caller.requester, route)
            answer = await self._tags(request, route, target, record, tag_filter)
        elif kind is EndpointKind.REFERRERS:
            answer = await self._referrers(request, route, target, record)
        else:
            raise AssertionError(f"nothing answers {kind}")
        if request.login is not None:  # links are for who has the secret
            answer = replace(answer, headers=_below(request.received.secret, answer.headers))
        if not route.namespace:
            return answer
        return replace(answer, headers=(*answer.headers, ("oci-namespace", route.namespace)))

    async def _identify(self, request: RegistryRequest, visit: Visit) -> Caller:
        """Return who sent a request, after `visit` has admitted it. Raises OciError."""
        try:
            caller = await self._callers.identify(request)
        except OciError:  # whoever shows what does not count is counted by address
            visit.admit(Requester(request.received.peer))
            raise
        is_download = request.endpoint.kind is EndpointKind.BLOB and request.wants_body
        visit.admit(caller.requester, is_download=is_download)
        return caller

    async def _identify_person(self, request: RegistryRequest, visit: Visit, *, is_download: bool = False) -> Caller:
        """Return who sent a request with which people show their password, checked after `visit` has admitted it.

        Raises OciError.
        """
        credential = parse_basic(request.header("authorization"))
        visit.admit(self._callers.requester(request, credential), is_download=is_download)
        return await self._callers.person(request)

    async def _manifest(self, request: RegistryRequest, target: Target, record: AccessRecord) -> Answer:
        found = await self.pull.manifest(target, request.manifest_query())
        if isinstance(found, Absent):
            return absent_answer(found, record)
        record = replace(record, digest=found.info.digest if request.wants_body else "")
        answer = manifest_answer(request, found, record)
        if isinstance(answer.body, bytes):
            await self.pull.manifest_given(target, found.info.digest, answer.body, request.received.peer)
        return answer

    async def _tags(
        self,
        request: RegistryRequest,
        route: Route,
        target: Target,
        record: AccessRecord,
        tag_filter: Callable[[str], bool] | None,
    ) -> Answer:
        page = request.page()
        query = tags_query(page)
        found = await self.pull.list(target, query)
        try:
            return await tags_answer(route, page, found, record, tag_filter)
        except ValueError:
            raise unusable(query.asked_of(target), "its list cannot be read") from None

    async def _referrers(self, request: RegistryRequest, route: Route, target: Target, record: AccessRecord) -> Answer:
        page = request.referrers_page()
        found = await self.pull.list(target, referrers_query(page.digest, page.artifact_type, page.page))
        return referrers_answer(route, page, found, record)

    def _preflight(self, request: Request) -> Answer:
        """CORS: what a browser asks before it reads a registry from a page of another origin."""
        allowed = client.cors_headers(request.header("origin"), self._cors_origins, preflight=True)
        return Answer(204, (("allow", "GET, HEAD, OPTIONS"), *allowed))

    def _with_common(self, answer: Answer, request: Request) -> Answer:
        """Add the headers that every answer of the registry has."""
        origins = self._cors_origins
        cors = client.cors_headers(request.header("origin"), origins, preflight=False) if origins else ()
        return replace(answer, headers=(*answer.headers, API_VERSION, *cors))


def _below(secret: str, headers: Headers) -> Headers:
    """Return headers whose links lead through the path of a client secret."""
    return tuple(
        (name, value.replace("</v2/", f"</{secret}/v2/", 1) if name == "link" else value) for name, value in headers
    )


def _with_user(record: AccessRecord, caller: Caller) -> AccessRecord:
    user = caller.requester.user
    return record if user is None else replace(record, user=user.name)


def _refusal(error: OciError, record: AccessRecord) -> Answer:
    if isinstance(error, Denied):
        record = replace(record, rule=error.rule, is_denied=True)
    ended = record.ended("challenge") if isinstance(error, TokenNeeded) else record.ended("error", error.message)
    return replace(error_answer(error), record=ended)
