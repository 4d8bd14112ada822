"""A rate in bytes a second that clients share, with waiting; core/shared_rate.py decides who is next."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from hubferry.core.shared_rate import Bucket, FairTurns

LOOK_S = 5.0  # how long anybody waits before it is looked whether another rate holds by now


@dataclass(order=True)
class _Turn:
    """Somebody who waits to be served."""

    number: float
    order: int
    size_bytes: int = field(compare=False)
    is_over: asyncio.Future[None] = field(compare=False)


class FairRate:
    """A rate of which each client has the same, or less if it takes less."""

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        """`look` is called while somebody waits, and may `change` the rate."""
        self.bytes_per_s = 0  # 0: as many as there are
        self._look = look
        self._bucket = Bucket()
        self._turns = FairTurns()
        self._waiting: list[_Turn] = []  # a heap
        self._orders = itertools.count()
        self._left = 0  # how many of them may belong to somebody who left
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_owed(self) -> bool:
        """Return whether anybody would have to wait now."""
        return bool(self.bytes_per_s) and bool(self._waiting or self._bucket.wait_s(self.bytes_per_s, now_s()))

    def charge(self, size_bytes: int) -> None:
        """Pay for bytes without waiting: who comes next waits for them."""
        if self.bytes_per_s:
            self._bucket.pay(size_bytes, self.bytes_per_s, now_s())

    async def pay(self, client: str, size_bytes: int, *, is_given: bool) -> None:
        """Wait for a client's turn, and pay for bytes. Who leaves meanwhile pays for what it `is_given` already."""
        if not self.bytes_per_s:
            return
        number = self._turns.take(client, size_bytes)
        if not self.is_owed:
            self._turns.serve(number)
            self.charge(size_bytes)
            return
        turn = _Turn(number, next(self._orders), size_bytes, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, turn)
        self._wake()
        try:
            await turn.is_over
        except asyncio.CancelledError:
            self._leave(turn)
            if is_given:
                self.charge(size_bytes)
            raise

    def _leave(self, turn: _Turn) -> None:
        """Forget the turn of somebody who left. The heap has no more of them than of others."""
        turn.size_bytes = 0
        self._left += 1
        if self._left > len(self._waiting) / 2:
            self._waiting = [one for one in self._waiting if not one.is_over.cancelled()]
            heapq.heapify(self._waiting)
            self._left = 0

    def change(self, bytes_per_s: int) -> None:
        """Let another rate hold from now on; 0: as many as there are."""
        if bytes_per_s != self.bytes_per_s:
            self.bytes_per_s = bytes_per_s
            self._stop_timer()
            self._wake()

    def _wake(self) -> None:
        """Let those who wait go on as long as nothing is owed, and come back when that is so again."""
        while self._waiting:
            wait_s = self._bucket.wait_s(self.bytes_per_s, now_s()) if self.bytes_per_s else 0.0
            if wait_s > 0:
                if self._timer is None:
                    loop = asyncio.get_running_loop()
                    self._timer = loop.call_later(min(wait_s, LOOK_S), self._woken)
                return
            turn = heapq.heappop(self._waiting)
            self._turns.serve(turn.number)
            self.charge(turn.size_bytes)
            if not turn.is_over.done():
                turn.is_over.set_result(None)

    def _woken(self) -> None:
        self._timer = None
        self._look()
        self._wake()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def now_s() -> float:
    """Return the time of the running event loop in seconds."""
    return asyncio.get_running_loop().time()
