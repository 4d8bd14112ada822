"""What a fill needs of its surroundings, as Protocols: an upstream's answer, and the file of a blob under way.

`store.partial.PartialFile` is the file, `pull.kept_blobs` makes the answers; neither is imported here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hubferry.ports import Region

HELD_BACK_BYTES = 64 * 1024  # what no reader gets before the digest matches
PIECE_BYTES = 2**20  # the most that a connection gives at once


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a fill tries."""

    patience_s: float = 60.0  # without progress
    connections: int = 6  # at most, for one blob
    parallel_from_bytes: int = 16 * 2**20  # when less is left of a blob, it has one


Standing = Literal["ours", "followed", "committed", "discarded", "abandoned"]


class Readable(Protocol):
    """A body as it arrives."""

    async def read(self) -> bytes | None:
        """The next piece, None at the end. Raises UpstreamFailure."""

    async def close(self) -> None:
        """End it; may be repeated."""


class Fetched(Protocol):
    """An upstream's answer: the blob from `start_bytes` (0 when it knows no Range) to where was asked, or its end."""

    @property
    def start_bytes(self) -> int:
        """Where the body begins."""

    @property
    def size_bytes(self) -> int | None:
        """How long the whole blob is, if the upstream says so."""

    @property
    def body(self) -> Readable:
        """From there on."""


class Fetch(Protocol):
    """Asks the upstream: see ports.Fetch."""

    async def __call__(self, start: int, end: int | None = None) -> Fetched:
        """Raises UpstreamFailure for what may be tried again, OciError for an answer."""


class Declared(Protocol):
    """What is known of a file under way: the blob's size, and the hash that its first `checked_bytes` had."""

    @property
    def size_bytes(self) -> int | None:
        """How long the whole blob is, if known."""

    @property
    def checked_bytes(self) -> int:
        """Up to where `checked_hash` was taken."""

    @property
    def checked_hash(self) -> str:
        """Hexadecimal; empty when none was taken."""


class Partial(Protocol):
    """The file of a blob under way: see store/partial.py. Blocks unless said. Raises StoreFailure."""

    def standing(self) -> Standing:
        """Who writes it; tries to become that."""

    def expect(self, held_bytes: int, size_bytes: int | None) -> None:
        """So much is there, and it will be so long if known: have room for what comes next. Raises NoRoom."""

    def final_exists(self) -> bool:
        """Whether the blob is kept already."""

    def length_bytes(self) -> int:
        """How far it is whole."""

    def go_ahead(self) -> bool:
        """Have ranges written beyond that; False when that cannot be."""

    def note_front(self, length_bytes: int) -> None:
        """So far it is whole."""

    def settle(self, known_bytes: int = 0) -> int:
        """Cut off what an earlier writer wrote beyond that, but for what is known to be whole; how long it is now."""

    def declared(self) -> Declared | None:
        """What is known of it; None: its bytes mean nothing."""

    def declare(self, size_bytes: int | None, checked_bytes: int = 0, checked_hash: str = "") -> None:
        """Make that known."""

    def read_cached(self, offset: int, size_bytes: int) -> bytes | None:
        """Does not block: None when it would."""

    def region(self, offset: int, size_bytes: int) -> Region | None:
        """Does not block: None when reading it would."""

    def took(self, size_bytes: int) -> None:
        """A reader is about to be given so much. Does not block; raises when the bytes had to make room."""

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Fewer bytes, or none, at the end."""

    def write(self, offset: int, pieces: Sequence[bytes]) -> None:
        """All of them, one after the other."""

    def commit(self, length_bytes: int, actual_digest: str) -> None:
        """Make it the blob, durably."""

    def discard(self) -> None:
        """Remove it; to whoever follows it was wrong."""

    def abandon(self) -> None:
        """Remove it; to whoever follows it was right so far, and cannot be kept."""

    def release(self) -> None:
        """Let others write it."""

    def close(self) -> None:
        """Give it back."""


class Partials(Protocol):
    """Where the files of blobs under way are: see store/blobs.py. Blocks. Raises StoreFailure."""

    def open_partial(self, upstream: str, digest: str) -> Partial:
        """The file of a blob, created if need be."""


class WrongContent(Exception):
    """What the upstream gives is not the blob: nothing of it may be kept or delivered."""
