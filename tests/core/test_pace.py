"""Large pieces for clients that take them quickly, small ones for everybody else."""

from hubferry.core.pace import LARGE_BYTES, PROVEN_BYTES, QUICK_S, REGION_BYTES, SMALL_BYTES, LargePieces, Pace


def test_a_body_begins_small_and_becomes_large_when_its_client_is_quick() -> None:
    pace = Pace()
    sizes = [pace.next_bytes(number * QUICK_S / 2) for number in range(PROVEN_BYTES // SMALL_BYTES + 2)]
    assert sizes[:-2] == [SMALL_BYTES] * (len(sizes) - 2)
    assert sizes[-2:] == [LARGE_BYTES] * 2


def test_a_client_that_slows_down_gets_small_pieces_until_it_has_proven_itself_again() -> None:
    pace = Pace()
    for number in range(1000):
        size = pace.next_bytes(number * QUICK_S / 2)
    assert size == LARGE_BYTES
    late = 1000 * QUICK_S
    assert pace.next_bytes(late) == SMALL_BYTES
    assert pace.next_bytes(late + QUICK_S / 2) == SMALL_BYTES


def test_a_slow_client_never_gets_a_large_piece() -> None:
    pace = Pace()
    assert {pace.next_bytes(number * QUICK_S * 2) for number in range(1000)} == {SMALL_BYTES}


def test_a_slow_client_gets_little_of_a_file_at_a_time() -> None:
    pace = Pace()
    assert [pace.next_region_bytes(now) for now in (0.0, 0.01, 1.0, 2.0, 2.01)] == [SMALL_BYTES] * 5


def test_a_client_that_has_taken_much_quickly_gets_much_of_a_file_at_a_time() -> None:
    pace = Pace()
    now_s, sent_bytes = 0.0, 0
    while sent_bytes < PROVEN_BYTES:
        size_bytes = pace.next_region_bytes(now_s)
        assert size_bytes == SMALL_BYTES
        pace.sent_region(size_bytes)
        now_s, sent_bytes = now_s + QUICK_S / 2, sent_bytes + size_bytes
    assert pace.next_region_bytes(now_s) == REGION_BYTES
    assert pace.next_region_bytes(now_s + 2 * QUICK_S) == SMALL_BYTES


def test_only_a_client_that_has_taken_much_and_still_takes_it_quickly_is_handed_large_pieces() -> None:
    pace = Pace()
    assert not pace.takes_large(0.0)
    pace.next_region_bytes(0.0)
    pace.sent_region(PROVEN_BYTES)
    assert pace.takes_large(QUICK_S / 2)
    assert not pace.takes_large(QUICK_S * 2)
    pace.next_region_bytes(QUICK_S * 2)  # slow, so that it has to prove itself again
    assert not pace.takes_large(QUICK_S * 2.5)


def test_so_many_clients_hold_a_large_piece_and_no_more() -> None:
    large = LargePieces(1)
    first, second = Pace(large), Pace(large)
    for number in range(PROVEN_BYTES // SMALL_BYTES):
        assert first.next_bytes(number * QUICK_S / 2) == second.next_bytes(number * QUICK_S / 2) == SMALL_BYTES
    now_s = PROVEN_BYTES // SMALL_BYTES * QUICK_S / 2
    assert [first.next_bytes(now_s), second.next_bytes(now_s)] == [LARGE_BYTES, SMALL_BYTES]
    assert [first.next_bytes(now_s), second.next_bytes(now_s)] == [LARGE_BYTES, SMALL_BYTES], "its own place"
    first.close()
    first.close()
    assert second.next_bytes(now_s) == LARGE_BYTES
    assert Pace(large).next_bytes(now_s) == SMALL_BYTES
    assert [second.takes_large(now_s), first.takes_large(now_s)] == [True, False]
    assert second.next_region_bytes(now_s) == REGION_BYTES
    assert first.takes_large(now_s), "a part of a file holds no memory"
    second.close()
    assert large.take()
    assert not large.take()
