"""Places for what many want at once, given fairly by client (core/fairness.py); for one event loop.

Used twice: for fills, of which a process has at most so many, and for pieces that are given to writers (`Turns`), so
that whoever has three hundred fills gets no more of processor and disk than whoever has one.
"""

import asyncio
from collections import Counter, deque

from hubferry.core.fairness import decide_next, may_begin


class Places:
    """So many places, each held by a client until it is given back."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: Counter[str] = Counter()
        self._total = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # of each client; in order of their turns

    @property
    def is_full(self) -> bool:
        """Whether all places are taken."""
        return self._total >= self._limit

    def is_free_for(self, client: str) -> bool:
        """Whether a client would have a place at once."""
        return not self._waiting and may_begin(self._running[client], self._total, self._limit)

    async def take(self, client: str) -> None:
        """Take a place, and wait for it if need be; whoever is cancelled has none."""
        if self.is_free_for(client):
            self._give(client)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        self._call_next()  # those who wait may have as much as they may
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(client)
            else:
                self._leave(client, turn)
            raise

    def give_back(self, client: str) -> None:
        """Give a place back; whoever is next has it at once."""
        self._running[client] -= 1
        self._total -= 1
        if not self._running[client]:
            del self._running[client]
        self._call_next()

    def _give(self, client: str) -> None:
        self._running[client] += 1
        self._total += 1

    def _call_next(self) -> None:
        while self._waiting:
            client = decide_next(self._running, self._waiting, self._limit)
            if client is None:
                return
            queue = self._waiting.pop(client)
            turn = queue.popleft()
            if queue:
                self._waiting[client] = queue  # behind all others
            if not turn.done():
                self._give(client)
                turn.set_result(None)

    def _leave(self, client: str, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(client)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[client]


class Turns(Places):
    """Turns to give a piece to a writer, and what all writers of a process have not written yet."""

    def __init__(self, limit: int, most_bytes: int) -> None:
        """Beyond `most_bytes` a turn lasts until the piece is written."""
        super().__init__(limit)
        self._most_bytes = most_bytes
        self.queued_bytes = 0
        self.writers = 0

    @property
    def are_behind(self) -> bool:
        """Whether more waits to be written than should."""
        return self.queued_bytes >= self._most_bytes
