"""What the unavoidable pieces of filling a cache cost here, each alone: CPU seconds per GB in this very process.

The floor of any program that does them: hash, write, and pass bytes through sockets. Loopback charges most of a
transfer to whoever sends.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.run import MIB

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Costs", "measure_costs"]

PIECE = MIB // 2


@dataclass(frozen=True)
class Costs:
    """CPU seconds per GB."""

    sha256: float
    write: float
    sync: float
    read_back: float
    receive: float
    send: float

    @property
    def total(self) -> float:
        return self.sha256 + self.write + self.sync + self.read_back + self.receive + self.send


def measure_costs(folder: Path, size: int) -> Costs:
    """With so many bytes for each."""
    per_gb = 1e9 / size
    write_s, sync_s, read_s = _file_s(folder / "costs", size)
    receive_s, send_s = _loopback_s(size)
    found = (_sha256_s(size), write_s, sync_s, read_s, receive_s, send_s)
    return Costs(*(seconds * per_gb for seconds in found))


def _sha256_s(size: int) -> float:
    block = os.urandom(PIECE)
    sha = hashlib.sha256()
    before = time.thread_time()
    for _ in range(size // PIECE):
        sha.update(block)
    return time.thread_time() - before


def _file_s(path: Path, size: int) -> tuple[float, float, float]:
    """Writing a new file, having it on the disk, reading it from the page cache."""
    block = os.urandom(PIECE)
    marks = [time.thread_time()]
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    try:
        for number in range(size // PIECE):
            os.pwrite(descriptor, block, number * PIECE)
        marks.append(time.thread_time())
        os.fsync(descriptor)
        marks.append(time.thread_time())
        for number in range(size // PIECE):
            os.pread(descriptor, PIECE, number * PIECE)
        marks.append(time.thread_time())
    finally:
        os.close(descriptor)
        path.unlink()
    return marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]


def _loopback_s(size: int) -> tuple[float, float]:
    """Receiving and sending, on a thread each."""
    block = os.urandom(PIECE)
    sent_s: list[float] = []

    def send(sock: socket.socket) -> None:
        before = time.thread_time()
        for _ in range(size // PIECE):
            sock.sendall(block)
        sent_s.append(time.thread_time() - before)

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as receiving,
        listener.accept()[0] as sending,
    ):
        thread = threading.Thread(target=send, args=(sending,))
        thread.start()
        left = size // PIECE * PIECE
        buffer = bytearray(PIECE)
        before = time.thread_time()
        while left and (count := receiving.recv_into(buffer)):
            left -= count
        received_s = time.thread_time() - before
        thread.join()
    return received_s, sent_s[0]
