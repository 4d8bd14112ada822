"""When something that failed is tried again."""

import pytest

from hubferry.core.backoff import decide_pause


@pytest.mark.parametrize(
    ("tries", "chance", "pause_s"),
    [
        (0, 1.0, 0.0),
        (1, 1.0, 0.25),
        (1, 0.0, 0.0),
        (2, 1.0, 0.5),
        (2, 0.5, 0.25),
        (3, 1.0, 1.0),
        (5, 1.0, 4.0),
        (6, 1.0, 8.0),
        (7, 1.0, 8.0),
        (100_000, 1.0, 8.0),
        (100_000, 0.25, 2.0),
    ],
)
def test_the_pause_doubles_up_to_its_cap(tries: int, chance: float, pause_s: float) -> None:
    assert decide_pause(tries, chance) == pause_s
