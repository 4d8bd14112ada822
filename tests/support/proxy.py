"""An HTTP CONNECT proxy that leads every name to one port on loopback, and notes who was asked for.

It may demand credentials, or answer with anything else than a proxy should.
"""

import base64
import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator

__all__ = ["ConnectProxy", "Endless"]

CONNECTED = b"HTTP/1.1 200 Connected\r\n\r\n"
DEMAND = b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="p"\r\n\r\n'


class Endless:
    """An answer whose headers never end, to every client from the beginning."""

    def __init__(self, head: bytes, line: bytes) -> None:
        self._head = head
        self._lines = line * 64

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        while True:
            yield self._lines


class ConnectProxy:
    """`asked` lists the targets of CONNECT, `authorizations` the Proxy-Authorization values, in order.

    With a `login` whoever does not show it is refused. Instead of leading on, every client gets `says`, piece by piece,
    and is then `left_hanging` until it leaves, or closed.
    """

    scheme = "http"

    def __init__(
        self,
        leads_to: int,
        login: tuple[str, str] | None = None,
        *,
        says: Iterable[bytes] | None = None,
        left_hanging: bool = False,
    ) -> None:
        self._login = login
        self._says = says
        self._left_hanging = left_hanging
        self.asked: list[str] = []
        self.authorizations: list[str] = []
        self._leads_to = leads_to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "ConnectProxy":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(ConnectionError):
            if self._says is not None or self._left_hanging:
                self._play(client)
                return
            if not self.greet(client):
                return
            with socket.create_connection(("127.0.0.1", self._leads_to)) as server:
                self._sockets.append(server)
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join()

    def _play(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.recv(4096)
        for piece in self._says or ():
            client.sendall(piece)
        if self._left_hanging:
            while client.recv(4096):
                pass

    def greet(self, client: socket.socket) -> bool:
        """The head of CONNECT and its answer; True when the client may be led on."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(4096)
            if not data:
                return False
            head += data
        lines = head.decode("latin-1").split("\r\n")
        self.asked.append(lines[0].split()[1])
        shown = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-authorization:")]
        self.authorizations += shown
        wanted = "Basic " + base64.b64encode(":".join(self._login).encode()).decode() if self._login else None
        fine = wanted is None or shown == [wanted]
        client.sendall(CONNECTED if fine else DEMAND)
        return fine


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
