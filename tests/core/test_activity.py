"""The record of what a worker did: rings that forget, sums, and documents that cannot be trusted."""

import json

import pytest

from hubferry.core.activity import (
    HOUR_S,
    MOST_IMAGES,
    MOST_PROBLEMS,
    SPANS,
    BusyImage,
    Figures,
    Problem,
    Record,
    Ring,
)

NOW = 1_000_000_000.0
ONE = Figures(requests=3, hits=2, misses=1, sent_bytes=100, fetched_bytes=40)


def test_figures_add_up_and_say_what_was_saved() -> None:
    both = ONE + ONE
    assert (both.requests, both.sent_bytes, both.saved_bytes) == (6, 200, 120)
    assert ONE.hit_ratio == pytest.approx(2 / 3)
    assert Figures().hit_ratio is None
    assert Figures(sent_bytes=1, fetched_bytes=5).saved_bytes == 0


@pytest.mark.parametrize(("name", "step_s", "most"), SPANS)
def test_a_ring_has_its_span_and_forgets_what_is_older(name: str, step_s: int, most: int) -> None:
    ring = Ring(step_s, most)
    for step in range(3 * most):
        ring.add(NOW + step * step_s, Figures(requests=step))
    recent = ring.recent(NOW + (3 * most - 1) * step_s)
    assert [one.requests for one in recent] == list(range(2 * most, 3 * most)), name
    assert len(ring.document()) == most


def test_intervals_without_anything_are_zero_and_a_clock_set_back_loses_nothing_but_the_future() -> None:
    ring = Ring(10, 6)
    ring.add(NOW + 1000, ONE)
    ring.add(NOW, ONE)
    assert ring.recent(NOW + 20) == [Figures(), Figures(), Figures(), ONE, Figures(), Figures()]


def test_a_record_is_read_as_it_was_written_and_added_to_another() -> None:
    record = Record(NOW)
    record.add(NOW, ONE, [BusyImage("docker.io/library/nginx", 3, 100)])
    record.note_problem(Problem(NOW, "docker.io", 503, "it cannot be reached"))
    both = Record(NOW - 5)
    for _ in range(2):
        both.read(json.loads(json.dumps(record.document())))
    assert both.total == ONE + ONE
    assert both.since == NOW - 5
    assert [ring.recent(NOW)[-1] for ring in both.rings.values()] == [ONE + ONE] * 3
    assert both.busiest(NOW, 5) == [BusyImage("docker.io/library/nginx", 6, 200)]
    assert both.problems() == [Problem(NOW, "docker.io", 503, "it cannot be reached", 2)]


FOREIGN = {
    "no object": [1],
    "another version": {"version": 99, "total": [1, 1, 1, 1, 1]},
    "nothing": {"version": 1},
    "other types": {"version": 1, "since": "x", "total": 3, "rings": [], "images": {}, "problems": "x"},
    "rows of other lengths": {"version": 1, "total": [1], "rings": {"hour": [[1]]}, "images": [[1]], "problems": [[1]]},
    "numbers that are none": {
        "version": 1,
        "total": [1, 1, 1, 1, -1],
        "rings": {"hour": [[1, 1, 1, 1, 1, 2**70]]},
        "images": [[1, 5, 1, 1]],
        "problems": [[None, "", 1, "", 1]],
    },
}


@pytest.mark.parametrize("document", FOREIGN.values(), ids=FOREIGN.keys())
def test_what_is_not_as_expected_is_left_out(document: object) -> None:
    record = Record(NOW)
    record.read(document)
    assert record.document() == Record(NOW).document() | {"images": record.document()["images"]}
    assert not record.busiest(NOW, 5)


def test_names_and_problems_are_bounded() -> None:
    record = Record(NOW)
    record.add(NOW, ONE, [BusyImage("docker.io/wanted", 1000, 1)])
    for number in range(3 * MOST_IMAGES):
        record.add(NOW, Figures(), [BusyImage(f"docker.io/{number}", 1, 1)])
        record.note_problem(Problem(NOW + number, "docker.io", 503, str(number)))
    assert len(record.document()["images"]) <= MOST_IMAGES
    assert record.busiest(NOW, 1)[0].name == "docker.io/wanted"
    assert record.problems()[0].text == str(3 * MOST_IMAGES - 1)
    assert len(record.problems()) == MOST_PROBLEMS


def test_images_of_yesterday_are_no_longer_the_busiest() -> None:
    record = Record(NOW)
    record.add(NOW, ONE, [BusyImage("docker.io/old", 9, 1)])
    record.add(NOW + 25 * HOUR_S, ONE, [BusyImage("docker.io/new", 1, 1)])
    assert [one.name for one in record.busiest(NOW + 25 * HOUR_S, 5)] == ["docker.io/new"]
