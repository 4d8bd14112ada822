"""What a stranger may cost the cache folder: what is read for them, what is removed for them, what they can pin.

The numbers are rows of the table of bounds in docs/security.md. Not here: how many fills there are (test_fills.py).
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.conftest import REPOSITORY, Stage, open_stage
from tests.faults.kept import at_once, file_of, is_whole, wait_kept
from tests.support.content import MIB, Blob
from tests.support.http import fetch
from tests.support.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def stage_of(tmp_path: Path, cache: dict[str, Any], **more: Any) -> Iterator[Stage]:
    """A gateway with these settings of [cache], and further ones of its upstream."""
    with Hub() as hub, open_stage(tmp_path, hub, {"prefetch": False, **cache}, **more) as stage:
        yield stage


def add(stage: Stage, size: int, seed: int) -> Blob:
    blob = Blob.generated(size, seed)
    stage.hub.add_blob(REPOSITORY, blob)
    return blob


def keep(stage: Stage, blob: Blob) -> Blob:
    """Have a blob kept, by an honest pull."""
    assert is_whole(fetch(stage.blob_url(blob)), blob)
    wait_kept(stage.folder, blob)
    return blob


def peak_bytes(stage: Stage) -> int:
    """The most memory that the gateway ever had."""
    status = Path(f"/proc/{stage.gateway.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_01_a_manifest_by_the_digest_of_a_layer_reads_nothing_of_it(tmp_path: Path) -> None:
    with stage_of(tmp_path, {}) as stage:
        layer = keep(stage, add(stage, 200 * MIB, seed=1))
        before = peak_bytes(stage)
        for repository in ("any", "app"):  # one that does not hold it, and the one that does
            url = f"{stage.gateway.url}/v2/{repository}/manifests/{layer.digest}"
            answers = at_once([partial(fetch, url)] * 6)
            assert {answer.status for answer in answers} <= {401, 404}, answers
        grown = peak_bytes(stage) - before
        assert grown < 30 * MIB, f"6 requests for a layer of 200 MiB cost {grown / MIB:.0f} MiB"
        assert file_of(stage.folder, layer).exists()
