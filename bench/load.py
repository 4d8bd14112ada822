"""The clients: raw sockets that cost as little as possible, so that the contestants are what is measured."""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.contestants import Contestant

__all__ = ["BadAnswer", "Connection", "Crowd", "SlowReaders", "pull_crowd", "pull_many", "sha256_of"]

TIMEOUT_S = 60
_BUFFER = 1024 * 1024
_DISCARDED = memoryview(bytearray(4 * _BUFFER))  # never written to: for MSG_TRUNC
_TICK_S = 0.05


class BadAnswer(AssertionError):
    """A contestant answered something else than was asked for; measuring it would be worthless."""


@dataclass(frozen=True)
class Head:
    """The head of an answer, and the part of the body that came with it."""

    status: int
    length: int
    rest: bytes


class Connection:
    """A kept-alive HTTP/1.1 connection to a contestant."""

    def __init__(self, contestant: Contestant) -> None:
        self._name = contestant.name
        self._host = f"127.0.0.1:{contestant.port}"
        plain = socket.create_connection(("127.0.0.1", contestant.port), timeout=TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = contestant.tls
        self.socket = tls.wrap_socket(plain, server_hostname="127.0.0.1") if tls else plain

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def get(self, path: str, accept: str = "*/*", method: str = "GET") -> Head:
        """Send a GET and read the head; the body is still to come. Raises BadAnswer unless it is 200."""
        self.ask(path, accept, method)
        received = b""
        while b"\r\n\r\n" not in received:
            data = self.socket.recv(16_384)
            if not data:
                raise BadAnswer(f"{self._name}: no answer to {path}: {received[:300]!r}")
            received += data
        return self.head_of(path, received)

    def ask(self, path: str, accept: str = "*/*", method: str = "GET") -> None:
        """Send a GET, or another method."""
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: {accept}\r\n\r\n".encode())

    def head_of(self, path: str, received: bytes) -> Head:
        """The head that what was received begins with. Raises BadAnswer unless it is 200."""
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        if status != 200 or "content-length" not in headers:
            raise BadAnswer(f"{self._name}: {path}: {head!r} {rest[:300]!r}")
        return Head(status, int(headers["content-length"]), rest)

    def pieces(self, head: Head) -> Iterator[memoryview]:
        """The body, exactly as long as declared."""
        yield memoryview(head.rest)
        left = head.length - len(head.rest)
        buffer = memoryview(bytearray(_BUFFER))
        while left:
            count = self.socket.recv_into(buffer, min(left, _BUFFER))
            if not count:
                raise BadAnswer(f"{self._name}: {left} of {head.length} bytes are missing")
            left -= count
            yield buffer[:count]

    def read(self, head: Head) -> None:
        """Read the body and forget it."""
        for _ in self.pieces(head):
            pass

    def discard(self, head: Head) -> None:
        """Read the body as cheaply as can be: a plain socket's bytes are dropped in the kernel."""
        if hasattr(self.socket, "cipher"):
            self.read(head)
            return
        left = head.length - len(head.rest)
        buffer = bytearray(_BUFFER)
        while left:
            count = self.socket.recv_into(buffer, min(left, _BUFFER), socket.MSG_TRUNC)
            if not count:
                raise BadAnswer(f"{self._name}: {left} of {head.length} bytes are missing")
            left -= count


def sha256_of(contestant: Contestant, path: str) -> str:
    """Pull once and hash: what is measured afterwards by length only has to be right."""
    sha = hashlib.sha256()
    with Connection(contestant) as connection:
        for piece in connection.pieces(connection.get(path)):
            sha.update(piece)
    return sha.hexdigest()


def pull_many(contestant: Contestant, path: str, clients: int, *, reads: bool = False) -> float:
    """So many clients pull that path at once; returns the seconds until the last has it.

    `reads`: they copy every byte to themselves, as real ones do, instead of dropping it in the kernel.
    """
    problems: list[Exception] = []

    def pull() -> None:
        try:
            with Connection(contestant) as connection:
                head = connection.get(path)
                if reads:
                    connection.read(head)
                else:
                    connection.discard(head)
        except (OSError, AssertionError) as error:
            problems.append(error)

    threads = [threading.Thread(target=pull) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - started
    if problems:
        raise BadAnswer(f"{contestant.name}: {problems[0]!r}") from problems[0]
    return elapsed_s


@dataclass(frozen=True)
class Crowd:
    """What became of many clients at once; `busy` is the share of the time that their thread was at work."""

    elapsed_s: float
    busy: float
    sha256: str


def pull_crowd(contestant: Contestant, path: str, size: int, clients: int) -> Crowd:
    """So many clients ask for that path at the same moment and check its length; one of them hashes it.

    Up to hundreds of them: all but that one are served by one thread, which drops the bytes in the kernel.
    """
    hashed: list[str] = []
    problems: list[Exception] = []

    def pull_hashing() -> None:
        try:
            hashed.append(sha256_of(contestant, path))
        except (OSError, AssertionError) as error:
            problems.append(error)

    hashing = threading.Thread(target=pull_hashing)
    with contextlib.ExitStack() as stack:
        others = [_Client(stack.enter_context(Connection(contestant)), path, size) for _ in range(clients - 1)]
        ready = stack.enter_context(selectors.DefaultSelector())
        started, cpu_before_s = time.perf_counter(), time.thread_time()
        hashing.start()
        for client in others:
            client.connection.ask(path)
            ready.register(client.connection.socket, selectors.EVENT_READ, client)
        while ready.get_map():
            events = ready.select(TIMEOUT_S)
            if not events:
                raise BadAnswer(f"{contestant.name}: {path}: nobody got anything for {TIMEOUT_S} s")
            for key, _ in events:
                if key.data.read():
                    ready.unregister(key.fileobj)
        cpu_s = time.thread_time() - cpu_before_s
        loop_s = time.perf_counter() - started
        hashing.join()
        elapsed_s = time.perf_counter() - started
    if problems:
        raise BadAnswer(f"{contestant.name}: {problems[0]!r}") from problems[0]
    return Crowd(elapsed_s, cpu_s / loop_s, hashed[0])


class _Client:
    """One of a crowd."""

    def __init__(self, connection: Connection, path: str, size: int) -> None:
        self.connection = connection
        self._path = path
        self._size = size
        self._received = b""
        self._left: int | None = None

    def read(self) -> bool:
        """Take what is there; whether that was the end of the body."""
        sock = self.connection.socket
        if self._left is None:
            data = sock.recv(16_384)
            if not data:
                raise BadAnswer(f"{self._path}: no answer: {self._received[:300]!r}")
            self._received += data
            if b"\r\n\r\n" not in self._received:
                return False
            head = self.connection.head_of(self._path, self._received)
            if head.length != self._size:
                raise BadAnswer(f"{self._path}: {head.length} bytes instead of {self._size}")
            self._left = head.length - len(head.rest)
        else:
            count = sock.recv_into(_DISCARDED, min(self._left, len(_DISCARDED)), socket.MSG_TRUNC)
            if not count:
                raise BadAnswer(f"{self._path}: {self._left} of {self._size} bytes are missing")
            self._left -= count
        return self._left == 0


class SlowReaders:
    """Clients that each read at the same steady rate, served by one thread."""

    def __init__(self, contestant: Contestant, path: str, clients: int, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._buffer = bytearray(_BUFFER)
        self._stack = contextlib.ExitStack()
        self.received = [0] * clients
        self._sockets: list[socket.socket] = []
        with contextlib.ExitStack() as stack:
            for index in range(clients):
                connection = stack.enter_context(Connection(contestant))
                self.received[index] = len(connection.get(path).rest)
                connection.socket.setblocking(False)
                self._sockets.append(connection.socket)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read_for(self, seconds: float) -> None:
        """Read at the rate for so long; raises BadAnswer when a body ends."""
        started = time.perf_counter()
        while (elapsed_s := time.perf_counter() - started) < seconds:
            allowed = int(elapsed_s * self._rate)
            with selectors.DefaultSelector() as ready:
                for index, sock in enumerate(self._sockets):
                    if self.received[index] < allowed:
                        ready.register(sock, selectors.EVENT_READ, index)
                if ready.get_map():
                    for key, _ in ready.select(_TICK_S):
                        self._read(key.data, allowed)
            next_tick_s = _TICK_S - (time.perf_counter() - started - elapsed_s)
            time.sleep(max(0.0, next_tick_s))

    def _read(self, index: int, allowed: int) -> None:
        while (wanted := allowed - self.received[index]) > 0:
            try:
                count = self._sockets[index].recv_into(self._buffer, min(wanted, _BUFFER), socket.MSG_TRUNC)
            except BlockingIOError:
                return
            if not count:
                raise BadAnswer(f"a slow body ended after {self.received[index]} bytes")
            self.received[index] += count
