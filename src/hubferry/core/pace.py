"""Decide how much of a body is read for a client at a time.

Pure: takes `now_s` as an argument. Large pieces make a fast client cheap; small ones bound the memory that a client
holds which has stopped reading, because what it was handed last lies in its connection's buffer. So a body begins
with small pieces, continues with large ones once its client has shown that it takes them quickly, and falls back as
soon as it does not. Where nothing is read for the client (it is sent from a file), nothing is held for it either.
"""

SMALL_BYTES = 64 * 1024
LARGE_BYTES = 512 * 1024
LARGE_AT_ONCE = 32
PROVEN_BYTES = 8 * 2**20  # more than the socket buffers of both sides swallow from a client that never reads
QUICK_S = 0.05  # a large piece at 10 MB/s
REGION_BYTES = 4 * 2**20  # of a file at a time: small enough for others to have their turn


class LargePieces:
    """How many clients of a process hold a large piece at a time.

    Who stops reading holds it, and with TLS what became of it as well.
    Those beyond are given small ones until there is a place again.
    """

    def __init__(self, most: int = LARGE_AT_ONCE) -> None:
        self._left = most

    def take(self) -> bool:
        """Take a place; whether there was one."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Make the place free."""
        self._left += 1


class Pace:
    """The pace of one client."""

    def __init__(
        self, large: LargePieces | None = None, *, small_bytes: int = SMALL_BYTES, large_bytes: int = LARGE_BYTES
    ) -> None:
        """`large` is shared with other clients; None: large pieces whenever this one is quick.

        `small_bytes` and `large_bytes` are how large the two kinds of pieces are that `next_bytes` speaks of.
        """
        self._large = large
        self._small_bytes = small_bytes
        self._large_bytes = large_bytes
        self._holds_large = False
        self._given_bytes = 0
        self._asked_at_s: float | None = None

    def close(self) -> None:
        """Let others have large pieces; may be repeated."""
        if self._holds_large and self._large is not None:
            self._large.give_back()
        self._holds_large = False

    def next_region_bytes(self, now_s: float) -> int:
        """How much of a file to send next: much to a client that has proven to be quick, and goes on so.

        Who is slow would be in the middle of a large piece for so long that he seems to take nothing (core/room.py).
        """
        return REGION_BYTES if self._asks(now_s) else SMALL_BYTES

    def sent_region(self, size_bytes: int) -> None:
        """Count so many bytes of a file as given."""
        self._given_bytes += size_bytes

    def takes_large(self, now_s: float) -> bool:
        """Whether a client that asks for more at `now_s` may be handed a large piece."""
        return self._is_quick(now_s) and self._given_bytes >= PROVEN_BYTES

    def next_bytes(self, now_s: float) -> int:
        """How many bytes to read for a client that asks for more at `now_s`."""
        self.close()  # what it was given last it has taken
        if self._asks(now_s):
            self._holds_large = self._large is None or self._large.take()
        size_bytes = self._large_bytes if self._holds_large else self._small_bytes
        self._given_bytes += size_bytes
        return size_bytes

    def _asks(self, now_s: float) -> bool:
        """Note that the client asks for more; whether it may be handed a large piece.

        Who asks late has to prove itself again, by half of what it took at first.
        """
        is_large = self.takes_large(now_s)
        if not self._is_quick(now_s):
            self._given_bytes = min(self._given_bytes, PROVEN_BYTES // 2)
        self._asked_at_s = now_s
        return is_large

    def _is_quick(self, now_s: float) -> bool:
        return self._asked_at_s is not None and now_s - self._asked_at_s < QUICK_S
