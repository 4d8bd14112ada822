"""A wire of which a test says in which pieces an answer arrives."""

from collections.abc import Iterable, Iterator
from typing import cast

from hubferry.transport.wire import Wire


class PiecedWire:
    """Gives one piece after the other, and then the end; `sent` is what was sent to it."""

    def __init__(self, pieces: Iterable[bytes], *, is_tls: bool = False, ended_cleanly: bool = False) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.sent = b""
        self.has_proper_ends = is_tls
        self.ended_cleanly = ended_cleanly
        self.at_most: list[int] = []

    async def send(self, data: bytes) -> None:
        self.sent += data

    async def receive(self, at_most_bytes: int = 0) -> bytes:
        self.at_most.append(at_most_bytes)
        return self._pieces.pop(0) if self._pieces else b""

    @property
    def unread(self) -> bytes:
        """What has not been received."""
        return b"".join(self._pieces)

    def as_wire(self) -> Wire:
        return cast("Wire", self)


def splits(data: bytes) -> Iterator[list[bytes]]:
    """All at once; in two pieces, cut at every byte; and every byte for itself."""
    yield [data]
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]
