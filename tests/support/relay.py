"""A bad link on loopback: a TCP relay in front of one port, with a round trip, a rate and faults on command.

Bytes are handed on as they are, TLS or not. Every connection has the same round trip and a rate of its own in the
direction of the client. The kernel has accepted a connection before the relay knows of it, so the time of the
handshake is taken afterwards: the first answer on a new connection comes after two round trips, as on a real link.

A cut or a stall comes after so many bytes from the upstream, which all arrive before it. `drop()` loses what is on its
way, as a blackhole does while it lasts. A client that ends its side ends the connection: no HTTP client half-closes.
In a blackhole that, too, is learned when it is over.

It runs on a thread of its own; commands are in effect when they return, also for connections that are open.
Not here: loss and reordering, which TCP hides; its slow start; what HTTP says (faults.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import random
import socket
import struct
import termios
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

from tests.support.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tests.support.exchange import Ending

__all__ = ["RATE_BYTES_PER_S", "RTT_S", "Relay", "Traffic"]

RTT_S = 0.15
RATE_BYTES_PER_S = 4_000_000

_CHUNK = 64 * 1024
_SMALLEST_CHUNK = 1460
_BURST_S = 0.03  # what a connection that was idle, or a thread that came late, may send at once
_WINDOW = 256 * 1024  # what may be on its way in one direction, at least; more where round trip and rate make it
_WIDE_WINDOW = 8 * 1024 * 1024  # without a rate
_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time
_COMMAND_S = 10


@dataclass(frozen=True)
class _Fault:
    """What becomes of a connection when the upstream has sent so many bytes over it."""

    after: int
    then: Literal["fin", "rst", "stall"]


@dataclass
class Traffic:
    """What one connection let through, in bytes. `down` is what left the upstream, whether or not it arrived."""

    up: int = 0
    down: int = 0
    open: bool = True
    cut: bool = False


class Relay:
    """Listens on `port` and leads to `upstream_port`; use it as a context manager.

    `traffic` has every connection that was accepted, in order.
    """

    def __init__(self, upstream_port: int, *, rtt_s: float = RTT_S, bytes_per_s: int | None = RATE_BYTES_PER_S) -> None:
        """`bytes_per_s` are bytes per second; None does not limit them."""
        self.rtt_s = rtt_s
        self.bytes_per_s = bytes_per_s
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}"
        self.traffic: list[Traffic] = []
        self._upstream_port = upstream_port
        self._decide_fault: Callable[[], _Fault | None] = lambda: None
        self._passable = asyncio.Event()
        self._passable.set()
        self._running: dict[asyncio.Task[None], _Connection] = {}
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"relay-{self.port}", daemon=True)
        self._thread.start()
        self._command(self._listen())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connections(self) -> int:
        return len(self.traffic)

    @property
    def open_connections(self) -> int:
        return sum(traffic.open for traffic in self.traffic)

    @property
    def cuts(self) -> int:
        return sum(traffic.cut for traffic in self.traffic)

    @property
    def up(self) -> int:
        """Bytes from clients, of all connections so far."""
        return sum(traffic.up for traffic in self.traffic)

    @property
    def down(self) -> int:
        """Bytes that left the upstream, of all connections so far."""
        return sum(traffic.down for traffic in self.traffic)

    def cut_after(self, size: int, ending: Ending = "fin") -> None:
        """Cut every connection after so many bytes."""
        self._command(self._expect(lambda: _Fault(size, ending)))

    def cut_at_random(self, seed: int, low: int, high: int) -> None:
        """Cut every connection somewhere between, with FIN or RST; the same seed cuts in the same places."""
        draw = random.Random(seed)
        self._command(self._expect(lambda: _Fault(draw.randint(low, high), draw.choice(("fin", "rst")))))

    def stall_after(self, size: int) -> None:
        """Let nothing more through for ever after so many bytes of a connection."""
        self._command(self._expect(lambda: _Fault(size, "stall")))

    def heal(self) -> None:
        """No more cuts and stalls; what is stalled remains so."""
        self._command(self._expect(lambda: None))

    def blackhole(self, swallows: bool = True) -> None:
        """Accept and let nothing through, in either direction; afterwards what was on its way arrives."""
        self._command(self._block(swallows))

    def refuse(self, refuses: bool = True) -> None:
        """Refuse new connections; those that are open go on."""
        self._command(self._unlisten() if refuses else self._listen())

    def drop(self) -> None:
        """Reset every open connection now."""
        self._command(self._end(reset=True))

    def close(self) -> None:
        """End every connection and the thread; may be repeated."""
        if self._loop.is_closed():
            return
        self._command(self._unlisten())
        self._command(self._end(reset=False))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _command(self, command: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(command, self._loop).result(_COMMAND_S)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _unlisten(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def _expect(self, decide_fault: Callable[[], _Fault | None]) -> None:
        self._decide_fault = decide_fault
        for connection in self._running.values():
            connection.fault = decide_fault()

    async def _block(self, swallows: bool) -> None:
        if swallows:
            self._passable.clear()
        else:
            self._passable.set()

    async def _end(self, *, reset: bool) -> None:
        for connection in self._running.values():
            connection.traffic.cut |= reset
            connection.ending = "rst" if reset else "fin"
        await _cancel(*self._running)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):  # it left again
            client, _ = listener.accept()
            client.setblocking(False)
            connection = _Connection(client, self.rtt_s, self.bytes_per_s, self._passable, self._decide_fault())
            self.traffic.append(connection.traffic)
            task = self._loop.create_task(connection.run(self._upstream_port))
            self._running[task] = connection
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        """Here and not in the task, which may be cancelled before it has begun."""
        self._running.pop(task).close()


@dataclass
class _Connection:
    """A client's connection and its continuation to the upstream; `ending` is how the client sees it end."""

    client: socket.socket
    rtt_s: float
    bytes_per_s: int | None
    passable: asyncio.Event
    fault: _Fault | None
    traffic: Traffic = field(default_factory=Traffic)
    ending: Ending = "fin"

    async def run(self, upstream_port: int) -> None:
        with socket.socket() as upstream:
            upstream.setblocking(False)
            try:
                await asyncio.sleep(self.rtt_s)  # the handshake
                await self.passable.wait()
                await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", upstream_port))
                for one in (self.client, upstream):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self._carry(upstream)
            except OSError:
                self.ending = "rst"  # too late to refuse it

    def close(self) -> None:
        self.traffic.open = False
        if self.ending == "rst":
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self.client.close()

    async def _carry(self, upstream: socket.socket) -> None:
        """Both directions until one of them has ended."""
        upwards = _Lane(self.client, upstream, self.rtt_s / 2, None, self.passable)
        downwards = _Lane(upstream, self.client, self.rtt_s / 2, self.bytes_per_s, self.passable)
        up = asyncio.create_task(upwards.run(self._count_up, lambda: None))
        down = asyncio.create_task(downwards.run(self._count_down, lambda: self.fault))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if down.done():
                self.ending = down.result()
                self.traffic.cut = downwards.cut
            elif up.result() == "rst":
                upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        finally:
            await _cancel(up, down)

    def _count_up(self, size: int) -> None:
        self.traffic.up += size

    def _count_down(self, size: int) -> None:
        self.traffic.down += size


class _Lane:
    """One direction of a connection: bytes enter at a rate, and leave a delay later."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        delay_s: float,
        bytes_per_s: int | None,
        passable: asyncio.Event,
    ) -> None:
        self._source = source
        self._sink = sink
        self._delay_s = delay_s
        self._bytes_per_s = bytes_per_s
        self._passable = passable
        self._window = _WIDE_WINDOW if bytes_per_s is None else max(_WINDOW, int(2 * delay_s * bytes_per_s))
        self._loop = asyncio.get_running_loop()
        self._free_at = self._loop.time()
        self._on_its_way: asyncio.Queue[tuple[float, bytes, Ending | None]] = asyncio.Queue()
        self._bytes_on_their_way = 0
        self._left = asyncio.Event()
        self.cut = False

    async def run(self, count: Callable[[int], None], fault: Callable[[], _Fault | None]) -> Ending:
        """Carry until the source has ended and all before that has arrived; returns how it ended."""
        entering = asyncio.create_task(self._enter(count, fault))
        try:
            return await self._leave()
        except OSError:
            return "rst"  # nobody is there to take it
        finally:
            await _cancel(entering)

    async def _enter(self, count: Callable[[int], None], fault: Callable[[], _Fault | None]) -> None:
        entered = 0
        chunk = (
            _CHUNK
            if self._bytes_per_s is None
            else min(_CHUNK, max(_SMALLEST_CHUNK, int(self._bytes_per_s * _BURST_S)))
        )
        while True:
            expected = fault()
            if expected is not None and entered >= expected.after:
                if expected.then != "stall":
                    self.cut = True
                    self._put(b"", expected.then)
                return None
            try:
                data = await self._loop.sock_recv(self._source, chunk)
            except OSError:
                return self._put(b"", "rst")
            if not data:
                return self._put(b"", "fin")
            if (expected := fault()) is not None:  # asked for again: receiving may have taken its time
                data = data[: max(0, expected.after - entered)]
            entered += len(data)
            count(len(data))
            await self._take_time(len(data))
            self._put(data, None)
            while self._bytes_on_their_way > self._window:
                self._left.clear()
                await self._left.wait()

    async def _take_time(self, size: int) -> None:
        if self._bytes_per_s is not None:
            self._free_at = max(self._free_at, self._loop.time() - _BURST_S) + size / self._bytes_per_s
            await asyncio.sleep(self._free_at - self._loop.time())  # the rate of the link

    def _put(self, data: bytes, ending: Ending | None) -> None:
        self._bytes_on_their_way += len(data)
        self._on_its_way.put_nowait((self._loop.time() + self._delay_s, data, ending))

    async def _leave(self) -> Ending:
        while True:
            at, data, ending = await self._on_its_way.get()
            await asyncio.sleep(at - self._loop.time())  # the delay of the link
            await self._passable.wait()
            if ending == "rst":
                await self._wait_arrived()
            if ending:
                return ending
            await self._loop.sock_sendall(self._sink, data)
            self._bytes_on_their_way -= len(data)
            self._left.set()

    async def _wait_arrived(self) -> None:
        """An RST would throw away what the kernel has not handed over yet."""
        while struct.unpack("i", fcntl.ioctl(self._sink, termios.TIOCOUTQ, bytes(4)))[0]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)


async def _cancel(*tasks: asyncio.Task[None] | asyncio.Task[Ending]) -> None:
    """Cancel and wait; how they end is of no interest."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
