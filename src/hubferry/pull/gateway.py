"""A client's request -> an answer. The only thing a shell calls.

Order: shape of the request, endpoint, who asks, which repository, then content. Every OciError becomes an answer
here and nowhere else, every 401 gets the gateway's own challenge.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from hubferry.core import client, routing
from hubferry.core.access import Credential, Grant, Identities
from hubferry.core.errors import Asked, Code, OciError, TokenNeeded, relay_error
from hubferry.core.headers import UNENCODED
from hubferry.core.http import Headers, Request, get
from hubferry.core.redirect import RegistrableDomain
from hubferry.core.routing import Endpoint, Kind, Route, RoutingTable
from hubferry.core.scope import pull_scope
from hubferry.core.settings import Settings
from hubferry.ports import (
    BlobCache,
    BlobIndex,
    BlobStore,
    Clock,
    ContentStore,
    EventLog,
    Fills,
    Index,
    ManifestReader,
    Metrics,
    Sealer,
    TooLarge,
    Uncounted,
    Upstream,
    UpstreamFailure,
)
from hubferry.pull.answer import Answer, Trail, error_answer, json_answer
from hubferry.pull.cached_blobs import CachedBlobs
from hubferry.pull.companions import Companions
from hubferry.pull.exchanges import Exchanges
from hubferry.pull.fetch import Fetcher, Patience, unreachable
from hubferry.pull.flights import Flights, SharedFlights
from hubferry.pull.kept_blobs import KeptBlobs
from hubferry.pull.kept_lists import KeptLists
from hubferry.pull.kept_manifests import KeptManifests, timing_of
from hubferry.pull.limits import Limits
from hubferry.pull.lists import ListSource, UpstreamLists, answer_referrers, answer_tags
from hubferry.pull.login import Login, challenge
from hubferry.pull.manifests import ManifestSource, UpstreamManifests
from hubferry.pull.prefetch import Prefetch
from hubferry.pull.proofs import Proofs
from hubferry.pull.referrers import ReferrersLists, ReferrersTags
from hubferry.pull.rights import Revision, Rights
from hubferry.pull.streamed_blobs import StreamedBlobs
from hubferry.pull.target import Origin, Question, Target
from hubferry.pull.upstream_tokens import UpstreamTokens
from hubferry.pull.warm import Warmer

API_VERSION = ("docker-distribution-api-version", "registry/2.0")
MAX_SEARCH = 2**20


@dataclass(frozen=True, slots=True)
class Keep:
    """Where a gateway keeps content that it reads, and what it knows of it."""

    index: BlobIndex
    store: ContentStore
    blobs: BlobStore
    fills: Fills


@dataclass(frozen=True, slots=True)
class PassingKeep:
    """Where a gateway keeps what passes through it, and what it knows of it."""

    index: Index
    store: ContentStore
    blobs: BlobCache


class Gateway:
    """Answers registry requests for one resolved configuration."""

    def __init__(
        self,
        settings: Settings,
        table: RoutingTable,
        origins: Sequence[Origin],
        *,
        upstream: Upstream,
        manifests: ManifestReader,
        sealer: Sealer,
        clock: Clock,
        log: EventLog,
        registrable_domain: RegistrableDomain,
        keep: Keep | PassingKeep | None = None,
        identities: Identities | None = None,
        metrics: Metrics | None = None,
        flights: Callable[[], Flights] = SharedFlights,
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        """`keep` is where content is kept; None: everything is streamed through.

        `identities` name logins in the index of `keep`; None: as no other process names them.
        """
        self._settings = settings
        self._table = table
        self._origins = {origin.name: origin for origin in origins}
        self._upstream = upstream
        accounts = {origin.name: origin.accounts for origin in origins}
        limits = Limits(clock, log, metrics or Uncounted(), accounts)
        tokens = UpstreamTokens(upstream, limits, clock, log, registrable_domain=registrable_domain, flights=flights())
        self._fetcher = Fetcher(Exchanges(upstream, tokens, log), limits, clock=clock, log=log, patience=patience)
        self._streamed = StreamedBlobs(self._fetcher)
        self._lists: ListSource = UpstreamLists(self._fetcher, upstream)
        direct = UpstreamManifests(self._fetcher, manifests, metrics)
        self._revision = Revision() if keep is None else Revision(keep.index.withdrawals)
        self._manifests: ManifestSource = direct
        self._blobs: KeptBlobs | CachedBlobs | None = None
        self._keep = keep
        self._companions: Companions | None = None
        self._prefetch: Prefetch | None = None
        self._rights: Rights | None = None
        if keep is not None:
            rights = self._rights = Rights(
                keep.index,
                clock,
                self._revision,
                identities=identities or Identities(secrets.token_bytes(32)),
                public_ttl_s=settings.cache.public_ttl.seconds,
                believes_mirrors=isinstance(keep, Keep),
            )
            timing = timing_of(settings.cache)
            self._manifests = KeptManifests(
                direct,
                keep.index,
                keep.store,
                rights,
                timing,
                proofs=Proofs(rights, flights(), clock),
                clock=clock,
                log=log,
                metrics=metrics,
            )
            if isinstance(keep, Keep):
                lists = KeptLists(
                    UpstreamLists(self._fetcher, upstream),
                    self._fetcher,
                    keep.index,
                    keep.store,
                    rights=rights,
                    timing=timing,
                    proofs=Proofs(rights, flights(), clock),
                    unknown_referrers_are_absent=settings.cache.unknown_referrers == "absent",
                    clock=clock,
                    log=log,
                )
                self._manifests = ReferrersTags(self._manifests, lists, keep.index, rights)
                self._lists = ReferrersLists(lists, self._manifests)
            self._blobs = self._blobs_of(keep, rights, Proofs(rights, flights(), clock), log, clock)
        is_open = settings.access.login == "open"
        self._login = Login(table, self._origins, self._fetcher, sealer, clock, is_open=is_open)

    def _blobs_of(
        self, keep: Keep | PassingKeep, rights: Rights, proofs: Proofs, log: EventLog, clock: Clock
    ) -> KeptBlobs | CachedBlobs:
        stream = self._streamed.answer
        if isinstance(keep, PassingKeep):
            return CachedBlobs(keep.blobs, rights, proofs=proofs, stream=stream)
        kept = KeptBlobs(
            self._fetcher,
            keep.index,
            keep.blobs,
            keep.fills,
            rights,
            proofs=proofs,
            stream=stream,
            clock=clock,
            log=log,
            is_only_upstream=len(self._origins) == 1,
        )
        self._companions = companions = Companions(
            self._manifests,
            self._lists,
            keep.blobs,
            share=self._fetcher.share,
            referrers_bytes=self._settings.warm.referrers.size_bytes,
        )
        if self._settings.cache.prefetch or self._settings.cache.complete:
            self._prefetch = Prefetch(
                kept.fill,
                keep.index,
                clock,
                log=log,
                fetches_layers=self._settings.cache.prefetch,
                companions=companions if self._settings.cache.complete else None,
            )
        return kept

    async def close(self) -> None:
        """End what goes on beside the requests."""
        if self._prefetch is not None:
            await self._prefetch.close()

    async def handle(self, request: Request) -> Answer | None:
        """The answer to a request, or None when its path is not one of the registry protocol.

        Never raises OciError. The shell sends the body and closes it.
        """
        trail = Trail()
        try:
            client.check_request(request)
            if request.method == "OPTIONS":
                return self._preflight(request)
            endpoint = routing.parse_endpoint(request.method, request.path, request.query)
            if endpoint is None:
                routing.resolve_host(request, self._table)
                return None
            answer = await self._answer(request, endpoint, trail)
        except TokenNeeded as error:
            trail.outcome = "challenge"
            answer = self._refusal(request, error)
        except OciError as error:
            trail.outcome = "error"
            trail.problem = error.message
            answer = self._refusal(request, error)
        return replace(answer, headers=answer.headers + self._common(request), trail=trail)

    def warmer(self) -> Warmer:
        """What fills the cache without anybody asking. Raises ValueError for a gateway that keeps no blobs."""
        if not isinstance(self._blobs, KeptBlobs) or not isinstance(self._keep, Keep) or self._companions is None:
            raise ValueError("only what is kept can be kept warm")
        return Warmer(
            self._account_target, self._companions, self._blobs, store=self._keep.blobs, fills=self._keep.fills
        )

    async def _account_target(self, upstream: str, repository: str) -> Target:
        origin = self._origins[upstream]
        return await self._target(origin, repository, origin.account)

    async def _target(self, origin: Origin, repository: str, credential: Credential | None) -> Target:
        target = Target(origin, repository, credential)
        if not origin.settings.mirrors:
            return target
        may = target.is_anonymous if self._rights is None else await self._rights.may_ask_mirrors(target)
        return replace(target, may_use_mirrors=may)

    def revision(self) -> int:
        """A number that is another one whenever an answer that was reusable may no longer be right."""
        return self._revision.number

    def failed_before_body(self, request: Request, trail: Trail, failure: UpstreamFailure) -> Answer:
        """What to send instead of an answer whose body broke off before the client was promised anything."""
        error = unreachable(trail.upstream, failure)
        trail = replace(trail, outcome="error", problem=error.message)
        answer = error_answer(error)
        return replace(answer, headers=answer.headers + self._common(request), trail=trail)

    async def _answer(self, request: Request, endpoint: Endpoint, trail: Trail) -> Answer:
        if endpoint.kind is Kind.PING:
            routing.resolve_host(request, self._table)
            return json_answer(b"true")
        if endpoint.kind is Kind.TOKEN:
            return await self._login.issue(request, endpoint, self._service(request), trail)
        if endpoint.kind is Kind.SEARCH:
            return await self._search(request, endpoint, trail)
        if endpoint.kind is Kind.BASE:
            return await self._base(request, endpoint)
        route = routing.resolve(endpoint.name, endpoint.namespace, request, self._table)
        trail.upstream, trail.repository, trail.reference = (
            route.upstream,
            route.repository,
            endpoint.reference,
        )
        trail.outcome = "bypass"
        try:
            credential = await self._authorise(request, route, endpoint.kind)
            answer = await self._repository(request, endpoint, route, credential, trail)
        except OciError as error:
            if error.status != 401 or get(error.headers, "www-authenticate") is not None:
                raise
            invalid = isinstance(error.detail, dict) and error.detail.get("error") == "invalid_token"
            reason = "invalid_token" if invalid else "insufficient_scope"
            raise error.with_header(self._challenge(request, pull_scope(route.named), reason)) from None
        if endpoint.namespace:
            answer = replace(answer, headers=(*answer.headers, ("oci-namespace", endpoint.namespace)))
        return answer

    async def _repository(
        self, request: Request, endpoint: Endpoint, route: Route, credential: Credential | None, trail: Trail
    ) -> Answer:
        target = await self._target(self._origins[route.upstream], route.repository, credential)
        if endpoint.kind is Kind.MANIFEST:
            answer = await self._manifests.answer(request, target, endpoint.reference, trail)
            if self._prefetch is not None and answer.status == 200 and isinstance(answer.body, bytes):
                digest = get(answer.headers, "docker-content-digest") or ""
                await self._prefetch.manifest_given(target, request.peer, digest, answer.body)
            return answer
        if endpoint.kind is Kind.BLOB:
            if self._prefetch is not None and request.method == "GET":
                self._prefetch.blob_asked(target, request.peer, endpoint.reference)
            if self._blobs is not None:
                return await self._blobs.answer(request, target, endpoint.reference, trail)
            return await self._streamed.answer(request, target, endpoint.reference)
        if endpoint.kind is Kind.TAGS:
            return await answer_tags(self._lists, route, target, endpoint, trail)
        return await answer_referrers(self._lists, route, target, endpoint, trail)

    async def _base(self, request: Request, endpoint: Endpoint) -> Answer:
        """`/v2/`: what clients ping to learn how to authenticate; never a redirect."""
        place = routing.resolve_host(request, self._table)
        if endpoint.namespace:
            place = routing.known(endpoint.namespace, self._table)
        who = await self._login.identify(request, self._service(request))
        if isinstance(who, Credential):
            await self._login.check_ping(who, place.name if place else self._table.default, request)
        if who is None and self._settings.access.login != "open":
            raise TokenNeeded("a token is needed: the challenge says where to get one, also anonymously")
        return json_answer(b"{}")

    async def _authorise(self, request: Request, route: Route, kind: Kind) -> Credential | None:
        """The credential to use upstream. Raises OciError 401 with a challenge when a token is needed."""
        who = await self._login.identify(request, self._service(request))
        account = self._origins[route.upstream].account
        if isinstance(who, Credential):
            return await self._login.credential_for(who, route, request) or account
        library = bool(self._settings.upstreams[route.upstream].library)
        if isinstance(who, Grant) and who.covers(route, library):
            return who.credential or account
        if self._settings.access.login == "open":
            return account
        message = f"a token for pulling {route.named} is needed: the challenge says where to get one"
        if who is None:
            if kind is Kind.BLOB and await self._is_open_to_all(route):
                return account
            raise TokenNeeded(message, headers=(self._challenge(request, pull_scope(route.named)),))
        line = self._challenge(request, pull_scope(route.named), "insufficient_scope")
        raise OciError(401, Code.UNAUTHORIZED, message, headers=(line,))

    async def _is_open_to_all(self, route: Route) -> bool:
        """Whether an upstream lately showed a repository to anonymous clients, to whom anybody may belong.

        A blob of it needs no token then: ollama asks for ranges of blobs without the one that it has.
        """
        origin = self._origins[route.upstream]
        if self._rights is None:
            return False
        return (await self._rights.of(Target(origin, route.repository, origin.account))).covers

    async def _search(self, request: Request, endpoint: Endpoint, trail: Trail) -> Answer:
        """`docker search`: relayed to the upstream's search, which has limits of its own."""
        place = routing.resolve_host(request, self._table)
        if endpoint.namespace:
            place = routing.known(endpoint.namespace, self._table)
        name = trail.upstream = place.name if place else self._table.default
        url = self._settings.upstreams[name].search_url
        if not url:
            raise OciError(404, Code.UNSUPPORTED, f"searching {name} is not supported: it has no search_url")
        wanted = {key: endpoint.param(key)[:255] for key in ("q", "n", "page") if endpoint.param(key)}
        path = f"?{urlencode(wanted, quote_via=quote)}"
        search = replace(self._origins[name], settings=replace(self._settings.upstreams[name], url=url, mirrors=()))
        asked = Asked(name, "search", "", Code.UNSUPPORTED)
        response = await self._fetcher.fetch(Question(Target(search), asked, "GET", path, UNENCODED, "search"))
        if response.status != 200:
            await response.body.close()
            raise relay_error(response.status, response.headers, asked)
        try:
            return json_answer(await self._upstream.read(response, MAX_SEARCH))
        except TooLarge:
            raise OciError(502, Code.UNKNOWN, f"the search result of {name} is too large") from None
        except UpstreamFailure as error:
            raise unreachable(name, error) from error

    def _preflight(self, request: Request) -> Answer:
        """CORS: what a browser asks before it reads a registry from a page of another origin."""
        origins = self._settings.server.cors_origins
        allowed = client.cors_headers(request.header("origin"), origins, preflight=True)
        return Answer(204, (("allow", "GET, HEAD, OPTIONS"), *allowed))

    def _refusal(self, request: Request, error: OciError) -> Answer:
        if error.status == 401 and get(error.headers, "www-authenticate") is None:
            reason = "invalid_token" if (request.header("authorization") or "").lower()[:7] == "bearer " else ""
            error = error.with_header(self._challenge(request, "", reason))
        return error_answer(error)

    def _common(self, request: Request) -> Headers:
        origins = self._settings.server.cors_origins
        cors = client.cors_headers(request.header("origin"), origins, preflight=False) if origins else ()
        return (API_VERSION, *cors)

    def _base_url(self, request: Request) -> str:
        listed = self._table.by_host(request.host) is not None
        return client.public_base(request, self._settings.server.public_url, host_is_listed=listed)

    def _service(self, request: Request) -> str:
        return client.service_of(self._base_url(request))

    def _challenge(self, request: Request, scope: str = "", error: str = "") -> tuple[str, str]:
        base = self._base_url(request)
        return challenge(base, client.service_of(base), scope, error)
