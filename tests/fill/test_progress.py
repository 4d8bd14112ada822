"""What readers of a fill may read, from the file or from memory."""

from hubferry.fill.bounds import HELD_BACK_BYTES, PIECE_BYTES
from hubferry.fill.progress import RECENT_BYTES, FillProgress
from hubferry.ports.upstream import Cause, UpstreamFailure

PIECE = b"x" * PIECE_BYTES


def filled(count: int, size_bytes: int | None) -> FillProgress:
    progress = FillProgress()
    progress.size_bytes = size_bytes
    for number in range(count):
        progress.advance((number + 1) * PIECE_BYTES, PIECE)
    return progress


def test_the_last_pieces_are_in_memory_and_no_more_of_them() -> None:
    progress = filled(20, 100 * PIECE_BYTES)
    there = [number for number in range(20) if progress.recent_piece(number * PIECE_BYTES) is PIECE]
    assert there == list(range(20 - RECENT_BYTES // PIECE_BYTES, 20))
    assert progress.recent_piece(19 * PIECE_BYTES + 1) is None


def test_small_pieces_are_read_from_the_file() -> None:
    progress = FillProgress()
    progress.size_bytes = 10**9
    progress.advance(1000, b"y" * 1000)
    assert progress.recent_piece(0) is None


def test_a_piece_with_bytes_that_are_held_back_is_not_handed_out() -> None:
    whole = filled(3, 3 * PIECE_BYTES)
    assert whole.recent_piece(2 * PIECE_BYTES) is None
    assert whole.recent_piece(PIECE_BYTES) is PIECE
    unknown = filled(3, None)
    assert unknown.readable_end == 3 * PIECE_BYTES - HELD_BACK_BYTES
    assert unknown.recent_piece(2 * PIECE_BYTES) is None


def test_nothing_stays_in_memory_after_the_end() -> None:
    failed, verified = filled(3, 9 * PIECE_BYTES), filled(3, 3 * PIECE_BYTES)
    failed.fail(UpstreamFailure(Cause.CUT, "hub", "gone"))
    verified.verify(3 * PIECE_BYTES)
    for progress in (failed, verified):
        assert progress.recent_piece(PIECE_BYTES) is None
