"""How much each client has of the gateway, and who has to wait or is refused: `[limits]`.

A client is a user, a client secret, or else an address (an IPv6 /64). Requests and bytes a day are counted by the
library limits, and refused beyond what is allowed. Rates are kept by waiting: between two pieces of a body, or before
an answer that is sent as a whole, and never after it, when nobody would notice that its client has left. Everything
counts for one worker process.
"""

import asyncio
import math
import time
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass

from limits import RateLimitItemPerSecond
from limits.strategies import SlidingWindowCounterRateLimiter

from hubferry.core.bounded import BoundedMap
from hubferry.core.client import address_group
from hubferry.core.errors import Code, OciError
from hubferry.core.limit_values import RequestRate
from hubferry.core.rules import Requester
from hubferry.core.settings import LimitSettings
from hubferry.core.shared_rate import Bucket
from hubferry.core.values import Size
from hubferry.server.counts import MOST_CLIENTS, BoundedCounts
from hubferry.server.fair_rate import LOOK_S, FairRate, now_s

DAY_S = 86400
FEW = 10  # fewer requests than this are no measure of a rate: they are counted over a longer time
# a client takes a part of what it may have from the library at once: asking the library takes five microseconds, and a
# tag that is answered from memory 24 in all
LEASES = 50
DAY_LEASES = 1000
WITHOUT_LIMIT = 2**62
# a rate is charged at most so many bytes late, and a fiftieth of what comes in a second
SETTLE_BYTES = 64 * 1024
SETTLINGS = 50
AGAIN_S = 1  # when another download may have ended

# the client that the work of a task is for; fills and prefetching inherit it from the request that began them
for_client: ContextVar[str] = ContextVar("for_client", default="")


def window_of(rate: RequestRate, burst_s: float) -> tuple[int, int]:
    """Return how many requests are allowed in a window of how many seconds.

    The window is the burst, but long enough for the rate to mean a whole number of requests.
    """
    whole_s = max(1, round(burst_s))
    count = rate.count * whole_s // rate.per_s
    return (count, whole_s) if count >= FEW or rate.per_s <= whole_s else (rate.count, rate.per_s)


@dataclass(slots=True)
class ClientUse:
    """What one client may still have without the library being asked, and its own rate.

    `client` is its user, or its address. `unsettled_bytes` were given to it, and no rate has been charged for them yet.
    """

    client: str
    requests_left: int
    day_left_bytes: int
    bucket: Bucket
    unsettled_bytes: int = 0


class Usage:
    """Counts what the clients of one worker process use."""

    def __init__(self, settings: LimitSettings, workers: int) -> None:
        """The rates of all clients together are divided among the worker processes."""
        self._settings = settings
        self._workers = workers
        most, window_s = window_of(settings.requests, settings.burst.seconds)
        self._requests = RateLimitItemPerSecond(max(most, 1), window_s)
        self._lease = max(1, most // LEASES)
        self._sliding = SlidingWindowCounterRateLimiter(BoundedCounts())
        self._day_bytes = settings.bytes_per_day.size_bytes
        self._day_lease_bytes = max(1, self._day_bytes // DAY_LEASES)
        self._days = BoundedCounts()
        self._own_rate = settings.rate.bytes_per_s
        self._clients: BoundedMap[ClientUse] = BoundedMap(MOST_CLIENTS)
        self._downloads: Counter[str] = Counter()
        self._total, self._upstream = FairRate(self.look), FairRate(self.look)
        self._settle_bytes = 0
        self._has_rates = True
        self._look_again_s = float("-inf")

    def visit(self, peer: str) -> "ClientVisit":
        """Return what counts one request of a client at this address."""
        self.look()
        return ClientVisit(self, peer)

    def use_of(self, client: str) -> ClientUse:
        """Return what a client may still have."""
        use = self._clients.get(client)
        if use is None:
            requests_left = 0 if self._settings.requests.count else WITHOUT_LIMIT
            use = ClientUse(client, requests_left, 0 if self._day_bytes else WITHOUT_LIMIT, Bucket())
            self._clients.put(client, use)
        return use

    def look(self) -> None:
        """Find out which rates hold at this time of the day, every LOOK_S."""
        if now_s() < self._look_again_s:
            return
        self._look_again_s = now_s() + LOOK_S
        local = time.localtime()
        rates = self._settings.schedule.at(local.tm_hour * 60 + local.tm_min) or self._settings
        self._total.change(math.ceil(rates.total_rate.bytes_per_s / self._workers))
        self._upstream.change(math.ceil(rates.upstream_rate.bytes_per_s / self._workers))
        slowest = min((rate for rate in (self._own_rate, self._total.bytes_per_s) if rate), default=0)
        self._has_rates = bool(slowest)
        self._settle_bytes = min(SETTLE_BYTES, slowest // SETTLINGS) if slowest else WITHOUT_LIMIT

    def count_request(self, use: ClientUse) -> bool:
        """Count a request. Return whether the client may send it."""
        if use.requests_left < 1:
            leases = (self._lease, 1)
            use.requests_left = next((n for n in leases if self._sliding.hit(self._requests, use.client, cost=n)), 0)
            if not use.requests_left:
                return False
        use.requests_left -= 1
        return True

    def day_wait_s(self, use: ClientUse) -> int:
        """Return how many seconds are left of a client's day when it has had all of it; 0: it has not."""
        if use.day_left_bytes > 0:
            return 0
        if self._days.get(use.client) >= self._day_bytes:
            return max(1, math.ceil(self._days.get_expiry(use.client) - time.monotonic()))
        self._days.incr(use.client, DAY_S, self._day_lease_bytes)
        use.day_left_bytes += self._day_lease_bytes
        return 0

    def may_repeat(self, use: ClientUse, size_bytes: int) -> bool:
        """Count a request that is answered from memory, if its client may have it now without waiting.

        Most requests of a fleet are of this kind, so rates are settled for many of them together.
        """
        unsettled_bytes = use.unsettled_bytes + size_bytes if self._has_rates else 0
        if use.requests_left > 0 and use.day_left_bytes > size_bytes and unsettled_bytes < self._settle_bytes:
            use.requests_left -= 1
            use.day_left_bytes -= size_bytes
            use.unsettled_bytes = unsettled_bytes
            return True
        if self.is_owed(use) or self.day_wait_s(use) or not self.count_request(use):
            return False
        self._charge_day(use, size_bytes)
        rated_bytes = self._charge_own(use, size_bytes)
        self._total.charge(rated_bytes)
        return True

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

    def is_owed(self, use: ClientUse) -> bool:
        """Return whether a client would have to wait for anything that is sent to it now."""
        return self._own_wait_s(use) > 0 or self._total.is_owed

    @property
    def has_rates(self) -> bool:
        """Return whether a client may have to wait."""
        return self._has_rates

    async def pay(self, use: ClientUse, size_bytes: int, *, is_sent: bool) -> None:
        """Count bytes that a client is given, and wait until it may have them, or more if `is_sent`."""
        self.look()
        self._charge_day(use, size_bytes)
        rated_bytes = self._charge_own(use, size_bytes)
        if wait_s := self._own_wait_s(use):
            await asyncio.sleep(wait_s)
        await self._total.pay(use.client, rated_bytes, is_given=is_sent)

    async def pay_upstream(self, size_bytes: int) -> None:
        """Count bytes that an upstream gave, and wait until there may be more."""
        self.look()
        await self._upstream.pay(for_client.get(), size_bytes, is_given=True)

    def charge_upstream(self, size_bytes: int) -> None:
        """Count bytes that an upstream gave, without waiting."""
        self._upstream.charge(size_bytes)

    def _charge_day(self, use: ClientUse, size_bytes: int) -> None:
        use.day_left_bytes -= size_bytes
        if use.day_left_bytes < 0:
            self._days.incr(use.client, DAY_S, -use.day_left_bytes)
            use.day_left_bytes = 0

    def _charge_own(self, use: ClientUse, size_bytes: int) -> int:
        """Charge a client's own rate. Return how many bytes that were, with those that were not settled before."""
        rated_bytes = size_bytes + use.unsettled_bytes
        use.unsettled_bytes = 0
        if self._own_rate:
            use.bucket.pay(rated_bytes, self._own_rate, now_s())
        return rated_bytes

    def _own_wait_s(self, use: ClientUse) -> float:
        return use.bucket.wait_s(self._own_rate, now_s()) if self._own_rate else 0.0

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


def refusal(what: str, remedy: str, wait_s: int) -> OciError:
    """Return a 429 of this gateway's own."""
    message = f"a limit of this gateway, and not of Docker Hub: {what}: {remedy}, or ask whoever runs the gateway"
    return OciError(429, Code.TOOMANYREQUESTS, message, headers=(("retry-after", str(wait_s)),))


class ClientVisit:
    """The `Visit` port: one request, until its answer was sent."""

    def __init__(self, usage: Usage, peer: str) -> None:
        self._usage = usage
        self._is_admitted = False
        self._is_download = False
        self._is_of(address_group(peer))

    def _is_of(self, client: str) -> None:
        self._use = self._usage.use_of(client)
        for_client.set(client)

    @property
    def client(self) -> str:
        """Return who the request is counted for: a user, or an address."""
        return self._use.client

    def admit(self, requester: Requester, *, is_download: bool = False) -> None:
        if self._is_admitted:  # its answer is made once more (app.py)
            return
        self._is_admitted = True
        usage = self._usage
        if requester.user is not None:
            self._is_of(f"user {requester.user.name}")
        if not usage.count_request(self._use):
            raise usage.too_many_requests(self.client)
        if wait_s := usage.day_wait_s(self._use):
            raise usage.day_is_used(self.client, wait_s)
        if is_download:
            if not usage.begin_download(self.client):
                raise usage.too_many_downloads(self.client)
            self._is_download = True

    def may_repeat(self, size_bytes: int) -> bool:
        """Count a request that is answered as this one was. Return whether it may be, without waiting."""
        return self._usage.may_repeat(self._use, size_bytes)

    @property
    def may_wait(self) -> bool:
        """Return whether the client may have to wait before it is sent anything."""
        return self._usage.has_rates

    async def pay(self, size_bytes: int) -> None:
        """Count bytes of the answer's body that were sent, and wait until the client may have more."""
        await self._usage.pay(self._use, size_bytes, is_sent=True)

    async def pay_before(self, size_bytes: int) -> None:
        """Count an answer that is sent as a whole, and wait until the client may have it."""
        await self._usage.pay(self._use, size_bytes, is_sent=False)

    def close(self) -> None:
        """Note that the request is over. May be called more than once."""
        if self._is_download:
            self._is_download = False
            self._usage.end_download(self.client)
