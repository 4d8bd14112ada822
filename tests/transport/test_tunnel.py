"""A proxy that forwards a connection: what it is told, and what its answers mean, however they arrive in pieces.

The proxy is a script behind the event loop's functions for sockets: it gives its answer in pieces and then closes.
"""

import asyncio
import base64
import socket
from collections.abc import Sequence

import pytest

from hubferry.core.proxy import Proxy
from hubferry.transport.tunnel import MAX_HEAD_BYTES, REPLIES, ProxyFailed, tunnel
from tests.transport.fakes import splits

HTTP = Proxy("http", "proxy.example", 3128)
HTTP_LOGIN = Proxy("http", "proxy.example", 3128, "bob", "pass:word")
SOCKS = Proxy("socks5", "proxy.example", 1080)
SOCKS_LOGIN = Proxy("socks5", "proxy.example", 1080, "bob", "ü")
HOST = "registry.example"
BASIC = base64.b64encode(b"bob:pass:word")


class ScriptedProxy:
    """Gives its pieces, and then the end or an error; `sent` is what it was sent, each time."""

    def __init__(self, pieces: Sequence[bytes], error: OSError | None = None) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self._error = error
        self.sent: list[bytes] = []

    async def sock_sendall(self, _sock: socket.socket, data: bytes) -> None:
        self.sent.append(bytes(data))

    async def sock_recv(self, _sock: socket.socket, at_most: int) -> bytes:
        if not self._pieces:
            if self._error is not None:
                raise self._error
            return b""
        piece = self._pieces[0][:at_most]
        self._pieces[0] = self._pieces[0][at_most:]
        if not self._pieces[0]:
            del self._pieces[0]
        return piece

    @property
    def unread(self) -> bytes:
        return b"".join(self._pieces)

    async def forward(self, proxy: Proxy, host: str = HOST, port: int = 443) -> None:
        loop = asyncio.get_running_loop()
        loop.sock_sendall = self.sock_sendall  # type: ignore[method-assign, assignment]
        loop.sock_recv = self.sock_recv  # type: ignore[method-assign, assignment]
        with socket.socket() as sock:
            await tunnel(sock, proxy, host, port)


def forwarded(proxy: Proxy, answer: bytes, host: str = HOST, port: int = 443) -> list[bytes]:
    """What a proxy is sent that forwards with this answer, whose every byte is read, wherever it is cut."""
    sent: list[list[bytes]] = []

    async def scene() -> None:
        for pieces in splits(answer):
            scripted = ScriptedProxy(pieces)
            await scripted.forward(proxy, host, port)
            assert scripted.unread == b"", pieces
            sent.append(scripted.sent)

    asyncio.run(scene())
    assert all(one == sent[0] for one in sent)
    return sent[0]


def failed(proxy: Proxy, answer: bytes, host: str = HOST) -> set[str]:
    """What is said of a proxy that does not forward, wherever its answer is cut."""
    said: set[str] = set()

    async def scene() -> None:
        for pieces in splits(answer):
            with pytest.raises(ProxyFailed) as raised:
                await ScriptedProxy(pieces).forward(proxy, host)
            said.add(str(raised.value))

    asyncio.run(scene())
    return said


CONNECT: dict[str, tuple[Proxy, str, int, bytes]] = {
    "a name": (HTTP, HOST, 443, b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n\r\n"),
    "another port": (
        HTTP,
        HOST,
        5000,
        b"CONNECT registry.example:5000 HTTP/1.1\r\nHost: registry.example:5000\r\n\r\n",
    ),
    "IPv4": (HTTP, "8.8.8.8", 443, b"CONNECT 8.8.8.8:443 HTTP/1.1\r\nHost: 8.8.8.8:443\r\n\r\n"),
    "IPv6": (HTTP, "2606::1", 443, b"CONNECT [2606::1]:443 HTTP/1.1\r\nHost: [2606::1]:443\r\n\r\n"),
    "a login": (
        HTTP_LOGIN,
        HOST,
        443,
        b"CONNECT registry.example:443 HTTP/1.1\r\nHost: registry.example:443\r\n"
        b"Proxy-Authorization: Basic " + BASIC + b"\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("proxy", "host", "port", "sent"), CONNECT.values(), ids=CONNECT.keys())
def test_an_http_proxy_is_told_where_to_connect_in_one_request(proxy: Proxy, host: str, port: int, sent: bytes) -> None:
    assert forwarded(proxy, b"HTTP/1.1 200 OK\r\n\r\n", host, port) == [sent]


FORWARDED = {
    "as usual": b"HTTP/1.1 200 Connection established\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
    "another 2xx": b"HTTP/1.1 204 X\r\n\r\n",
    "headers": b"HTTP/1.1 200 OK\r\nVia: x\r\nProxy-Agent: y\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n\r\n",
}


@pytest.mark.parametrize("answer", FORWARDED.values(), ids=FORWARDED.keys())
def test_any_2xx_of_an_http_proxy_forwards(answer: bytes) -> None:
    forwarded(HTTP, answer)


NOT_HTTP = "its answer to CONNECT is not HTTP; check kind and port in the proxy setting"
REFUSED: dict[str, tuple[Proxy, bytes, str]] = {
    "it wants a login": (
        HTTP,
        b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\n\r\n",
        "it wants user and password (407); set http://user:password@HOST:PORT in the proxy setting",
    ),
    "it refuses the login": (
        HTTP_LOGIN,
        b"HTTP/1.1 407 X\r\n\r\n",
        "it does not accept user and password (407); set http://user:password@HOST:PORT in the proxy setting",
    ),
    "it forbids it": (
        HTTP,
        b"HTTP/1.1 403 Secret words of the proxy\r\n\r\n",
        "it does not allow CONNECT to registry.example:443 (403); allow that there",
    ),
    "it knows no CONNECT": (
        HTTP,
        b"HTTP/1.1 405 X\r\n\r\n",
        "it does not allow CONNECT to registry.example:443 (405); allow that there",
    ),
    "it fails": (
        HTTP,
        b"HTTP/1.1 502 X\r\nContent-Length: 6\r\n\r\n",
        "it answered 502 to CONNECT registry.example:443; look at its log",
    ),
    "it redirects": (
        HTTP,
        b"HTTP/1.1 302 X\r\nLocation: /\r\n\r\n",
        "it answered 302 to CONNECT registry.example:443; look at its log",
    ),
    "SOCKS": (HTTP, b"\5\0\r\n\r\n", NOT_HTTP),
    "another version of HTTP": (HTTP, b"HTTP/2 200\r\n\r\n", NOT_HTTP),
    "another protocol": (HTTP, b"SSH-2.0-x\r\n\r\n", NOT_HTTP),
    "a status that is none": (HTTP, b"HTTP/1.1 abc\r\n\r\n", NOT_HTTP),
    "no status": (HTTP, b"HTTP/1.1\r\n\r\n", NOT_HTTP),
}


@pytest.mark.parametrize(("proxy", "answer", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_an_http_proxy_that_does_not_forward_is_told_with_what_to_do(proxy: Proxy, answer: bytes, said: str) -> None:
    assert failed(proxy, answer) == {said}


def test_what_an_http_proxy_sends_behind_its_answer_is_not_taken_for_the_upstreams() -> None:
    async def scene() -> None:
        with pytest.raises(ProxyFailed, match="more than an answer to CONNECT"):
            await ScriptedProxy([b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n"]).forward(HTTP)

    asyncio.run(scene())


def test_an_http_proxy_that_answers_without_an_end_is_given_up() -> None:
    async def scene() -> None:
        scripted = ScriptedProxy([b"HTTP/1.1 200 OK\r\nA: ", b"x" * 10 * MAX_HEAD_BYTES])
        with pytest.raises(ProxyFailed, match="more than 16 KiB of headers"):
            await scripted.forward(HTTP)
        assert len(scripted.unread) > 8 * MAX_HEAD_BYTES

    asyncio.run(scene())


GREETED, ACCEPTED = b"\5\0", b"\5\2\1\0"
CONNECTED = b"\5\0\0\1\x7f\0\0\1\x04\x38"
TO_HOST = b"\5\1\0\3\x10registry.example\x01\xbb"
SOCKS_SENT: dict[str, tuple[Proxy, bytes, str, list[bytes]]] = {
    "a name": (SOCKS, GREETED, HOST, [b"\5\1\0", TO_HOST]),
    "IPv4": (SOCKS, GREETED, "8.8.4.4", [b"\5\1\0", b"\5\1\0\1\x08\x08\x04\x04\x01\xbb"]),
    "IPv6": (SOCKS, GREETED, "2606::1", [b"\5\1\0", b"\5\1\0\4\x26\x06" + b"\0" * 13 + b"\1\x01\xbb"]),
    "a login that is not wanted": (SOCKS_LOGIN, GREETED, HOST, [b"\5\2\0\2", TO_HOST]),
    "a login": (SOCKS_LOGIN, b"\5\2\1\0", HOST, [b"\5\2\0\2", b"\1\3bob\2\xc3\xbc", TO_HOST]),
}


@pytest.mark.parametrize(("proxy", "answer", "host", "sent"), SOCKS_SENT.values(), ids=SOCKS_SENT.keys())
def test_a_socks_proxy_is_told_who_asks_and_where_to_connect(
    proxy: Proxy, answer: bytes, host: str, sent: list[bytes]
) -> None:
    assert forwarded(proxy, answer + CONNECTED, host) == sent


BOUND = {
    "IPv4": CONNECTED,
    "IPv6": b"\5\0\0\4" + b"\1" * 16 + b"\x04\x38",
    "a name": b"\5\0\0\3\x03a.b\x04\x38",
    "an empty name": b"\5\0\0\3\0\x04\x38",
}


@pytest.mark.parametrize("answer", BOUND.values(), ids=BOUND.keys())
def test_the_answer_of_a_socks_proxy_is_read_to_its_end_and_no_further(answer: bytes) -> None:
    forwarded(SOCKS, GREETED + answer)

    async def scene() -> None:
        scripted = ScriptedProxy([GREETED + answer + b"of the upstream"])
        await scripted.forward(SOCKS)
        assert scripted.unread == b"of the upstream"

    asyncio.run(scene())


def bound(reply: int) -> bytes:
    return GREETED + bytes([5, reply, 0, 1]) + b"\0" * 6


SET_LOGIN = "set socks5://user:password@HOST:PORT in the proxy setting"
SOCKS_REFUSED: dict[str, tuple[Proxy, bytes, str]] = {
    "HTTP": (SOCKS, b"HTTP/1.1 400", "it does not speak SOCKS5; check kind and port in the proxy setting"),
    "SOCKS4": (SOCKS, b"\0\x5a\0\0", "it does not speak SOCKS5; check kind and port in the proxy setting"),
    "it wants a login": (SOCKS, b"\5\xff", f"it wants user and password; {SET_LOGIN}"),
    "it takes a login that there is not": (SOCKS, b"\5\2", f"it wants user and password; {SET_LOGIN}"),
    "it takes no login that there is": (
        SOCKS_LOGIN,
        b"\5\xff",
        f"it takes neither user and password nor nobody; {SET_LOGIN}",
    ),
    "it refuses the login": (
        SOCKS_LOGIN,
        b"\5\2\1\1",
        "it does not accept user and password; correct them in the proxy setting",
    ),
    "an answer of another version": (
        SOCKS,
        GREETED + b"\4\0\0\1",
        "its answer is not SOCKS5; check kind and port in the proxy setting",
    ),
    "a failure that nobody knows": (SOCKS, bound(9), "it answered: unknown failure (9), for registry.example:443"),
    **{
        words: (SOCKS, bound(reply), f"it answered: {words} ({reply}), for registry.example:443")
        for reply, words in REPLIES.items()
    },
}


@pytest.mark.parametrize(("proxy", "answer", "said"), SOCKS_REFUSED.values(), ids=SOCKS_REFUSED.keys())
def test_a_socks_proxy_that_does_not_forward_is_told_with_what_to_do(proxy: Proxy, answer: bytes, said: str) -> None:
    assert failed(proxy, answer) == {said}


@pytest.mark.parametrize(("length", "fits"), [(255, True), (256, False)])
def test_a_name_that_socks_cannot_say_is_not_asked_for(length: int, *, fits: bool) -> None:
    host = "x" * length
    if fits:
        assert forwarded(SOCKS, GREETED + CONNECTED, host)[1] == b"\5\1\0\3\xff" + host.encode() + b"\x01\xbb"
    else:
        assert failed(SOCKS, GREETED + CONNECTED, host) == {"the name is longer than SOCKS5 can say"}


ENDINGS: dict[str, tuple[Proxy, bytes, str]] = {
    "HTTP": (HTTP, b"HTTP/1.1 200 OK\r\n\r\n", "is it an HTTP proxy?"),
    "SOCKS": (SOCKS, GREETED + CONNECTED, "is it a SOCKS5 proxy?"),
    "SOCKS with a login": (SOCKS_LOGIN, ACCEPTED + CONNECTED, "is it a SOCKS5 proxy?"),
}
RESET = ConnectionResetError(104, "Connection reset by peer")


@pytest.mark.parametrize(("proxy", "answer", "said"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_proxy_that_ends_within_its_answer_is_no_success(proxy: Proxy, answer: bytes, said: str) -> None:
    async def scene() -> None:
        for size in range(len(answer)):
            with pytest.raises(ProxyFailed) as raised:
                await ScriptedProxy([answer[:size]]).forward(proxy)
            assert "it closed the connection without an answer" in str(raised.value)
            assert said in str(raised.value)
            with pytest.raises(ProxyFailed) as raised:
                await ScriptedProxy([answer[:size]], RESET).forward(proxy)
            assert str(raised.value) == "the connection to it broke (Connection reset by peer); look at its log"

    asyncio.run(scene())


@pytest.mark.parametrize("proxy", [HTTP, SOCKS])
def test_a_connection_to_a_proxy_that_broke_says_so_also_without_a_reason(proxy: Proxy) -> None:
    async def scene() -> None:
        with pytest.raises(ProxyFailed, match=r"broke \(reset\)"):
            await ScriptedProxy([], ConnectionResetError()).forward(proxy)

    asyncio.run(scene())


@pytest.mark.parametrize("proxy", [HTTP, SOCKS])
def test_a_proxy_that_does_not_answer_in_time_stays_a_timeout(proxy: Proxy) -> None:
    async def scene() -> None:
        with pytest.raises(TimeoutError):
            await ScriptedProxy([], TimeoutError()).forward(proxy)

    asyncio.run(scene())


@pytest.mark.parametrize(("proxy", "answer"), [(HTTP_LOGIN, b"HTTP/1.1 407 X\r\n\r\n"), (SOCKS_LOGIN, b"\5\2\1\1")])
def test_no_password_and_no_word_of_the_proxy_is_told(proxy: Proxy, answer: bytes) -> None:
    for said in failed(proxy, answer) | failed(HTTP, b"HTTP/1.1 500 Secret words\r\nX: words\r\n\r\n"):
        assert not any(secret in said for secret in ("pass:word", "bob", "ü", "words"))
