"""What is remembered of what happened lately: no more things, and no more bytes, than it was told."""

from hubferry.core.bounded import BoundedMap


def test_what_was_put_longest_ago_goes_first() -> None:
    lately: BoundedMap[int] = BoundedMap(2)
    lately.put("a", 1)
    lately.put("b", 2)
    lately.put("a", 3)
    lately.put("c", 4)
    assert [lately.get(key) for key in "abc"] == [3, None, 4]


def test_bytes_are_counted_and_given_back() -> None:
    lately: BoundedMap[int] = BoundedMap(most_bytes=100)
    for number in range(1000):
        lately.put("same", number, 90)
    lately.put("small", 1, 10)
    assert lately.get("same") == 999
    lately.put("more", 2, 20)
    assert [lately.get(key) for key in ("same", "small", "more")] == [None, 1, 2]
    lately.drop("more")
    lately.put("last", 3, 90)
    assert [lately.get(key) for key in ("small", "last")] == [1, 3]


def test_what_is_too_large_is_not_remembered() -> None:
    lately: BoundedMap[int] = BoundedMap(most_bytes=100)
    lately.put("large", 1, 101)
    assert lately.get("large") is None
    lately.put("small", 2, 100)
    assert lately.get("small") == 2
