"""What is known of the ways to upstreams, and for how long; how many connections all fills have together."""

from hubferry.fill.links import KNOWN_S, MAX_EXTRA, Known, Links


def test_what_was_learnt_is_believed_for_a_while() -> None:
    links = Links()
    assert links.known("docker.io", 0) is None
    links.learn("docker.io", "helps", 4e6, 100)
    assert links.known("docker.io", 100 + KNOWN_S - 1) == Known("helps", 4e6)
    assert links.known("ghcr.io", 101) is None
    assert links.known("docker.io", 100 + KNOWN_S) is None


def test_the_last_word_counts_but_no_ranges_remain_no_ranges() -> None:
    links = Links()
    links.learn("docker.io", "useless", 4e6, 100)
    links.learn("docker.io", "helps", 5e6, 200)
    assert links.known("docker.io", 100 + KNOWN_S) == Known("helps", 5e6)
    links.learn("docker.io", "refused", 4e6, 300)
    links.learn("docker.io", "helps", 4e6, 400)
    assert links.known("docker.io", 500) == Known("refused", 4e6)
    assert links.known("docker.io", 300 + KNOWN_S) is None


def test_the_budget_is_each_upstreams_own_and_comes_back() -> None:
    links = Links()
    assert links.take("docker.io", 5) == 5
    assert links.take("docker.io", MAX_EXTRA) == MAX_EXTRA - 5
    assert links.take("docker.io", 1) == 0
    assert not links.has_room("docker.io")
    assert links.has_room("ghcr.io")
    assert links.take("ghcr.io", 1) == 1
    links.give_back("docker.io", 2)
    assert links.extra_of("docker.io") == MAX_EXTRA - 2
    assert links.take("docker.io", 5) == 2
    links.give_back("docker.io", MAX_EXTRA)
    assert links.extra_of("docker.io") == 0
