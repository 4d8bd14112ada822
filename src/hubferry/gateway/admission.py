"""The operator's rules (core/rules.py), applied to requests before anything is asked upstream."""

import json
from collections.abc import Callable

from hubferry.core.documents import parse_json
from hubferry.core.errors import Denied, TokenNeeded
from hubferry.core.http import Request
from hubferry.core.reference import complete_library
from hubferry.core.routing import EndpointKind, Route
from hubferry.core.rules import AccessPolicy, Requester
from hubferry.gateway.request import RegistryRequest
from hubferry.remote.parsing import parsed
from hubferry.remote.target import Upstream

# a load balancer asks whether the gateway lives, scrapers have a list of their own, crawlers are told to leave
ALWAYS = frozenset({"/healthz", "/metrics", "/robots.txt"})


class Admission:
    """Refuses addresses and images that the rules of one configuration deny."""

    def __init__(self, policy: AccessPolicy) -> None:
        self._policy = policy

    def check_address(self, request: Request) -> None:
        """Raises Denied for a client that gets nothing here."""
        if request.path not in ALWAYS and not self._policy.admits(request.peer):
            message = f"clients at {request.peer or 'an unknown address'} may not use this gateway: ask whoever runs it"
            raise Denied(message, "access.networks")

    def check_image(self, requester: Requester, request: RegistryRequest, route: Route) -> str:
        """Refuse an image that may not be pulled, and content and lists of its repository.

        Returns what decided that it may be; empty: nothing did. Raises Denied, or TokenNeeded when a user may have it.
        """
        reference = request.endpoint.reference if request.endpoint.kind is EndpointKind.MANIFEST else ""
        return self.check_reference(requester, request, route, reference)

    def check_reference(self, requester: Requester, request: RegistryRequest, route: Route, reference: str) -> str:
        """Refuse an image by its tag or digest, for a request that names several; otherwise as `check_image`."""
        decision = self._policy.decide(requester, route.upstream, route.repository, reference)
        if not decision.is_allowed:
            named = f"{route.named}:{reference}" if reference else route.named
            if decision.needs_login:
                raise TokenNeeded(decision.message or f"log in to pull {named}: docker login {request.service}")
            message = decision.message or f"{named} may not be pulled through this gateway: ask whoever runs it"
            raise Denied(message, decision.by)
        return decision.by

    def may_have(self, requester: Requester, route: Route) -> bool:
        """Return whether anything of a repository may be pulled. A token for others would be of no use."""
        return self._policy.decide(requester, route.upstream, route.repository).is_allowed

    def tag_filter(self, requester: Requester, route: Route) -> Callable[[str], bool] | None:
        """Return what decides which tags of a repository are listed; None: all of them are."""
        return self._policy.tag_filter(requester, route.upstream, route.repository)

    def check_search(self, requester: Requester, request: RegistryRequest) -> None:
        """Refuse a search of whose result nothing could be pulled. Raises TokenNeeded."""
        if requester.user is None and not self._policy.is_open_to_strangers:
            raise TokenNeeded(f"log in to search through this gateway: docker login {request.service}")

    async def filtered(self, found: bytes, requester: Requester, upstream: Upstream) -> bytes:
        """Return the result of a search without images that may not be pulled. Raises ValueError if it is none."""
        if self._policy.is_empty:
            return found

        def is_allowed(one: object) -> bool:
            name = one.get("name") if isinstance(one, dict) else None
            if not isinstance(name, str):
                return False
            repository = complete_library(name) if upstream.settings.library else name
            return self._policy.decide(requester, upstream.name, repository).is_allowed

        def without_denied(document: bytes) -> bytes:
            parsed_document = parse_json(document)
            if not isinstance(parsed_document, dict) or not isinstance(parsed_document.get("results"), list):
                raise ValueError("it has no list of results")
            results = [one for one in parsed_document["results"] if is_allowed(one)]
            return json.dumps({**parsed_document, "results": results}).encode()

        return await parsed(found, without_denied)
