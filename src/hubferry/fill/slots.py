"""Slots for something that many clients want at once, given out fairly by client (core/fairness.py).

For one event loop. Used for fills, of which a process runs at most MAX_FILLS; for beginning fills, one at a time (both
in fills.py); and for handing pieces to writers (`Turns`), so that a client with three hundred fills gets no more of
processor and disk than one with a single fill.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterator

from hubferry.core.fairness import decide_next, may_begin


class Slots:
    """A fixed number of slots, each held by a client until it gives the slot back."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: Counter[str] = Counter()
        self._total = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by client, the next client first

    @property
    def is_full(self) -> bool:
        """Whether all slots are taken."""
        return self._total >= self._limit

    def is_free_for(self, client: str) -> bool:
        """Return whether a client would get a slot without waiting."""
        return not self._waiting and may_begin(self._running[client], self._total, self._limit)

    async def take(self, client: str) -> None:
        """Take a slot, waiting for one if need be. A caller that is cancelled meanwhile holds none."""
        if self.is_free_for(client):
            self._give(client)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._call_next()  # those who wait may have reached their share: then this client may be next
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(client)
            else:
                self._leave(client, turn)
            raise

    def give_back(self, client: str) -> None:
        """Give a slot back; the client whose turn it is gets it at once."""
        self._running[client] -= 1
        self._total -= 1
        if not self._running[client]:
            del self._running[client]
        self._call_next()

    def _give(self, client: str) -> None:
        self._running[client] += 1
        self._total += 1

    def _call_next(self) -> None:
        """Give free slots to waiting clients, for as long as one of them may have another."""
        while self._waiting:
            client = decide_next(self._running, self._waiting, self._limit)
            if client is None:
                return
            queue = self._waiting.pop(client)
            turn = queue.popleft()
            if queue:
                self._waiting[client] = queue  # its next turn comes after all other clients'
            if not turn.done():
                self._give(client)
                turn.set_result(None)

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        """Remove a cancelled request from the queue."""
        queue = self._waiting.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[client]


class Turns(Slots):
    """Turns to hand a piece to a writer, and how many bytes all writers of a process have yet to write."""

    def __init__(self, limit: int, most_bytes: int) -> None:
        """`limit` is how many turns there are at once.

        While `most_bytes` are queued, a turn lasts until everything that was given to its writer is written and hashed.
        """
        super().__init__(limit)
        self._most_bytes = most_bytes
        self.queued_bytes = 0
        self.writers = 0

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Count one more writer meanwhile."""
        self.writers += 1
        try:
            yield
        finally:
            self.writers -= 1

    @property
    def are_behind(self) -> bool:
        """Whether `most_bytes` or more are queued."""
        return self.queued_bytes >= self._most_bytes
