"""Partial files: what a fill needs of the disk. The store has them (store/partial.py, store/blobs.py)."""

from collections.abc import Sequence
from typing import Literal, Protocol

from hubferry.ports.content import Region

# who writes a partial file, or what became of it: see the table in fill/fill.py
Standing = Literal["ours", "followed", "committed", "discarded", "abandoned"]


class Declared(Protocol):
    """What the sidecar of a partial file says: the blob's size, and the hash that its first `checked_bytes` had."""

    @property
    def size_bytes(self) -> int | None:
        """The size of the whole blob in bytes; None: not known."""

    @property
    def checked_bytes(self) -> int:
        """How many bytes from the start of the file `checked_hash` is the hash of."""

    @property
    def checked_hash(self) -> str:
        """The hash of those bytes, hexadecimal; empty when none was taken."""


class Partial(Protocol):
    """The partial file of one blob: see store/partial.py.

    A method may block unless it says that it does not. Raises StoreFailure.
    """

    def standing(self) -> Standing:
        """Return who writes the file, after trying to become that: "ours" means that this process holds the lock."""

    def expect(self, held_bytes: int, size_bytes: int | None) -> None:
        """Reserve room for what comes next, given how much is there and how long the blob will be (None: not known).

        Raises NoRoom when there cannot be room for all of it.
        """

    def final_exists(self) -> bool:
        """Return whether the blob is already kept under its final name."""

    def length_bytes(self) -> int:
        """Return how many bytes from the start of the file are whole, without a gap."""

    def go_ahead(self) -> bool:
        """Allow ranges to be written beyond what is whole; False when the file system does not allow that."""

    def note_front(self, length_bytes: int) -> None:
        """Record that the first `length_bytes` of the file are whole."""

    def cut_to_whole(self, known_bytes: int = 0) -> int:
        """Cut off what an earlier writer wrote beyond what is whole, and return how long the file is now.

        Nothing of the first `known_bytes` is cut off: those are known to be whole.
        """

    def declared(self) -> Declared | None:
        """Return what the sidecar says; None when nothing is known, so that the bytes in the file are of no use."""

    def declare(self, size_bytes: int | None, checked_bytes: int = 0, checked_hash: str = "") -> None:
        """Write the sidecar: the blob's size, and the hash (hexadecimal) of the first `checked_bytes`."""

    def read_cached(self, offset: int, size_bytes: int) -> bytes | None:
        """Return up to `size_bytes` when the last of them is in memory, so that most are; else None. Hardly blocks."""

    def region(self, offset: int, size_bytes: int) -> Region | None:
        """Return a part of the file to be sent without reading it, if its last byte is in memory; else None.

        Does not block.
        """

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return up to `size_bytes` from `offset`: fewer, or none, at the end of the file."""

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Write all pieces, one after the other, from `offset` on."""

    def commit(self, length_bytes: int, actual_digest: str) -> None:
        """Check length and digest, and give the file its final name, durably."""

    def discard(self) -> None:
        """Remove the file as wrong: its followers see "discarded"."""

    def abandon(self) -> None:
        """Remove the file as right so far, but not to be kept: its followers see "abandoned"."""

    def release(self) -> None:
        """Release the lock, so that another process may write the file."""

    def close(self) -> None:
        """Close the file, which also releases its lock."""


class Partials(Protocol):
    """Opens partial files: see store/blobs.py. Blocks. Raises StoreFailure."""

    def open_partial(self, upstream: str, digest: str) -> Partial:
        """Return the partial file of a blob, created if need be."""
