"""Many hostile connections at once, and what they cost the others: memory, and waiting.

A stranger is a plain socket: it sends what it is told as fast as the other side takes it, and reads nothing.
Not here: what is sent.
"""

import contextlib
import select
import selectors
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import psutil

from tests.support.content import MIB
from tests.support.gateway import Gateway
from tests.support.http import fetch
from tests.support.waiting import wait_until

LEAST_S = 0.25  # of waiting: below it nobody can tell a busy test machine from a gateway that is held up


@contextlib.contextmanager
def strangers(
    url: str, count: int, *, address: str = "127.0.0.1", receive_buffer: int = 0
) -> Iterator[list[socket.socket]]:
    """That many connections, made from `address`; closed at the end, whatever became of them."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            if receive_buffer:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # before the window is agreed on
            one.bind((address, 0))
            one.connect((host, port))
            made.append(one)
        yield made


def pour(sockets: Sequence[socket.socket], data: bytes, *, patience_s: float = 1.0) -> int:
    """Send `data` on every one, reading nothing; until all is sent or nobody takes any more for a while. The sum."""
    sent = dict.fromkeys(sockets, 0)
    with selectors.DefaultSelector() as ready:
        for one in sockets:
            one.setblocking(False)
            ready.register(one, selectors.EVENT_WRITE)
        while ready.get_map():
            events = ready.select(patience_s)
            if not events:
                break
            for key, _ in events:
                assert isinstance(key.fileobj, socket.socket)
                one = key.fileobj
                try:
                    sent[one] += one.send(data[sent[one] : sent[one] + 64 * 1024])
                except OSError:  # it was cut
                    ready.unregister(one)
                    continue
                if sent[one] == len(data):
                    ready.unregister(one)
    return sum(sent.values())


def wait_answered(sockets: Sequence[socket.socket], timeout_s: float = 30) -> None:
    """Wait until something has come for every one of them; it is not read."""
    _wait_for(select.POLLIN, sockets, timeout_s)


def wait_cut(sockets: Sequence[socket.socket], timeout_s: float = 60) -> None:
    """Wait until the other side has ended every one of them, without reading what it sent."""
    _wait_for(select.POLLRDHUP, sockets, timeout_s)


def _wait_for(event: int, sockets: Sequence[socket.socket], timeout_s: float) -> None:
    poll = select.poll()
    left = {one.fileno() for one in sockets}
    for descriptor in left:
        poll.register(descriptor, event)
    deadline = time.monotonic() + timeout_s
    while left:
        assert time.monotonic() < deadline, f"{len(left)} of {len(sockets)} connections: nothing after {timeout_s} s"
        for descriptor, _ in poll.poll(100):
            poll.unregister(descriptor)
            left.discard(descriptor)


def is_cut(one: socket.socket) -> bool:
    """Whether the other side has ended it by now."""
    poll = select.poll()
    poll.register(one, select.POLLRDHUP)
    return bool(poll.poll(0))


@dataclass
class Memory:
    """Resident memory of a gateway's process, against what it was when this was made."""

    gateway: Gateway
    before: int = field(init=False)

    def __post_init__(self) -> None:
        self.before = self._now()

    @property
    def growth_mib(self) -> float:
        return (self._now() - self.before) / MIB

    def peak_mib(self, seconds: float) -> float:
        """The largest growth that is seen within that time."""
        deadline, peak = time.monotonic() + seconds, self.growth_mib
        while time.monotonic() < deadline:
            time.sleep(0.02)  # a sample now and then
            peak = max(peak, self.growth_mib)
        return peak

    def settles_below(self, mib: float, timeout_s: float = 20) -> float:
        """Wait until it has grown by less than that; how much it had at last."""
        growth: list[float] = []

        def has_settled() -> bool:
            growth.append(self.growth_mib)
            return growth[-1] < mib

        wait_until(has_settled, f"less than {mib:.1f} MiB more", timeout_s, seen=lambda: f"{growth[-1]:.1f} MiB")
        return growth[-1]

    def _now(self) -> int:
        return psutil.Process(self.gateway.pid).memory_info().rss


def slowest_s(url: str, times: int = 25) -> float:
    """How long the slowest of so many honest requests takes, one after the other."""
    slowest = 0.0
    for _ in range(times):
        answer = fetch(url)
        assert (answer.status, answer.ended) == (200, "complete")
        slowest = max(slowest, answer.seconds)
    return slowest


def is_held_up(quiet_s: float, now_s: float) -> bool:
    """Whether honest clients wait for strangers: far longer than without them."""
    return now_s > max(20 * quiet_s, LEAST_S)


def any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
