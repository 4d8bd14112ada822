"""Which headers cross the gateway, in both directions.

Pure. Allow-lists, so that a client's header never reaches an upstream's cache key (CVE-2024-6915) and an
upstream's cookie, alternative service or challenge never reaches a client. Hop-by-hop headers (RFC 9110
section 7.6.1) are in neither list.
"""

from hubferry.core.http import Headers, get_all

# What an upstream's answer for a blob may say to a client.
FROM_BLOB = ("content-length", "content-range")
UNENCODED: Headers = (("accept-encoding", "identity"),)  # bodies are always asked for as they are

# What a client accepts when it does not say: everything that a registry may hold, so that an index stays one.
# docker's schema1 types stay out: an upstream would convert to them for clients that ask for nothing else.
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
    """The client's Accept, its several lines joined; the full list when it says nothing or `*/*`."""
    said = ", ".join(value.strip() for value in get_all(headers, "accept") if value.strip())
    return said if said and said != "*/*" else ", ".join(ACCEPT_MANIFESTS)


def accepts(headers: Headers, content_type: str) -> bool:
    """Whether a client that sent these headers can read a manifest of that media type; silence means anything."""
    said = [media_type(part) for value in get_all(headers, "accept") for part in value.split(",")]
    ranges = (content_type, content_type.partition("/")[0] + "/*", "*/*")
    return not any(said) or any(one in ranges for one in said)


def manifest_types(headers: Headers) -> tuple[str, ...]:
    """The kinds of manifests that a client says it can read, sorted; what else it says, anybody can make up."""
    said = {media_type(part) for value in get_all(headers, "accept") for part in value.split(",")}
    return tuple(sorted(said & MANIFEST_TYPES))


def media_type(content_type: str | None) -> str:
    """`application/json; charset=utf-8` -> `application/json`: docker and podman compare it literally."""
    return (content_type or "").partition(";")[0].strip().lower()


def etag_matches(if_none_match: str | None, digest: str) -> bool:
    """Whether `If-None-Match`, quoted or bare, weak or strong, names this digest."""
    if not if_none_match:
        return False
    for candidate in if_none_match.split(","):
        text = candidate.strip().removeprefix("W/").strip('"')
        if text in (digest, "*"):
            return True
    return False
