"""Parse the `proxy` setting of an upstream: the kind of proxy, its address, and our credentials for it.

Pure. `http` is HTTP CONNECT (RFC 9110 section 9.3.6), `socks5` SOCKS5 (RFC 1928, RFC 1929). The proxy resolves host
names in either case, so `socks5` and `socks5h` mean the same here. No error message repeats credentials.
Not here: the protocol between us and the proxy (transport/tunnel.py).
"""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

WANTED = "expected http://[user:password@]HOST:PORT or socks5://[user:password@]HOST:PORT"
MAX_SOCKS_TEXT = 255  # bytes of a user name or password; SOCKS5 sends their lengths in one byte


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `user` is None when the setting contains no credentials."""

    kind: Literal["http", "socks5"]
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)


def parse_proxy(url: str) -> Proxy:
    """Parse the value of a `proxy` setting. Raises ValueError with the remedy."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(WANTED) from None
    if parts.scheme == "https":
        raise ValueError(
            "a proxy that is itself spoken to over TLS is not supported: write http://HOST:PORT "
            "(what goes through it to an https:// upstream is under TLS all the same)"
        )
    if parts.scheme not in ("http", "socks5", "socks5h") or not host or not port:
        raise ValueError(WANTED)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{WANTED}, nothing behind it; write /, ?, # and @ in a password as %2F, %3F, %23 and %40")
    if parts.username is None:
        return Proxy("http" if parts.scheme == "http" else "socks5", host, port)
    user, password = unquote(parts.username), unquote(parts.password or "")
    if parts.scheme == "http":
        if ":" in user:
            raise ValueError("a user name for an HTTP proxy cannot have a colon (RFC 7617)")
        return Proxy("http", host, port, user, password)
    if not user or max(len(user.encode()), len(password.encode())) > MAX_SOCKS_TEXT:
        raise ValueError(f"SOCKS5 takes user names and passwords of 1 to {MAX_SOCKS_TEXT} bytes")
    return Proxy("socks5", host, port, user, password)
