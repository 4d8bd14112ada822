"""An HTTP CONNECT proxy that leads every name to one port on loopback, and notes who was asked for."""

import contextlib
import socket
import threading

__all__ = ["ConnectProxy"]


class ConnectProxy:
    """`asked` lists the targets of CONNECT, `authorizations` the Proxy-Authorization values, in order."""

    scheme = "http"

    def __init__(self, leads_to: int) -> None:
        self.asked: list[str] = []
        self.authorizations: list[str] = []
        self._leads_to = leads_to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> "ConnectProxy":
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if not self.greet(client):
                return
            with socket.create_connection(("127.0.0.1", self._leads_to)) as server:
                back = threading.Thread(target=_pump, args=(server, client))
                back.start()
                _pump(client, server)
                back.join()

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
        self.authorizations += [
            line.partition(":")[2].strip() for line in lines if line.lower().startswith("proxy-authorization:")
        ]
        client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        return True


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
