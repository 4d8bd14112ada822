"""Decide how many bytes of a body are read for a client at a time.

No I/O, no clock: takes `now_s` as an argument. Large pieces need less CPU time for a fast client. Small pieces bound
the memory for a client that has stopped reading, because the last piece stays in the buffer of its connection. So a
body begins with small pieces, continues with large ones once the client has shown that it takes them quickly, and goes
back to small ones as soon as it does not. A body that is sent from a file is not read, so it holds no memory either.
"""

SMALL_BYTES = 64 * 1024
LARGE_BYTES = 512 * 1024
LARGE_AT_ONCE = 32
PROVEN_BYTES = 8 * 2**20  # more than the socket buffers of both sides can take for a client that never reads
QUICK_S = 0.05  # the time for a large piece at 10 MB/s
REGION_BYTES = 4 * 2**20  # sent from a file at a time: small enough for other clients to get their turn


class LargePieces:
    """Limits how many clients of a process hold a large piece in memory at the same time.

    A client that stops reading keeps its piece in memory and, with TLS, the encrypted piece as well. When the limit is
    reached, other clients are given small pieces until one of the large ones is free again.
    """

    def __init__(self, most: int = LARGE_AT_ONCE) -> None:
        self._left = most

    @property
    def is_free(self) -> bool:
        """Return whether `take` would return true."""
        return self._left > 0

    def take(self) -> bool:
        """Take one of the large pieces. Return whether one was free."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Give one large piece back."""
        self._left += 1


class Pace:
    """Decides the size of the next piece for one body that is sent to one client."""

    def __init__(
        self, large: LargePieces | None = None, *, small_bytes: int = SMALL_BYTES, large_bytes: int = LARGE_BYTES
    ) -> None:
        """Set up the pace. `small_bytes` and `large_bytes` are the two sizes that `next_bytes` chooses from.

        `large` is the limit that is shared with other clients; None: large pieces are not limited.
        """
        self._large = large
        self._small_bytes = small_bytes
        self._large_bytes = large_bytes
        self._holds_large = False
        self._given_bytes = 0
        self._asked_at_s: float | None = None

    def close(self) -> None:
        """Let other clients have the large piece, if this client holds one. May be called more than once."""
        if self._holds_large and self._large is not None:
            self._large.give_back()
        self._holds_large = False

    def next_region_bytes(self, now_s: float) -> int:
        """Return how many bytes of a file to send next: REGION_BYTES to a client that has proven to be quick.

        Everybody else is sent SMALL_BYTES. Only small pieces show how quick a client is: a client that was sent a large
        piece first would seem slow. It would then be sent a blob that is being filled from its file instead of from
        memory, at a tenth of the throughput. And a slow client takes so long that pages that are in memory now may
        have been dropped before it takes them.
        """
        self.close()  # the client has taken the last piece, or it would not ask for more
        return REGION_BYTES if self._asks(now_s) else SMALL_BYTES

    def sent_region(self, size_bytes: int) -> None:
        """Count `size_bytes` of a file as sent to the client."""
        self._given_bytes += size_bytes

    def takes_large(self, now_s: float) -> bool:
        """Return whether `next_bytes` would let the client, asking for more at `now_s`, have a large piece."""
        is_free = self._large is None or self._holds_large or self._large.is_free
        return is_free and self._is_proven(now_s)

    def next_bytes(self, now_s: float) -> int:
        """Return how many bytes to read for the client, which asks for more at `now_s`, and count them as given."""
        self.close()  # the client has taken the last piece, or it would not ask for more
        if self._asks(now_s):
            self._holds_large = self._large is None or self._large.take()
        size_bytes = self._large_bytes if self._holds_large else self._small_bytes
        self._given_bytes += size_bytes
        return size_bytes

    def _asks(self, now_s: float) -> bool:
        """Note that the client asks for more. Return whether it may be given a large piece.

        A client that asks late has to prove itself again, with half as many bytes as at first.
        """
        is_large = self._is_proven(now_s)
        if not self._is_quick(now_s):
            self._given_bytes = min(self._given_bytes, PROVEN_BYTES // 2)
        self._asked_at_s = now_s
        return is_large

    def _is_proven(self, now_s: float) -> bool:
        return self._is_quick(now_s) and self._given_bytes >= PROVEN_BYTES

    def _is_quick(self, now_s: float) -> bool:
        return self._asked_at_s is not None and now_s - self._asked_at_s < QUICK_S
