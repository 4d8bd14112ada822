"""Whose body comes next: one of the address that holds least, and nobody overtakes it."""

import pytest

from hubferry.core.body_memory import BodyMemory, MemoryRequest

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
    room = BodyMemory(10)
    for request in held:
        room.take(MemoryRequest(*request))
    assert room.choose([MemoryRequest(*request) for request in waiting]) == chosen


@pytest.mark.parametrize(("size_bytes", "patience_s"), [(0, 5.0), (2**18, 6.0), (8 * 2**20, 37.0)])
def test_how_long_a_client_may_take_while_others_wait(size_bytes: int, patience_s: float) -> None:
    assert MemoryRequest(A, size_bytes).patience_s == patience_s


SHORT: dict[str, tuple[list[tuple[str, int]], list[tuple[str, int]], bool]] = {
    "nobody waits": ([(A, 9)], [], False),
    "somebody waits for his own share": ([(A, 2)], [(A, 1)], False),
    "somebody waits for what others hold": ([(A, 6), (C, 3)], [(B, 5)], True),
    "both": ([(A, 6), (C, 3)], [(A, 5), (B, 5)], True),
}


@pytest.mark.parametrize(("held", "waiting", "is_short"), SHORT.values(), ids=SHORT.keys())
def test_when_those_who_hold_room_have_to_hurry(
    held: list[tuple[str, int]], waiting: list[tuple[str, int]], *, is_short: bool
) -> None:
    room = BodyMemory(10)
    for request in held:
        room.take(MemoryRequest(*request))
    assert room.is_short([MemoryRequest(*request) for request in waiting]) == is_short


def test_what_is_given_back_is_there_again() -> None:
    room = BodyMemory(10)
    for request in (MemoryRequest(A, 4), MemoryRequest(A, 4), MemoryRequest(B, 2)):
        room.take(request)
    assert room.choose([MemoryRequest(C, 1)]) is None
    for request in (MemoryRequest(A, 4), MemoryRequest(B, 2), MemoryRequest(A, 4)):
        room.give_back(request)
    assert room.held_bytes == 0
    assert room.choose([MemoryRequest(C, 10)]) == 0
