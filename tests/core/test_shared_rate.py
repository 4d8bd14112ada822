"""A shared rate: how long one has to wait, and who is next."""

from hypothesis import given
from hypothesis import strategies as st

from hubferry.core.shared_rate import BURST_S, MIN_REMEMBERED, Bucket, FairTurns


def test_what_was_saved_up_may_be_had_at_once_and_then_it_is_waited_for() -> None:
    bucket = Bucket()
    assert bucket.wait_s(1000, 0.0) == 0
    bucket.pay(int(1000 * BURST_S), 1000, 0.0)
    assert bucket.wait_s(1000, 0.0) == 0
    bucket.pay(500, 1000, 0.0)
    assert bucket.wait_s(1000, 0.0) == 0.5
    assert bucket.wait_s(1000, 0.25) == 0.25
    assert bucket.wait_s(1000, 100.0) == 0
    bucket.pay(int(1000 * BURST_S) + 1000, 1000, 100.0)
    assert bucket.wait_s(1000, 100.0) == 1, "more is not saved up"


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket()
    bucket.pay(1100, 1000, 10.0)
    assert bucket.wait_s(1000, 5.0) == 1


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 2)), max_size=50), st.integers(100, 100_000))
def test_who_always_waits_never_has_more_than_the_rate(pays: list[tuple[int, float]], rate: int) -> None:
    bucket, now_s, had = Bucket(), 0.0, 0
    for size_bytes, pause_s in pays:
        now_s += pause_s + bucket.wait_s(rate, now_s + pause_s)
        had += size_bytes
        bucket.pay(size_bytes, rate, now_s)
    now_s += bucket.wait_s(rate, now_s)
    assert had <= rate * (now_s + BURST_S) * 1.000001 + 1


def serve(turns: FairTurns, waiting: dict[str, list[float]]) -> str:
    """Serve the lowest of all turns; returns whose it was."""
    client = min((one for one in waiting if waiting[one]), key=lambda one: waiting[one][0])
    turns.serve(waiting[client].pop(0))
    return client


def test_clients_have_the_same_however_large_their_parts_are() -> None:
    turns, had = FairTurns(), {"a": 0, "b": 0}
    sizes = {"a": 4, "b": 1}
    waiting = {client: [turns.take(client, sizes[client])] for client in had}
    for _ in range(1000):
        client = serve(turns, waiting)
        had[client] += sizes[client]
        waiting[client].append(turns.take(client, sizes[client]))
    assert abs(had["a"] - had["b"]) <= 4


def test_a_client_with_many_turns_gets_no_more() -> None:
    turns = FairTurns()
    waiting = {"many": [turns.take("many", 1) for _ in range(100)], "one": [turns.take("one", 1)]}
    order = []
    for _ in range(40):
        order.append(serve(turns, waiting))
        if not waiting["one"]:
            waiting["one"].append(turns.take("one", 1))
    assert 19 <= order.count("one") <= 21


def test_who_was_idle_has_saved_up_nothing() -> None:
    turns = FairTurns()
    waiting = {"a": [turns.take("a", 1)], "b": []}
    for _ in range(1000):
        serve(turns, waiting)
        waiting["a"].append(turns.take("a", 1))
    waiting["b"].append(turns.take("b", 1))
    order = []
    for _ in range(10):
        client = serve(turns, waiting)
        order.append(client)
        waiting[client].append(turns.take(client, 1))
    assert order.count("a") == 5


def test_strangers_who_keep_coming_do_not_keep_anybody_waiting() -> None:
    turns = FairTurns()
    turns.serve(turns.take("always", 100))
    waiting = {"always": [turns.take("always", 100)]}
    for number in range(10_000):
        waiting[f"stranger {number}"] = [turns.take(f"stranger {number}", 60)]
        if serve(turns, waiting) == "always":
            break
    assert number < 5


def test_what_is_remembered_does_not_grow() -> None:
    turns = FairTurns()
    for number in range(10_000):
        turns.serve(turns.take(f"c{number}", 1))
    assert len(turns) <= MIN_REMEMBERED + 1
