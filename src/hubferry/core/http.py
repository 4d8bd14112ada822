"""A client's request, and headers as pairs: the two values that the core and the shells exchange.

Pure. Header names are lower-case ASCII everywhere inside hubferry. Duplicates are kept, in order, because docker and
podman send `Accept` as several lines.
"""

from dataclasses import dataclass, field

Headers = tuple[tuple[str, str], ...]
MAX_FORM_BYTES = 64 * 1024  # of the longest form that is taken: a text that is to be rewritten


def get(headers: Headers, name: str) -> str | None:
    """Return the first value of a header, or None. `name` is in lower case."""
    for key, value in headers:
        if key == name:
            return value
    return None


def get_all(headers: Headers, name: str) -> list[str]:
    """Return every value of a header, in the order in which they were sent. `name` is in lower case."""
    return [value for key, value in headers if key == name]


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request as a shell received it.

    `path` and `query` are the raw, undecoded parts of the request target. `scheme` is the scheme that the client used,
    `host` its Host header and `peer` its address; `client.behind_proxy` puts in what trusted proxies say of them.
    `body` is the form of a token request; it is empty for all other requests. `secret` is the client secret that stood
    in front of `path` (users.take_secret_from_path).
    """

    method: str
    path: str
    query: str
    headers: Headers
    scheme: str
    host: str
    peer: str
    body: bytes = field(default=b"", repr=False)
    secret: str = field(default="", repr=False)

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None. `name` is in lower case."""
        return get(self.headers, name)
