"""Read what registries find, in the two forms that public ones have, and write the one that docker reads.

Pure.

    Docker's v1 API    https://index.docker.io/v1/search?q=&n=&page=              Docker Hub, and most others
    Quay's API         https://quay.io/api/v1/find/repositories?query=&page=      ten in a page

Quay has the first form as well, but says no stars there. Which form a search has is seen from its URL.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hubferry.core.documents import parse_json
from hubferry.core.errors import OciError
from hubferry.core.image_config import clean
from hubferry.core.reference import check_repository, normal_host

QUAY_PATH = "/api/v1/find/repositories"
MAX_TEXT = 255  # characters of what is searched for
MAX_HITS = 100  # of one page: no registry gives more
MAX_COUNT = 2**53


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A repository that was found. `name` is without the registry.

    `stars`, `pulls` and `is_verified` are None where the registry does not say them.
    """

    name: str
    description: str
    stars: int | None = None
    pulls: int | None = None
    is_official: bool = False
    is_verified: bool | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, in the registry's order; `total` is how many there are in all, as far as it says."""

    hits: tuple[SearchHit, ...]
    total: int


def search_query(url: str, parameters: Mapping[str, str]) -> str:
    """Return the query string for a search at this URL; `parameters` are those of Docker's form."""
    names = {"q": "query", "page": "page"} if is_quay(url) else {name: name for name in parameters}
    pairs = {names[name]: text[:MAX_TEXT] for name, text in parameters.items() if text and name in names}
    return urlencode(pairs, quote_via=quote)


def is_quay(url: str) -> bool:
    """Return whether a `search_url` is that of Quay's API."""
    return url.partition("?")[0].rstrip("/").endswith(QUAY_PATH)


def parse_search(body: bytes) -> SearchResult:
    """Return the repositories in an answer of either form. Raises ValueError when it is none.

    What has no name that can be pulled, such as one of Quay's applications, is left out.
    """
    document = parse_json(body)
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise ValueError("it has no list of results")
    hits = tuple(hit for hit in map(_hit, results[:MAX_HITS]) if hit is not None)
    return SearchResult(hits, max(_count(document.get("num_results")) or 0, len(hits)))


def split_query(text: str, upstreams: Collection[str]) -> tuple[str, str]:
    """Return the registry that a search names before a slash, if it is one of `upstreams`, and the rest of it.

    `docker search HOST/quay.io/nginx` asks HOST for `quay.io/nginx`. Without such a registry the first is empty.
    """
    registry, _, rest = text.partition("/")
    if rest and normal_host(registry) in upstreams:
        return normal_host(registry), rest
    return "", text


def with_registry(body: bytes, registry: str) -> bytes:
    """Return an answer in Docker's form with `registry` before every name, so that the names can be pulled from here.

    Raises ValueError for what is no answer.
    """
    document = parse_json(body)
    if not isinstance(document, dict) or not isinstance(document.get("results"), list):
        raise ValueError("it has no list of results")
    named = [
        {**one, "name": f"{registry}/{one.get('name')}"} if isinstance(one, dict) else one
        for one in document["results"]
    ]
    return json.dumps({**document, "results": named}).encode()


def to_docker_form(body: bytes, query: str) -> bytes:
    """Return an answer of Quay's API as docker and podman read it. Raises ValueError when it is none."""
    found = parse_search(body)
    document = parse_json(body)
    page = _count(document.get("page")) or 1
    results = [
        {
            "name": hit.name,
            "description": hit.description,
            "star_count": hit.stars or 0,
            "is_official": hit.is_official,
            "is_automated": False,
        }
        for hit in found.hits
    ]
    said = {
        "query": query,
        "num_results": found.total,
        "num_pages": page + 1 if document.get("has_additional") is True else page,
        "page": page,
        "page_size": _count(document.get("page_size")) or len(results),
        "results": results,
    }
    return json.dumps(said).encode()


def _hit(entry: Any) -> SearchHit | None:
    if not isinstance(entry, dict) or entry.get("kind", "repository") != "repository":
        return None
    name, namespace = entry.get("name"), entry.get("namespace")
    if isinstance(namespace, dict):
        name = f"{namespace.get('name')}/{name}"
    if not isinstance(name, str) or not _is_repository(name):
        return None
    description, is_verified = entry.get("description"), entry.get("is_verified")
    return SearchHit(
        name,
        clean(description, 500) if isinstance(description, str) else "",
        _count(entry.get("star_count", entry.get("stars"))),
        _count(entry.get("pull_count")),
        entry.get("is_official") is True,
        is_verified if isinstance(is_verified, bool) else None,
    )


def _is_repository(name: str) -> bool:
    try:
        check_repository(name)
    except OciError:
        return False
    return True


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else None
