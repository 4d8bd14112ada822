"""How much room a file under way has."""

import pytest

from hubferry.core.reservation import FIRST_BYTES, LOOK_AHEAD_BYTES, decide_reserved

MIB = 2**20


@pytest.mark.parametrize(
    ("held_bytes", "size_bytes", "reserved_bytes"),
    [
        (0, None, FIRST_BYTES),
        (0, 500 * MIB, FIRST_BYTES),
        (0, 1000, 1000),
        (80 * 1024, 150 * MIB, 80 * 1024 + FIRST_BYTES),
        (5 * MIB, None, 10 * MIB),
        (5 * MIB, 8 * MIB, 8 * MIB),
        (400 * MIB, None, 400 * MIB + LOOK_AHEAD_BYTES),
        (400 * MIB, 500 * MIB, 400 * MIB + LOOK_AHEAD_BYTES),
        (490 * MIB, 500 * MIB, 500 * MIB),
        (500 * MIB, 500 * MIB, 500 * MIB),
        (501 * MIB, 500 * MIB, 501 * MIB),  # more than was said: counted, whatever becomes of it
    ],
)
def test_room_is_reserved_as_bytes_arrive(held_bytes: int, size_bytes: int | None, reserved_bytes: int) -> None:
    assert decide_reserved(held_bytes, size_bytes) == reserved_bytes


def test_a_file_under_way_never_has_less_than_it_holds_nor_more_than_twice_as_much_and_a_little() -> None:
    for held_bytes in range(0, 200 * MIB, 777_777):
        assert held_bytes < decide_reserved(held_bytes, None) <= 2 * held_bytes + FIRST_BYTES
