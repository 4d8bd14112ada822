"""Decide how much of the cache is reserved for the file of a fill.

Pure. Room is reserved as bytes arrive, and not all at once when an upstream states the size of a blob. Otherwise a
client that asks for one byte of a huge blob, or an upstream that sends it very slowly, would evict everybody else's
blobs. The reservation is twice what has arrived, so that no fill reserves much more than it has, but never more than
LOOK_AHEAD_BYTES beyond what has arrived: that is enough for a fast connection.
Not here: what is removed to make room (store/ledger.py).
"""

FIRST_BYTES = 2**20
LOOK_AHEAD_BYTES = 16 * 2**20


def decide_reserved(held_bytes: int, size_bytes: int | None) -> int:
    """Return the length in bytes to reserve for a file of which `held_bytes` have arrived.

    `size_bytes` is the size of the whole blob, if known.
    """
    wanted = held_bytes + min(max(held_bytes, FIRST_BYTES), LOOK_AHEAD_BYTES)
    return wanted if size_bytes is None else max(min(wanted, size_bytes), held_bytes)
