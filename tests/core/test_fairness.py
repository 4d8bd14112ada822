"""Who gets what there is not enough of."""

import pytest

from hubferry.core.client import address_group
from hubferry.core.fairness import decide_next, may_begin


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_an_address_belongs_to_a_client(address: str, client: str) -> None:
    assert address_group(address) == client


@pytest.mark.parametrize(
    ("own", "running", "may"),
    [
        (0, 0, True),
        (5, 5, True),
        (19, 19, True),
        (20, 20, False),  # two thirds of 30
        (0, 20, True),
        (10, 23, True),
        (14, 23, False),
        (0, 29, True),  # whoever has nothing gets the last one
        (1, 28, True),
        (4, 28, False),
        (0, 30, False),
    ],
)
def test_one_client_never_has_everything(own: int, running: int, may: bool) -> None:
    assert may_begin(own, running, 30) == may


@pytest.mark.parametrize(
    ("running", "waiting", "client"),
    [
        ({}, "", None),
        ({}, "a", "a"),
        ({"a": 20}, "a", None),
        ({"a": 20}, "ab", "b"),
        ({"a": 10, "b": 5}, "ab", "b"),
        ({"a": 5, "b": 5}, "ba", "b"),
        ({"a": 5, "b": 5}, "ab", "a"),
        ({"a": 20, "b": 10}, "c", None),  # all are taken
    ],
)
def test_who_has_least_goes_first(running: dict[str, int], waiting: str, client: str | None) -> None:
    assert decide_next(running, waiting, 30) == client
