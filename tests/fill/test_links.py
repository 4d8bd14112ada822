"""What is known of the ways to upstreams, and for how long; how many connections all fills have together."""

from hubferry.fill.parallel.links import KNOWN_S, MAX_EXTRA, Known, Links, Share


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


def taken_of(share: Share) -> int:
    """Take as many as one is given; how many it has."""
    while share.take():
        pass
    return share.taken


def test_further_connections_are_bounded_for_each_upstream() -> None:
    links = Links()
    one = links.join("docker.io", "a")
    assert taken_of(one) == MAX_EXTRA
    assert not links.has_room("docker.io", "a")
    assert links.has_room("ghcr.io", "a")
    other = links.join("ghcr.io", "a")
    assert other.take()
    one.give_back(2)
    assert links.extra_of("docker.io") == MAX_EXTRA - 2
    one.give_back(one.taken)
    one.leave()
    assert links.extra_of("docker.io") == 0
    other.leave()


def settle(shares: list[Share], wanted: int) -> None:
    """What crews do in each of their ticks."""
    for _ in range(100):
        for share in shares:
            if share.must_yield():
                share.give_back(1)
            share.is_refused = False
            while share.taken < wanted and share.take():
                pass


def test_whoever_has_all_of_them_gives_the_others_as_many() -> None:
    links = Links()
    many = [links.join("docker.io", "a") for _ in range(8)]
    settle(many, 5)
    assert links.extra_of("docker.io", "a") == MAX_EXTRA
    assert links.has_room("docker.io", "b")
    victim = links.join("docker.io", "b")
    assert not victim.take()
    settle([*many, victim], 5)
    assert victim.taken == 5
    assert links.extra_of("docker.io", "a") == MAX_EXTRA - 5
    second = links.join("docker.io", "c")
    third = links.join("docker.io", "d")
    settle([*many, victim, second, third], 16)
    assert {links.extra_of("docker.io", client) for client in "abcd"} <= {5, 6, 7}
    assert links.extra_of("docker.io") == MAX_EXTRA
    for share in (victim, second, third):
        share.give_back(share.taken)
        share.leave()
    settle(many, 5)
    assert links.extra_of("docker.io", "a") == MAX_EXTRA


def test_each_blob_of_a_client_has_one_before_another_has_several() -> None:
    links = Links()
    shares = [links.join("docker.io", "a") for _ in range(5)]
    settle(shares, 5)
    late = [links.join("docker.io", "a") for _ in range(3)]
    settle([*shares, *late], 5)
    assert min(share.taken for share in (*shares, *late)) >= 1
    assert links.extra_of("docker.io") == MAX_EXTRA
