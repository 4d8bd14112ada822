"""Sizes of a fill, how hard it tries, and the error of one whose upstream gives wrong bytes."""

from dataclasses import dataclass

HELD_BACK_BYTES = 64 * 1024  # the end of a blob, which no reader gets before the digest matches
PIECE_BYTES = 2**20  # the most that a connection gives at once


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard a fill tries: its patience with an upstream, and how many connections it opens."""

    patience_s: float = 60.0  # how long it goes on without progress
    connections: int = 6  # at most, for one blob
    parallel_from_bytes: int = 16 * 2**20  # with less left, a blob has one connection


class WrongContent(Exception):
    """What the upstream gives is not the blob: none of it may be kept or delivered."""
