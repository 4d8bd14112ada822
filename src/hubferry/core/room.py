"""Decide how much room a file under way has, and whether a file that is being read is in use.

Pure: takes the time. Room is made as bytes arrive, not when an upstream says how long a blob is: whoever asks for one
byte of a huge one, or an upstream that gives it in drops, must not cost everybody else's blobs. What is there is
doubled, so that nothing can hold much more than it has, and LOOK_AHEAD_BYTES at a time are enough for a fast line.
A client that takes next to nothing must not keep a file from being removed for as long as it likes.
Not here: what is removed (store/ledger.py).
"""

FIRST_BYTES = 2**20
LOOK_AHEAD_BYTES = 16 * 2**20
USED_BPS = 8 * 1024  # what the readers of a file take of it at least, together: a phone on 2G takes about that


def decide_reserved(held_bytes: int, size_bytes: int | None) -> int:
    """How long a file may become, in bytes, of which so many are there; `size_bytes` is what it will be, if known."""
    wanted = held_bytes + min(max(held_bytes, FIRST_BYTES), LOOK_AHEAD_BYTES)
    return wanted if size_bytes is None else max(min(wanted, size_bytes), held_bytes)


class Use:
    """What the readers of one file take of it."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._taken_bytes = 0

    def took(self, size_bytes: int) -> None:
        """A reader was handed so much of the file."""
        self._taken_bytes += size_bytes

    def is_over(self, now_s: float) -> bool:
        """Whether too little was taken since this was last asked, or since the beginning."""
        elapsed_s, taken_bytes = now_s - self._since_s, self._taken_bytes
        self._since_s, self._taken_bytes = now_s, 0
        return taken_bytes < USED_BPS * elapsed_s
