"""How much each client has of the gateway, and who has to wait or is refused: `[limits]`.

A client is a user, a client secret, or else an address (an IPv6 /64). Requests and bytes a day are counted by the
library limits, in memory of our own that is bounded. Rates are kept by waiting between two pieces of a body. Everything
counts for one worker process. Not here: how a rate is shared (core/shared_rate.py).
"""

import asyncio
import heapq
import itertools
import math
import time
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field

from limits import RateLimitItemPerSecond
from limits.storage.base import SlidingWindowCounterSupport, Storage
from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

from hubferry.core.bounded import BoundedMap
from hubferry.core.client import address_group
from hubferry.core.errors import Code, OciError
from hubferry.core.limit_values import ByteRate
from hubferry.core.rules import Requester
from hubferry.core.settings import LimitSettings
from hubferry.core.shared_rate import Bucket, FairTurns
from hubferry.core.values import Size

DAY_S = 86400
MOST_CLIENTS = 50_000  # that are counted at a time; beyond that, whoever was counted first begins anew
LEASE = 50  # so many counts are taken from the library at once: a fiftieth of what a client may have
LOOK_S = 5.0  # how often it is looked which rates hold at this time of the day
AGAIN_S = 1  # when another download may have ended

# the client that the work of a task is for; fills and prefetching inherit it from the request that began them
for_client: ContextVar[str] = ContextVar("for_client", default="")


class BoundedCounts(Storage, SlidingWindowCounterSupport):
    """Counts of the library in a map of bounded size: clients choose their addresses."""

    STORAGE_SCHEME = None

    def __init__(self) -> None:
        super().__init__()
        self._counts: BoundedMap[list[float]] = BoundedMap(MOST_CLIENTS)  # a window's end, its count, the one before

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def _window(self, key: str, expiry: int) -> list[float]:
        """Return the end, the count and the count before of the window that a key is in."""
        now = time.time()
        found = self._counts.get(key)
        if found is None:
            found = [now + expiry, 0, 0]
            self._counts.put(key, found)
        elif now >= found[0]:
            is_next = now < found[0] + expiry
            found[:] = [found[0] + expiry, 0, found[1]] if is_next else [now + expiry, 0, 0]
        return found

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        window = self._window(key, expiry)
        window[1] += amount
        return int(window[1])

    def get(self, key: str) -> int:
        window = self._counts.get(key)
        return 0 if window is None or time.time() >= window[0] else int(window[1])

    def get_expiry(self, key: str) -> float:
        window = self._counts.get(key)
        return time.time() if window is None else window[0]

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        window = self._window(key, expiry)
        if window[2] * (window[0] - time.time()) / expiry + window[1] + amount > limit:
            return False
        window[1] += amount
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        window = self._window(key, expiry)
        left_s = window[0] - time.time()
        return int(window[2]), left_s, int(window[1]), left_s + expiry

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        self._counts = BoundedMap(MOST_CLIENTS)
        return None

    def clear(self, key: str) -> None:
        self._counts.drop(key)

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002 - the library's
        self._counts.drop(key)


@dataclass(order=True)
class _Turn:
    """Somebody who waits to be served."""

    number: float
    order: int
    size_bytes: int = field(compare=False)
    is_over: asyncio.Future[None] = field(compare=False)


class FairRate:
    """A rate that clients share fairly: each has the same, or less if it takes less."""

    def __init__(self) -> None:
        self.bytes_per_s = 0  # 0: as many as there are
        self._bucket = Bucket()
        self._turns = FairTurns()
        self._waiting: list[_Turn] = []  # a heap
        self._orders = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    async def pay(self, client: str, size_bytes: int) -> None:
        """Pay for bytes that a client was given: return when it may have more. Who leaves meanwhile has paid."""
        if not self.bytes_per_s:
            return
        number = self._turns.take(client, size_bytes)
        if not self._waiting and not self._bucket.wait_s(self.bytes_per_s, _now_s()):
            self._turns.serve(number)
            self._bucket.pay(size_bytes, self.bytes_per_s, _now_s())
            return
        turn = _Turn(number, next(self._orders), size_bytes, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, turn)
        self._wake()
        await turn.is_over

    def change(self, bytes_per_s: int) -> None:
        """Let another rate hold from now on; 0: as many as there are."""
        self.bytes_per_s = bytes_per_s
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def _wake(self) -> None:
        """Let those who wait go on as long as nothing is owed, and come back when that is so again."""
        while self._waiting:
            wait_s = self._bucket.wait_s(self.bytes_per_s, _now_s()) if self.bytes_per_s else 0.0
            if wait_s > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(wait_s, self._woken)
                return
            turn = heapq.heappop(self._waiting)
            self._turns.serve(turn.number)
            if self.bytes_per_s:
                self._bucket.pay(turn.size_bytes, self.bytes_per_s, _now_s())
            if not turn.is_over.done():
                turn.is_over.set_result(None)

    def _woken(self) -> None:
        self._timer = None
        self._wake()


class Usage:
    """Counts what the clients of one worker process use."""

    def __init__(self, settings: LimitSettings, workers: int) -> None:
        """The rates of all clients together are divided among the worker processes."""
        self._settings = settings
        self._workers = workers
        self._counts = counts = BoundedCounts()
        burst_s = max(1, round(settings.burst.seconds))
        most = max(1, math.ceil(settings.requests.count * burst_s / settings.requests.per_s))
        self._requests = RateLimitItemPerSecond(most, burst_s)
        self._lease = max(1, most // LEASE)
        self._leases: BoundedMap[int] = BoundedMap(MOST_CLIENTS)
        self._sliding = SlidingWindowCounterRateLimiter(counts)
        self._day = RateLimitItemPerSecond(max(1, settings.bytes_per_day.size_bytes), DAY_S, namespace="bytes")
        self._fixed = FixedWindowRateLimiter(counts)
        self._downloads: Counter[str] = Counter()
        self._buckets: BoundedMap[Bucket] = BoundedMap(MOST_CLIENTS)
        self._total, self._upstream = FairRate(), FairRate()
        self._look_again_s = float("-inf")

    def visit(self, peer: str) -> "ClientVisit":
        """Return what counts one request of a client at this address."""
        self.look()
        return ClientVisit(self, peer)

    def look(self) -> None:
        """Find out which rates hold at this time of the day, every LOOK_S."""
        now_s = _now_s()
        if now_s < self._look_again_s:
            return
        self._look_again_s = now_s + LOOK_S
        local = time.localtime()
        row = self._settings.schedule.at(local.tm_hour * 60 + local.tm_min)
        rates = row or self._settings
        for rate, setting in ((self._total, rates.total_rate), (self._upstream, rates.upstream_rate)):
            share = self._share(setting)
            if rate.bytes_per_s != share:
                rate.change(share)

    def _share(self, rate: ByteRate) -> int:
        return math.ceil(rate.bytes_per_s / self._workers)

    def count_request(self, client: str) -> bool:
        """Count a request. Return whether the client may send it."""
        if not self._settings.requests.count:
            return True
        left = self._leases.get(client) or 0
        if not left:
            left = next((size for size in (self._lease, 1) if self._sliding.hit(self._requests, client, cost=size)), 0)
            if not left:
                return False
        self._leases.put(client, left - 1)
        return True

    def day_wait_s(self, client: str) -> int:
        """Return how many seconds are left of a client's day when it has had all of it; 0: it has not."""
        if not self._settings.bytes_per_day.size_bytes or self._fixed.test(self._day, client):
            return 0
        return max(1, math.ceil(self._fixed.get_window_stats(self._day, client).reset_time - time.time()))

    def begin_download(self, client: str) -> bool:
        """Count a blob that a client fetches. Return whether it may; then `end_download` has to be called."""
        if self._settings.downloads and self._downloads[client] >= self._settings.downloads:
            return False
        self._downloads[client] += 1
        return True

    def end_download(self, client: str) -> None:
        """Note that a client's download is over."""
        self._downloads[client] -= 1
        if not self._downloads[client]:
            del self._downloads[client]

    def count_bytes(self, client: str, size_bytes: int) -> None:
        """Count bytes of a client's day."""
        if self._settings.bytes_per_day.size_bytes:
            self._counts.incr(self._day.key_for(client), DAY_S, size_bytes)

    async def pay(self, client: str, size_bytes: int) -> None:
        """Count bytes that a client was given, and wait until it may have more."""
        self.count_bytes(client, size_bytes)
        own = self._settings.rate.bytes_per_s
        if own:
            bucket = self._buckets.get(client) or Bucket()
            self._buckets.put(client, bucket)
            bucket.pay(size_bytes, own, _now_s())
            wait_s = bucket.wait_s(own, _now_s())
            if wait_s:
                await asyncio.sleep(wait_s)
        await self._total.pay(client, size_bytes)

    async def pay_upstream(self, size_bytes: int) -> None:
        """Count bytes that an upstream gave, and wait until there may be more."""
        self.look()
        await self._upstream.pay(for_client.get(), size_bytes)

    def too_many_requests(self, client: str) -> OciError:
        """Return the refusal of a client that sends too many requests."""
        wait_s = max(1, self._requests.get_expiry() // 2)
        return refusal(f"{client} sends more than {self._settings.requests} requests", "slow down", wait_s)

    def too_many_downloads(self, client: str) -> OciError:
        """Return the refusal of a client that fetches too much at a time."""
        return refusal(f"{client} fetches {self._settings.downloads} blobs already", "wait for one to end", AGAIN_S)

    def day_is_used(self, client: str, wait_s: int) -> OciError:
        """Return the refusal of a client that has had its day's bytes."""
        most = Size(self._settings.bytes_per_day.size_bytes)
        return refusal(f"{client} has fetched {most} within a day", "go on when the day is over", wait_s)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def refusal(what: str, remedy: str, wait_s: int) -> OciError:
    """Return a 429 of this gateway's own."""
    message = f"a limit of this gateway, and not of Docker Hub: {what}: {remedy}, or ask whoever runs the gateway"
    return OciError(429, Code.TOOMANYREQUESTS, message, headers=(("retry-after", str(wait_s)),))


class ClientVisit:
    """The `Visit` port: one request, until its answer was sent."""

    def __init__(self, usage: Usage, peer: str) -> None:
        self._usage = usage
        self.client = address_group(peer)
        self._is_admitted = False
        self._is_download = False
        for_client.set(self.client)

    def admit(self, requester: Requester, *, is_download: bool = False) -> None:
        if self._is_admitted:  # its answer is made once more (app.py)
            return
        self._is_admitted = True
        usage = self._usage
        if requester.user is not None:
            self.client = f"user {requester.user.name}"
            for_client.set(self.client)
        if not usage.count_request(self.client):
            raise usage.too_many_requests(self.client)
        if wait_s := usage.day_wait_s(self.client):
            raise usage.day_is_used(self.client, wait_s)
        if is_download:
            if not usage.begin_download(self.client):
                raise usage.too_many_downloads(self.client)
            self._is_download = True

    def may_repeat(self, size_bytes: int) -> bool:
        """Count a request that is answered as this one was. Return whether it may be, without waiting."""
        usage = self._usage
        if usage.day_wait_s(self.client) or not usage.count_request(self.client):
            return False
        usage.count_bytes(self.client, size_bytes)
        return True

    async def sent(self, size_bytes: int) -> None:
        """Count bytes of the answer's body, and wait until the client may have more."""
        await self._usage.pay(self.client, size_bytes)

    def close(self) -> None:
        """Note that the request is over. May be called more than once."""
        if self._is_download:
            self._is_download = False
            self._usage.end_download(self.client)
