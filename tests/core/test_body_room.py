"""Whose body comes next: one of the address that holds least, and nobody overtakes it."""

import pytest

from hubferry.core.body_room import BodyRoom, Wish

A, B, C = "a", "b", "c"
CASES: dict[str, tuple[list[tuple[str, int]], list[tuple[str, int]], int | None]] = {
    "nobody waits": ([], [], None),
    "the first comes first": ([], [(A, 5), (B, 5)], 0),
    "one is allowed, however large": ([], [(A, 50)], 0),
    "what fits exactly": ([(A, 6)], [(B, 4)], 0),
    "what does not fit": ([(A, 6)], [(B, 5)], None),
    "whose address holds nothing": ([(A, 4)], [(A, 2), (B, 2)], 1),
    "whose address holds least": ([(A, 2), (B, 1), (C, 2)], [(A, 0), (C, 0), (B, 1)], 2),
    "nobody overtakes whose turn it is": ([(A, 6)], [(A, 1), (B, 5)], None),
    "one address has a share": ([(A, 2)], [(A, 1)], None),
    "and others have theirs": ([(A, 2)], [(A, 1), (B, 7)], 1),
    "a stranger with many waits for himself": ([(A, 3)], [(A, 3)] * 100 + [(B, 3)], 100),
}


@pytest.mark.parametrize(("held", "waiting", "chosen"), CASES.values(), ids=CASES.keys())
def test_who_is_next(held: list[tuple[str, int]], waiting: list[tuple[str, int]], chosen: int | None) -> None:
    room = BodyRoom(10)
    for wish in held:
        room.take(Wish(*wish))
    assert room.choose([Wish(*wish) for wish in waiting]) == chosen


def test_what_is_given_back_is_there_again() -> None:
    room = BodyRoom(10)
    for wish in (Wish(A, 4), Wish(A, 4), Wish(B, 2)):
        room.take(wish)
    assert room.choose([Wish(C, 1)]) is None
    for wish in (Wish(A, 4), Wish(B, 2), Wish(A, 4)):
        room.give_back(wish)
    assert room.held_bytes == 0
    assert room.choose([Wish(C, 10)]) == 0
