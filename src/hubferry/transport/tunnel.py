"""Have a proxy forward a connection to a host behind it: HTTP CONNECT or SOCKS5, on a socket to the proxy.

RFC 9110 section 9.3.6; RFC 1928 and RFC 1929. The proxy resolves the name, because a blocked network lies about names.
The proxy's own texts are not repeated in messages, because they could hold anything. Limits in time are the caller's.
"""

import asyncio
import base64
import contextlib
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_address

from hubferry.core.proxy import Proxy

MAX_HEAD_BYTES = 16 * 1024


class ProxyFailed(Exception):
    """The proxy did not forward the connection; the text says why, and what to do."""


async def tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy forward this connection to `host` and `port`. Raises ProxyFailed."""
    with _as_proxy_failures():
        if proxy.kind == "http":
            await _http_connect(sock, proxy, host, port)
        else:
            await _socks5(sock, proxy, host, port)


@contextlib.contextmanager
def _as_proxy_failures() -> Iterator[None]:
    """Turn a broken connection to the proxy into ProxyFailed; a timeout stays one."""
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        raise ProxyFailed(f"the connection to it broke ({error.strerror or 'reset'}); look at its log") from None


async def _http_connect(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Send CONNECT, with a login if there is one, and read the answer's head. Raises ProxyFailed, OSError."""
    loop = asyncio.get_running_loop()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if proxy.user is not None:
        login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        head += f"Proxy-Authorization: Basic {login}\r\n"
    await loop.sock_sendall(sock, head.encode() + b"\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        more = await loop.sock_recv(sock, 4096)
        if not more:
            raise ProxyFailed("it closed the connection without an answer to CONNECT; is it an HTTP proxy?")
        data += more
        if len(data) > MAX_HEAD_BYTES:
            raise ProxyFailed(f"it answered CONNECT with more than {MAX_HEAD_BYTES // 1024} KiB of headers")
        if data[:7] != b"HTTP/1."[: len(data)]:
            raise ProxyFailed("its answer to CONNECT is not HTTP; check kind and port in the proxy setting")
    answer, _, surplus = data.partition(b"\r\n\r\n")
    status = answer[9:12]
    if not status.isdigit():
        raise ProxyFailed("its answer to CONNECT is not HTTP; check kind and port in the proxy setting")
    if not status.startswith(b"2"):
        raise ProxyFailed(_refusal(int(status), proxy, target))
    if surplus:  # an upstream does not speak first: these are the proxy's bytes, and would be taken for the upstream's
        raise ProxyFailed("it sent more than an answer to CONNECT")


def _refusal(status: int, proxy: Proxy, target: str) -> str:
    """Return what to tell users about a CONNECT that was refused."""
    if status == 407:
        said = "does not accept user and password" if proxy.user is not None else "wants user and password"
        return f"it {said} ({status}); set http://user:password@HOST:PORT in the proxy setting"
    if status in (403, 405):
        return f"it does not allow CONNECT to {target} ({status}); allow that there"
    return f"it answered {status} to CONNECT {target}; look at its log"


NO_LOGIN, PASSWORD, NOTHING = 0, 2, 0xFF
REPLIES = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "CONNECT is not supported",
    8: "this kind of address is not supported",
}


async def _socks5(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Negotiate a login if there is one, and send a CONNECT of SOCKS5. Raises ProxyFailed, OSError."""
    loop = asyncio.get_running_loop()
    methods = bytes([NO_LOGIN] if proxy.user is None else [NO_LOGIN, PASSWORD])
    await loop.sock_sendall(sock, bytes([5, len(methods)]) + methods)
    version, method = await _exactly(sock, 2)
    if version != 5:
        raise ProxyFailed("it does not speak SOCKS5; check kind and port in the proxy setting")
    if method == PASSWORD and proxy.user is not None:
        user, password = proxy.user.encode(), proxy.password.encode()
        await loop.sock_sendall(sock, bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        _, status = await _exactly(sock, 2)
        if status != 0:
            raise ProxyFailed("it does not accept user and password; correct them in the proxy setting")
    elif method != NO_LOGIN:
        said = "wants user and password" if proxy.user is None else "takes neither user and password nor nobody"
        raise ProxyFailed(f"it {said}; set socks5://user:password@HOST:PORT in the proxy setting")
    await loop.sock_sendall(sock, b"\5\1\0" + _socks_address(host) + struct.pack("!H", port))
    version, reply, _, kind = await _exactly(sock, 4)
    if version != 5:
        raise ProxyFailed("its answer is not SOCKS5; check kind and port in the proxy setting")
    if reply != 0:
        raise ProxyFailed(f"it answered: {REPLIES.get(reply, 'unknown failure')} ({reply}), for {host}:{port}")
    length = {1: 4, 4: 16}.get(kind) or (await _exactly(sock, 1))[0]
    await _exactly(sock, length + 2)  # the address and port from which the proxy connects: of no use here


def _socks_address(host: str) -> bytes:
    """Return a host as SOCKS5 writes it: its kind and its bytes. Raises ProxyFailed when a name is too long."""
    try:
        address = ip_address(host)
    except ValueError:
        name = host.encode("ascii")
        if len(name) > 255:
            raise ProxyFailed("the name is longer than SOCKS5 can say") from None
        return bytes([3, len(name)]) + name
    return (b"\1" if isinstance(address, IPv4Address) else b"\4") + address.packed


async def _exactly(sock: socket.socket, size_bytes: int) -> bytes:
    """Receive exactly `size_bytes`: the bytes after them are the upstream's. Raises ProxyFailed."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size_bytes:
        more = await loop.sock_recv(sock, size_bytes - len(data))
        if not more:
            raise ProxyFailed("it closed the connection without an answer; is it a SOCKS5 proxy?")
        data += more
    return data
