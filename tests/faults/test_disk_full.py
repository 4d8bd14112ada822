"""No room left while a blob is on its way: its clients get all of it nevertheless, only that it is not kept.

Not here: room that is known to be missing before it begins (test_cache_folder.py).
"""

from pathlib import Path

import pytest

from tests.faults.conftest import Stage, open_stage
from tests.faults.kept import (
    at_once,
    check_folder,
    check_later_pulls,
    events,
    file_of,
    is_whole,
    wait_event,
    wait_written,
)
from tests.faults.test_cache_folder import fill_up, mounted
from tests.support import faults
from tests.support.content import MIB
from tests.support.http import fetch, open_stream
from tests.support.hub import Hub

SLOW = 8 * MIB  # bytes per second: half a second for a blob


def check_not_kept(stage: Stage) -> None:
    """Said in the log, and nothing of it left, so that the room is there for what else needs it."""
    wait_event(stage.gateway, "store_failed")
    assert not file_of(stage.folder, stage.big).exists()
    check_folder(stage.folder)


@pytest.mark.parametrize("at", [MIB, 3 * MIB])
def test_a_disk_that_fills_up_under_a_blob_cuts_nobody(tmp_path: Path, hub: Hub, at: int) -> None:
    hub.script(faults.throttle(SLOW), role="cdn")
    with mounted(tmp_path / "data", 16 * MIB) as folder, open_stage(tmp_path, hub, {"min_free": "0B"}) as stage:
        with open_stream(stage.big_url) as stream, open_stream(stage.big_url) as other:
            first = stream.read()
            wait_written(folder, stage.big, at)
            ballast = fill_up(folder)
            assert first + stream.read_all() == stage.big.data
            assert other.read_all() == stage.big.data
        check_not_kept(stage)
        assert list((folder / "partial").iterdir()) == []
        assert is_whole(fetch(stage.big_url), stage.big)
        ballast.unlink()
        check_later_pulls(stage)


@pytest.mark.parametrize("limits", [{"min_free": "0B"}, {"min_free": "0B", "max_size": "2MiB"}])
def test_a_blob_of_unknown_length_that_turns_out_to_have_no_room(
    tmp_path: Path, hub: Hub, limits: dict[str, str]
) -> None:
    hub.script(faults.chunked(), role="cdn", times=None)
    with mounted(tmp_path / "data", 3 * MIB), open_stage(tmp_path, hub, limits) as stage:
        for _ in range(2):
            assert is_whole(fetch(stage.big_url), stage.big)
        check_not_kept(stage)
        check_later_pulls(stage)


def test_a_disk_that_is_full_before_the_first_byte_of_a_blob_is_written(tmp_path: Path, hub: Hub) -> None:
    hub.script(faults.stall(0), role="cdn")
    with mounted(tmp_path / "data", 16 * MIB) as folder, open_stage(tmp_path, hub, {"min_free": "0B"}) as stage:
        with open_stream(stage.big_url) as stream:
            ballast = fill_up(folder)
            hub.release_stalls()
            assert stream.read_all() == stage.big.data
        check_not_kept(stage)
        ballast.unlink()
        check_later_pulls(stage)


def test_a_blob_larger_than_the_cache_through_two_workers(tmp_path: Path, hub: Hub) -> None:
    """The one finds that there is no room; the other one, which follows it, must not take that for wrong content."""
    hub.script(faults.slow_first_byte(0.5), role="cdn", times=None)
    with open_stage(tmp_path, hub, {"max_size": "2MiB"}, server={"workers": 2}, response_timeout="10s") as stage:
        answers = at_once([lambda: fetch(stage.big_url)] * 32)
        wrong = [answer for answer in answers if not is_whole(answer, stage.big)]
        assert not wrong, (
            [(a.status, a.ended, len(a.body), a.body[:200]) for a in wrong],
            [line for line in stage.gateway.log_records() if line.get("outcome") not in ("bypass", "miss")],
        )
        check_not_kept(stage)
        assert not events(stage.gateway, "fill_wrong")
        check_later_pulls(stage)
