"""`docker search`, relayed to the search of an upstream: an API of its own, with limits of its own.

Not here: the forms of questions and answers (core/search_results.py).
"""

from dataclasses import replace

from hubferry.core.errors import Asked, Code, OciError, relay_error
from hubferry.core.headers import UNENCODED
from hubferry.core.search_results import is_quay, search_query, to_docker_form
from hubferry.ports.upstream import TooLarge, Transport, UpstreamFailure
from hubferry.remote.fetch import Fetcher
from hubferry.remote.parsing import parsed
from hubferry.remote.refusals import unreachable, unusable
from hubferry.remote.target import Question, Target, Upstream

MAX_SEARCH = 2**20  # bytes of a result


class Search:
    """Relays searches to the upstreams that have one (`search_url`)."""

    def __init__(self, fetcher: Fetcher, transport: Transport) -> None:
        self._fetcher = fetcher
        self._transport = transport

    async def find(self, upstream: Upstream, parameters: dict[str, str]) -> bytes:
        """The JSON of what an upstream finds, in the form that docker reads.

        `parameters` are those of the client that are passed on. Raises OciError, 404 for an upstream without a search.
        """
        name, url = upstream.name, upstream.settings.search_url
        if not url:
            raise OciError(404, Code.UNSUPPORTED, f"searching {name} is not supported: it has no search_url")
        query = search_query(url, parameters)
        searched = replace(upstream, settings=replace(upstream.settings, url=url, mirrors=()))
        asked = Asked(name, "search", "", Code.UNSUPPORTED)
        response = await self._fetcher.fetch(Question(Target(searched), asked, "GET", f"?{query}", UNENCODED, "search"))
        if response.status != 200:
            await response.body.close()
            raise relay_error(response.status, response.headers, asked)
        try:
            found = await self._transport.read(response, MAX_SEARCH)
        except TooLarge:
            raise OciError(502, Code.UNKNOWN, f"the search result of {name} is too large") from None
        except UpstreamFailure as error:
            raise unreachable(name, error) from error
        if not is_quay(url):
            return found
        try:
            return await parsed(found, lambda body: to_docker_form(body, parameters.get("q", "")))
        except ValueError:
            raise unusable(asked, "its result cannot be read") from None
