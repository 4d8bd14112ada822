"""How the headers of clients and upstreams are read: Accept, media types, entity tags.

Pure. Headers are not passed on; what is sent is built anew from what was read. So a client's header never becomes part
of an upstream's cache key (CVE-2024-6915), and an upstream's cookie, alternative service or challenge never reaches a
client. Exceptions: without a cache the client's Accept goes to the upstream, and what errors.KEPT_ON_ERRORS lists
comes back.
"""

from hubferry.core.http import Headers, get_all

UNENCODED: Headers = (("accept-encoding", "identity"),)  # bodies are always requested without Content-Encoding

# What a client is taken to accept when it does not say: everything that a registry may hold, so that an upstream does
# not replace an index by one of its manifests. Docker's schema 1 types are left out, because an upstream would convert
# manifests to them for clients that ask for nothing else.
ACCEPT_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "*/*",
)

MANIFEST_TYPES = frozenset(ACCEPT_MANIFESTS[:-1]) | {
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
}


def accept(headers: Headers) -> str:
    """Return the client's `Accept`, several lines joined; ACCEPT_MANIFESTS when it is absent or `*/*`."""
    said = ", ".join(value.strip() for value in get_all(headers, "accept") if value.strip())
    return said if said and said != "*/*" else ", ".join(ACCEPT_MANIFESTS)


def accepts(accepted: str, content_type: str) -> bool:
    """Return whether a client that accepts `accepted` (see `accept`) can read a manifest of this media type."""
    ranges = (content_type, content_type.partition("/")[0] + "/*", "*/*")
    return any(media_type(part) in ranges for part in accepted.split(","))


def manifest_types(accepted: str) -> tuple[str, ...]:
    """Return the manifest types in `accepted` (see `accept`), sorted.

    Other media types are left out, because clients can make up any number of them.
    """
    return tuple(sorted({media_type(part) for part in accepted.split(",")} & MANIFEST_TYPES))


def media_type(content_type: str | None) -> str:
    """`application/json; charset=utf-8` -> `application/json`.

    Parameters are dropped, because docker and podman compare the media type literally.
    """
    return (content_type or "").partition(";")[0].strip().lower()


def etag_matches(if_none_match: str | None, digest: str) -> bool:
    """Return whether `If-None-Match` (or `If-Range`) contains this digest (quoted or not, weak or strong) or `*`."""
    if not if_none_match:
        return False
    for candidate in if_none_match.split(","):
        text = candidate.strip().removeprefix("W/").strip('"')
        if text in (digest, "*"):
            return True
    return False
