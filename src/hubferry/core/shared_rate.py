"""Share a rate in bytes a second: how long one client has to wait, and which of several clients is next.

Pure: takes the time as an argument. Bytes are paid for after they were sent or received, so nobody waits with a piece
in memory: who has more than its share waits before the next one. Not here: waiting (server/usage.py).
"""

MIN_REMEMBERED = 256
BURST_S = 0.1  # what was not used lately may be used at once, as much as comes in this time


class Bucket:
    """What a rate has left at a moment; it may be in debt."""

    __slots__ = ("_at_s", "_left_bytes")

    def __init__(self) -> None:
        self._left_bytes = 0.0
        self._at_s = float("-inf")

    def pay(self, size_bytes: int, bytes_per_s: float, now_s: float) -> None:
        """Take bytes, whether or not they are there."""
        self._refill(bytes_per_s, now_s)
        self._left_bytes -= size_bytes

    def wait_s(self, bytes_per_s: float, now_s: float) -> float:
        """Return how many seconds it takes until there is no debt; 0: there is none of a whole byte."""
        self._refill(bytes_per_s, now_s)
        return -self._left_bytes / bytes_per_s if self._left_bytes <= -1 else 0.0

    def _refill(self, bytes_per_s: float, now_s: float) -> None:
        most = bytes_per_s * BURST_S
        self._left_bytes = min(most, self._left_bytes + bytes_per_s * max(now_s - self._at_s, 0.0))
        self._at_s = max(now_s, self._at_s)


class FairTurns:
    """Decides in which order those who wait are served (self-clocked fair queueing, Golestani 1994).

    Each turn has a number: where its client ends when it is served. A client that was idle begins where the others are,
    so it gets no more for that, and cannot be overtaken for ever by others who come later.
    """

    def __init__(self) -> None:
        self._now = 0.0  # the number of the turn that was served last
        self._ends: dict[str, float] = {}  # the number of each client's last turn, of those that are still to come
        self._most = MIN_REMEMBERED

    def take(self, client: str, size_bytes: int) -> float:
        """Return the number of a client's turn of this size: the lowest is served first."""
        end = max(self._now, self._ends.get(client, 0.0)) + size_bytes
        self._ends[client] = end
        if len(self._ends) > self._most:
            self._ends = {one: at for one, at in self._ends.items() if at > self._now}
            self._most = max(MIN_REMEMBERED, 2 * len(self._ends))
        return end

    def serve(self, turn: float) -> None:
        """Note that the turn of this number is served."""
        self._now = max(self._now, turn)

    def __len__(self) -> int:
        """Return how many clients are remembered."""
        return len(self._ends)
