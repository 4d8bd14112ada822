"""The two messages that the core and the shells exchange: a request, and headers as pairs.

Pure. Header names are lower-case ASCII everywhere inside hubferry; duplicates are kept, in order, because
docker and podman send `Accept` as several lines.
"""

from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]


def get(headers: Headers, name: str) -> str | None:
    """The first value of a header, or None; `name` in lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


def get_all(headers: Headers, name: str) -> list[str]:
    """Every value of a header in the order sent; `name` in lower case."""
    return [value for key, value in headers if key == name]


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request as a shell received it.

    `path` and `query` are the raw, undecoded parts of the target; `scheme` is the one the client used (after
    trusted proxies were taken into account), `host` the Host header (likewise), `peer` the client's address,
    `body` the form of a token request and empty otherwise.
    """

    method: str
    path: str
    query: str
    headers: Headers
    scheme: str
    host: str
    peer: str
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of a header, or None."""
        return get(self.headers, name)
