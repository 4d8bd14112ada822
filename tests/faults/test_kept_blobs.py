"""An upstream that breaks off, stalls or lies while its blob is being kept.

Whatever it does: complete and right or visibly cut, the next pull right, nothing wrong under blobs/ (kept.py).
Not here: clients (test_blob_readers.py), disks (test_cache_folder.py), kills (test_killed.py).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.faults.kept import (
    check_folder,
    check_later_pulls,
    file_of,
    is_whole,
    ranges_asked,
    under_way,
    wait_event,
    wait_kept,
    with_a_blob_of_its_own,
)
from tests.support import faults
from tests.support.content import MIB, Blob
from tests.support.exchange import Ending, Received, Reply
from tests.support.http import fetch
from tests.support.hub import Hub
from tests.support.hub_cdn import send_blob

CUT = 64 * 1024
TOTAL = 4 * MIB


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        Hub() as hub,
        open_stage(tmp_path_factory.mktemp("kept"), hub, {"patience": "3s"}, read_timeout="500ms") as stage,
    ):
        yield stage


@pytest.fixture
def stage(shared: Stage) -> Iterator[Stage]:
    yield from with_a_blob_of_its_own(shared)


def check_kept_at_once(stage: Stage, blob: Blob) -> None:
    """It needed no second pull: the file is there, and nothing of it is fetched for the next client."""
    wait_kept(stage.folder, blob)
    fetched = stage.hub.count("cdn", "GET")
    assert is_whole(fetch(stage.blob_url(blob)), blob)
    assert stage.hub.count("cdn", "GET") == fetched
    check_folder(stage.folder)


@pytest.mark.parametrize("ending", ["fin", "rst"])
def test_an_upstream_that_dies_after_every_64_kib_is_asked_for_the_rest(stage: Stage, ending: Ending) -> None:
    stage.hub.script(faults.cut(CUT, ending), role="cdn", times=None)
    assert is_whole(fetch(stage.big_url), stage.big)
    asked = ranges_asked(stage.hub, stage.big)
    if ending == "fin":  # a reset may take bytes with it that had arrived
        assert asked == ["", *(f"bytes={at}-" for at in range(CUT, TOTAL, CUT))]
    check_kept_at_once(stage, stage.big)
    check_later_pulls(stage)


def test_a_cut_at_any_64_kib_is_continued_from_there(stage: Stage) -> None:
    blobs = {at: Blob.generated(TOTAL, seed=at) for at in range(0, TOTAL, CUT)}
    for at, blob in blobs.items():
        stage.hub.add_blob(REPOSITORY, blob)
        stage.hub.script(faults.cut(at), role="cdn", path=blob.digest.removeprefix("sha256:"))
    for at, blob in blobs.items():
        assert is_whole(fetch(stage.blob_url(blob)), blob), at
        assert ranges_asked(stage.hub, blob) == ["", f"bytes={at}-" if at else ""]
    check_kept_at_once(stage, blobs[CUT])
    check_later_pulls(stage, *blobs.values())


@pytest.mark.parametrize("at", [0, TOTAL // 2, TOTAL - 1])
def test_a_flipped_byte_is_never_delivered_as_a_whole_nor_kept(stage: Stage, at: int) -> None:
    stage.hub.script(faults.flip_byte(at), role="cdn", times=None)
    for _ in range(2):
        assert not is_whole(fetch(stage.big_url), stage.big)
    event = wait_event(stage.gateway, "fill_wrong", upstream="docker.io", digest=stage.big.digest)
    wrong = bytearray(stage.big.data)
    wrong[at] ^= 0xFF
    assert Blob(bytes(wrong)).digest in event["problem"]
    assert not file_of(stage.folder, stage.big).exists()
    assert under_way(stage.folder, stage.big) == []
    check_later_pulls(stage)
    check_kept_at_once(stage, stage.big)


def test_a_small_blob_with_a_flipped_byte_is_an_error_before_the_first_byte(stage: Stage) -> None:
    small = Blob.generated(CUT, seed=3)
    stage.hub.add_blob(REPOSITORY, small)
    stage.hub.script(faults.flip_byte(0), role="cdn", times=None)
    answer = fetch(stage.blob_url(small))
    assert answer.status == 502
    assert small.digest in answer.json()["errors"][0]["message"]
    check_later_pulls(stage, small)


def wrong_length(length: int) -> faults.Action:
    """Only where all of a blob is answered: a 206 or a 416 is as it should be."""

    def declare(_request: Received, normal: Callable[[], Reply]) -> Reply:
        reply = normal()
        return replace(reply, declared_length=length, close=True) if reply.status == 200 else reply

    return declare


@pytest.mark.parametrize("length", [1, MIB, TOTAL - 1, TOTAL + 1, 5 * MIB])
def test_a_wrong_content_length_is_never_a_whole_blob(stage: Stage, length: int) -> None:
    stage.hub.script(wrong_length(length), role="cdn", times=None)
    assert not is_whole(fetch(stage.big_url), stage.big)
    # more than there is: that may be one bad answer, so that the rest is asked for until patience ends
    wait_event(stage.gateway, "fill_wrong" if length < TOTAL else "fill_failed", digest=stage.big.digest)
    assert not file_of(stage.folder, stage.big).exists()
    check_later_pulls(stage)


@pytest.mark.parametrize("action", [faults.chunked(), faults.declare_length("none")])
def test_a_blob_without_a_length_is_kept(stage: Stage, action: faults.Action) -> None:
    stage.hub.script(action, role="cdn")
    assert is_whole(fetch(stage.big_url), stage.big)
    check_kept_at_once(stage, stage.big)


def test_a_chunked_body_that_is_cut_is_continued(stage: Stage) -> None:
    stage.hub.script(faults.chunked(), faults.cut(MIB), role="cdn")
    assert is_whole(fetch(stage.big_url), stage.big)
    assert ranges_asked(stage.hub, stage.big) == ["", f"bytes={MIB}-"]
    check_kept_at_once(stage, stage.big)


@pytest.mark.parametrize("at", [1, MIB, TOTAL - 1])
def test_a_body_that_ends_with_its_connection_and_too_early_is_not_taken_for_whole(stage: Stage, at: int) -> None:
    stage.hub.script(faults.declare_length("none"), faults.cut(at), role="cdn", times=None)
    assert not is_whole(fetch(stage.big_url), stage.big)
    check_later_pulls(stage)


def test_an_upstream_without_ranges_is_read_again_from_the_start(stage: Stage) -> None:
    stage.hub.script(faults.cut(3 * MIB), role="cdn")
    stage.hub.script(faults.no_ranges(), role="cdn")
    assert is_whole(fetch(stage.big_url), stage.big)
    assert ranges_asked(stage.hub, stage.big) == ["", f"bytes={3 * MIB}-"]
    check_kept_at_once(stage, stage.big)


def test_a_range_from_an_upstream_without_ranges(stage: Stage) -> None:
    stage.hub.script(faults.no_ranges(), role="cdn", times=None)
    answer = fetch(stage.big_url, headers=[("Range", f"bytes={MIB}-{MIB + 99}")])
    assert (answer.status, answer.ended) == (206, "complete")
    assert answer.body == stage.big.data[MIB : MIB + 100]
    check_later_pulls(stage)


OTHERS = [Blob.generated(TOTAL + CUT, seed=8), Blob.generated(TOTAL - CUT, seed=8)]


@pytest.mark.parametrize("other", OTHERS)
def test_one_answer_with_another_total_on_resumption_is_not_used(stage: Stage, other: Blob) -> None:
    stage.hub.script(faults.cut(MIB), role="cdn")
    stage.hub.script(lambda request, _normal: send_blob(request, other), role="cdn")
    assert is_whole(fetch(stage.big_url), stage.big)
    assert ranges_asked(stage.hub, stage.big) == ["", *[f"bytes={MIB}-"] * 2]
    check_kept_at_once(stage, stage.big)


def test_one_416_on_resumption_is_not_believed(stage: Stage) -> None:
    stage.hub.script(faults.cut(MIB), role="cdn")
    stage.hub.script(faults.answer(416), role="cdn")
    assert is_whole(fetch(stage.big_url), stage.big)
    check_kept_at_once(stage, stage.big)


@pytest.mark.parametrize("other", OTHERS)
def test_another_total_again_and_again_cuts_and_the_next_pull_goes_on_from_there(stage: Stage, other: Blob) -> None:
    stage.hub.script(faults.cut(MIB), role="cdn")
    stage.hub.script(lambda request, _normal: send_blob(request, other), role="cdn", times=None)
    assert not is_whole(fetch(stage.big_url), stage.big)
    wait_event(stage.gateway, "fill_failed", digest=stage.big.digest)
    check_later_pulls(stage)
    assert ranges_asked(stage.hub, stage.big) == [f"bytes={MIB}-"]


def test_other_bytes_of_the_same_total_on_resumption_are_found_out(stage: Stage) -> None:
    other = Blob.generated(TOTAL, seed=8)
    stage.hub.script(faults.cut(MIB), role="cdn")
    stage.hub.script(lambda request, _normal: send_blob(request, other), role="cdn", times=None)
    assert not is_whole(fetch(stage.big_url), stage.big)
    wait_event(stage.gateway, "fill_wrong", digest=stage.big.digest)
    check_later_pulls(stage)


def test_an_expired_signature_on_resumption_is_renewed(stage: Stage) -> None:
    stage.hub.script(faults.cut(MIB), role="cdn")
    stage.hub.script(faults.answer(403), role="cdn")
    assert is_whole(fetch(stage.big_url), stage.big)
    assert ranges_asked(stage.hub, stage.big) == ["", *[f"bytes={MIB}-"] * 2]
    check_kept_at_once(stage, stage.big)


def test_a_refusal_on_resumption_cuts_and_the_next_pull_goes_on_from_there(stage: Stage) -> None:
    stage.hub.script(faults.cut(MIB), role="cdn")
    # the URL that gave the beginning, and two that are signed anew
    stage.hub.script(faults.answer(403), role="cdn", times=3)
    assert not is_whole(fetch(stage.big_url), stage.big)
    wait_event(stage.gateway, "fill_failed", digest=stage.big.digest)
    check_later_pulls(stage)
    assert ranges_asked(stage.hub, stage.big) == [f"bytes={MIB}-"]


def test_a_body_that_stalls_is_asked_for_anew_from_there(stage: Stage) -> None:
    stage.hub.script(faults.stall(MIB), role="cdn")
    assert is_whole(fetch(stage.big_url), stage.big)
    assert ranges_asked(stage.hub, stage.big) == ["", f"bytes={MIB}-"]
    check_kept_at_once(stage, stage.big)


def test_an_upstream_that_stalls_for_good_cuts_and_the_next_pull_goes_on_from_there(stage: Stage) -> None:
    stage.hub.script(faults.stall(MIB), role="cdn")
    stage.hub.script(faults.stall(0), role="cdn", times=None)
    assert not is_whole(fetch(stage.big_url, timeout_s=60), stage.big)
    check_later_pulls(stage)
    assert ranges_asked(stage.hub, stage.big) == [f"bytes={MIB}-"]
