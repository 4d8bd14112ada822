"""The search page: what Docker Hub and Quay find, and what is kept while they do not answer."""

from dataclasses import dataclass

from hubferry.core.errors import OciError
from hubferry.core.image import ImageName
from hubferry.core.search_results import SearchHit
from hubferry.gateway.answer import Answer
from hubferry.gateway.visitors import Visitors
from hubferry.pages.page import PageRequest
from hubferry.pages.places import Places
from hubferry.ports.shell import Visit

SHOWN = 25  # of one page
MAX_PAGE = 100
MAX_WORDS = 100  # characters


@dataclass(frozen=True)
class Found:
    """A repository that was found, as it is shown: the name that people know, and the image page's parameter."""

    shown: str
    name: str
    hit: SearchHit


class SearchPage:
    """Searches one registry at a time."""

    def __init__(self, places: Places, visitors: Visitors, searchable: tuple[str, ...]) -> None:
        """`searchable` are the upstreams that can be searched, the default one first."""
        self._places = places
        self._visitors = visitors
        self._searchable = searchable

    async def show(self, asked: PageRequest, visit: Visit) -> Answer:
        """Return the page. Raises OciError."""
        served = self._places.at(asked.request).names.serves()
        registries = [name for name in self._searchable if name in served]
        words = asked.parameters.get("q", "").strip()[:MAX_WORDS]
        registry = asked.parameters.get("registry", "")
        registry = registry if registry in registries else next(iter(registries), "")
        number = min(asked.number, MAX_PAGE)
        found: list[Found] = []
        total, problem, status = 0, "", 200
        if words and registry:
            visitor = await self._visitors.identify(asked.request, visit)
            try:
                parameters = {"q": words, "n": str(SHOWN), "page": str(number)}
                result = await self._visitors.search(visitor, registry, parameters)
                found, total = [_found(registry, hit) for hit in result.hits], result.total
            except OciError as error:
                if error.status in (401, 403):
                    raise
                problem, status = error.message, error.status
                kept = await self._visitors.kept_repositories(visitor, registry, words)
                found = [_found(registry, SearchHit(name, "")) for name in kept]
        return asked.page(
            "search.html",
            status if not found else 200,
            q=words,
            registry=registry,
            registries=registries,
            found=found,
            total=total,
            problem=problem,
            is_kept=bool(problem and found),
            number=number,
            has_more=not problem and bool(found) and number * SHOWN < total and number < MAX_PAGE,
        )


def _found(registry: str, hit: SearchHit) -> Found:
    return Found(hit.name, str(ImageName(registry, hit.name, "")), hit)
