"""Hostile clients in a process of their own, drawn at random from a seed, until this one's standard input ends.

    python -m tests.attacks.hostile PORT SEED < lines of `manifest PATH` and `blob PATH`, an empty line, then nothing

Each connection is one of: a client that never reads, one that sends request after request and reads nothing, half a
head, a range of one byte of this blob and the next, one that leaves in the middle, made-up names and query strings.
What answers they get is no matter of theirs. It prints `begun` once there has been a connection of each kind, and when
it ends how many each kind had.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from collections import Counter
from typing import TYPE_CHECKING

from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CONNECTIONS = 60  # at a time
HELD_S = (0.5, 8.0)  # how long one that waits for nothing stays
PIPELINED = 300


class Hostile:
    """What all of them aim at."""

    def __init__(self, port: int, seed: int, manifests: list[str], blobs: list[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._connected: set[str] = set()
        self._port = port
        self._draw = random.Random(seed)
        self._manifests = manifests
        self._blobs = blobs
        self._kinds: list[Callable[[socket.socket], Awaitable[None]]] = [
            self.never_reads,
            self.pipelines,
            self.half_a_head,
            self.hops,
            self.leaves,
            self.makes_up,
        ]

    async def run(self) -> None:
        """One connection after the other, until it is cancelled."""
        while True:
            kind = self._draw.choice(self._kinds)
            self.counts[kind.__name__] += 1
            connection = socket.socket()
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            try:
                await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self._port))
                self._connected.add(kind.__name__)
                with contextlib.suppress(TimeoutError):
                    # not wait_for: before Python 3.12 it can lose the cancelling that ends everything
                    async with asyncio.timeout(2 * HELD_S[1]):
                        await kind(connection)
            except OSError:  # cut, or refused: as it should be
                await asyncio.sleep(0.05)  # who is refused does not ask again at once
            finally:
                connection.close()

    def are_all_there(self) -> bool:
        """Whether there has been a connection of each kind."""
        return len(self._connected) == len(self._kinds)

    async def never_reads(self, connection: socket.socket) -> None:
        """Want a blob, and take nothing of it."""
        await self._send(connection, self._request(self._draw.choice(self._blobs)))
        await self._stay()

    async def pipelines(self, connection: socket.socket) -> None:
        """Send request after request, and read no answer."""
        one = self._request(self._draw.choice(self._manifests))
        for _ in range(PIPELINED):
            await self._send(connection, one)
        await self._stay()

    async def half_a_head(self, connection: socket.socket) -> None:
        """Begin a request and never end it."""
        await self._send(connection, self._request(self._draw.choice(self._manifests))[:-2])
        for _ in range(self._draw.randrange(200)):
            await self._send(connection, b"a: b\r\n")
            await asyncio.sleep(0.02)  # slowly, so that it stays for a while
        await self._stay()

    async def hops(self, connection: socket.socket) -> None:
        """One byte of this blob and of the next, so that each begins to be fetched."""
        for _ in range(8):
            at = self._draw.randrange(100_000)
            await self._send(connection, self._request(self._draw.choice(self._blobs), f"Range: bytes={at}-{at}"))
            await self._receive(connection)

    async def leaves(self, connection: socket.socket) -> None:
        """Take a little of a blob, and break off with a reset."""
        await self._send(connection, self._request(self._draw.choice(self._blobs)))
        for _ in range(self._draw.randrange(1, 6)):
            await self._receive(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def makes_up(self, connection: socket.socket) -> None:
        """Names, tags, digests and query strings that nobody has asked for before."""
        for _ in range(20):
            name = "".join(self._draw.choices("abcdefghij", k=self._draw.randrange(3, 60)))
            digest = f"sha256:{self._draw.getrandbits(256):064x}"
            path = self._draw.choice(
                [
                    f"/v2/{name}/manifests/latest",
                    f"/v2/app/manifests/{name}",
                    f"/v2/app/manifests/{digest}",
                    f"/v2/app/blobs/{digest}",
                    f"/v2/app/referrers/{digest}",
                    f"{self._draw.choice(self._manifests)}?{name}={name * 20}",
                    f"/v2/{name}/tags/list?n={name}",
                    f"/{name}",
                ]
            )
            await self._send(connection, self._request(path))
            await self._receive(connection)

    @staticmethod
    def _request(path: str, *headers: str) -> bytes:
        return "\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", "")).encode()

    @staticmethod
    async def _send(connection: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(connection, data)

    @staticmethod
    async def _receive(connection: socket.socket) -> None:
        if not await asyncio.get_running_loop().sock_recv(connection, 65536):
            raise ConnectionResetError

    async def _stay(self) -> None:
        await asyncio.sleep(self._draw.uniform(*HELD_S))


async def main() -> None:
    """Read what to aim at, and attack until standard input ends."""
    port, seed = int(sys.argv[1]), int(sys.argv[2])
    aims: dict[str, list[str]] = {"manifest": [], "blob": []}
    for line in iter(sys.stdin.readline, "\n"):
        kind, _, path = line.strip().partition(" ")
        aims[kind].append(path)
    hostile = Hostile(port, seed, aims["manifest"], aims["blob"])
    attackers = [asyncio.create_task(hostile.run()) for _ in range(CONNECTIONS)]
    await until(hostile.are_all_there, "a connection of each kind")
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for attacker in attackers:
        attacker.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)
    print(json.dumps(hostile.counts))


if __name__ == "__main__":
    asyncio.run(main())
