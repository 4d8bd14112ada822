"""Which headers cross the gateway, in both directions, and what a log may show of them.

Pure. Allow-lists, so that a client's header never reaches an upstream's cache key (CVE-2024-6915) and an
upstream's cookie, alternative service or challenge never reaches a client. Hop-by-hop headers (RFC 9110
section 7.6.1) are in neither list.
"""

from hubferry.core.http import Headers, get, get_all

# Asked of an upstream beside what the exchange itself adds (authorization, user-agent).
TO_UPSTREAM = {
    "manifest": ("if-none-match",),
    "blob": ("range", "if-range", "if-none-match"),
    "list": (),
}
FROM_UPSTREAM = {
    "manifest": ("content-type", "content-length", "docker-content-digest", "etag"),
    "blob": ("content-type", "content-length", "content-range", "docker-content-digest", "etag"),
    "list": ("content-type",),
}
QUOTA = ("ratelimit-limit", "ratelimit-remaining", "docker-ratelimit-source")

# What a client accepts when it does not say: everything that a registry may hold, so that an index stays one.
# docker's schema1 types stay out: an upstream would convert to them for clients that ask for nothing else.
ACCEPT_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "*/*",
)


def to_upstream(kind: str, headers: Headers) -> Headers:
    """The client's headers that an upstream gets to see; bodies are always asked for unencoded."""
    kept = [(name, value) for name, value in headers if name in TO_UPSTREAM[kind]]
    if kind == "manifest":
        kept.append(("accept", accept(headers)))
        kept = [(k, quote_etag(v) if k == "if-none-match" else v) for k, v in kept]
    return (*kept, ("accept-encoding", "identity"))


def accept(headers: Headers) -> str:
    """The client's Accept, its several lines joined; the full list when it says nothing or `*/*`."""
    said = ", ".join(value.strip() for value in get_all(headers, "accept") if value.strip())
    return said if said and said != "*/*" else ", ".join(ACCEPT_MANIFESTS)


def from_upstream(kind: str, headers: Headers) -> Headers:
    """The upstream's headers that a client gets to see; a repeated one counts once, the first."""
    kept = []
    for name in (*FROM_UPSTREAM[kind], *QUOTA):
        value = get(headers, name)
        if value is not None:
            kept.append((name, value))
    return tuple(kept)


def media_type(content_type: str | None) -> str:
    """`application/json; charset=utf-8` -> `application/json`: docker and podman compare it literally."""
    return (content_type or "").partition(";")[0].strip().lower()


def quote_etag(value: str) -> str:
    """`If-None-Match` as RFC 9110 writes it: containerd and docker send bare digests as well."""
    value = value.strip()
    if value == "*" or '"' in value:
        return value
    return f'"{value}"'


def etag_matches(if_none_match: str | None, digest: str) -> bool:
    """Whether `If-None-Match`, quoted or bare, weak or strong, names this digest."""
    if not if_none_match:
        return False
    for candidate in if_none_match.split(","):
        text = candidate.strip().removeprefix("W/").strip('"')
        if text in (digest, "*"):
            return True
    return False
