"""A server that answers each request head with given bytes, for upstreams that break HTTP itself."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Sequence

from tests.support.tls import Certificate

__all__ = ["RawServer"]


class RawServer:
    """Answers the n-th request with `answers[n]` (the last one again and again), then closes if told so.

    `open_connections` counts those whose other side has not closed; `abrupt` ends TLS without its goodbye.
    """

    def __init__(
        self,
        answers: Sequence[bytes],
        *,
        close: bool = False,
        certificate: Certificate | None = None,
        abrupt: bool = False,
    ) -> None:
        self._answers = answers
        self._close = close
        self._abrupt = abrupt
        self._context = certificate.server_context() if certificate else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.requests = 0
        self.connections = 0
        self.open_connections = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> "RawServer":
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
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(plain)
            thread = threading.Thread(target=self._serve, args=(plain,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        with self._lock:
            self.connections += 1
            self.open_connections += 1
        with contextlib.suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=True)
                self._sockets.append(connection)
            self._converse(connection)
        with self._lock:
            self.open_connections -= 1

    def _converse(self, connection: socket.socket) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            data = data.partition(b"\r\n\r\n")[2]
            with self._lock:
                answer = self._answers[min(self.requests, len(self._answers) - 1)]
                self.requests += 1
            connection.sendall(answer)
            if self._close:
                if isinstance(connection, ssl.SSLSocket) and not self._abrupt:
                    connection.unwrap()
                connection.shutdown(socket.SHUT_WR)
                return
