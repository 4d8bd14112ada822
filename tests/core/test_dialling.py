"""Which addresses are dialled first: the one that served last, both families, the failed ones at the end."""

import pytest

from hubferry.core.dialling import MAX_REMEMBERED, REMEMBERED_S, AddressHistory

HOST = "registry.test"
ORDERS: dict[str, tuple[list[str], list[str]]] = {
    "none": ([], []),
    "one": (["a.1"], ["a.1"]),
    "no more than three": (["1", "2", "3", "4"], ["1", "2", "3"]),
    "families in turn, the resolver's first one first": (["::1", "::2", "::3", "4"], ["::1", "4", "::2"]),
    "the same the other way round": (["1", "2", "3", "::4"], ["1", "::4", "2"]),
    "already in turn": (["::1", "2"], ["::1", "2"]),
}


@pytest.mark.parametrize(("addresses", "order"), ORDERS.values(), ids=ORDERS.keys())
def test_nothing_is_known_of_them(addresses: list[str], order: list[str]) -> None:
    assert AddressHistory().order(HOST, addresses, 0.0) == order


def test_the_address_that_served_last_is_first_for_a_while() -> None:
    standing = AddressHistory()
    standing.served(HOST, "4", 100.0)
    assert standing.order(HOST, ["1", "2", "3", "4"], 100.0) == ["4", "1", "2"]
    assert standing.order("other.test", ["1", "2", "3", "4"], 100.0) == ["1", "2", "3"]
    assert standing.order(HOST, ["1", "2", "3", "4"], 100.0 + REMEMBERED_S) == ["1", "2", "3"]


def test_an_address_that_failed_is_the_last_resort_for_a_while() -> None:
    standing = AddressHistory()
    standing.served(HOST, "1", 0.0)
    standing.failed(HOST, "1", 1.0)
    assert standing.order(HOST, ["1", "2"], 1.0) == ["2", "1"]
    assert standing.order(HOST, ["1"], 1.0) == ["1"], "it is dialled when there is no other"
    standing.served(HOST, "1", 2.0)
    assert standing.order(HOST, ["1", "2"], 2.0) == ["1", "2"]


def test_what_is_remembered_is_bounded_and_the_oldest_goes() -> None:
    standing = AddressHistory()
    standing.served(HOST, "2", 0.0)
    for number in range(MAX_REMEMBERED - 1):
        standing.served(f"{number}.test", "1", 0.0)
    assert standing.order(HOST, ["1", "2"], 0.0) == ["2", "1"]
    standing.served("one-more.test", "1", 0.0)
    assert standing.order(HOST, ["1", "2"], 0.0) == ["1", "2"]
