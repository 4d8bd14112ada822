"""The companions of an image, found in indexes that others wrote: bounded, whatever they refer to."""

import asyncio
import json
from pathlib import Path

from hubferry.pull.companions import (
    MAX_ATTESTATION_BYTES,
    MAX_BLOBS,
    MAX_CONFIG_BYTES,
    MAX_OTHERS,
    MAX_SMALL_BYTES,
    Companions,
    Found,
)
from hubferry.pull.results import ListResult, Outcome
from hubferry.remote.lists import ListContent, ListQuery
from hubferry.remote.target import Target
from tests.fill.fakes import content, digest_of
from tests.pull.test_warm import NoLists, Stage, image

OWN = image(content(100), content(200))


def parent_of(*bodies: bytes, attests: bytes = b"") -> bytes:
    """An index of these manifests, of which the last is an attestation of `attests`, if that is given."""
    entries = [{"digest": digest_of(body), "size": len(body)} for body in bodies]
    if attests:
        annotations = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": digest_of(attests),
        }
        entries[-1] |= {"annotations": annotations}
    return json.dumps({"manifests": entries}).encode()


def described(*sizes_bytes: int) -> bytes:
    """An image whose config and layers have these sizes, as it says."""
    parts = [{"digest": f"sha256:{number:064x}", "size": size} for number, size in enumerate(sizes_bytes)]
    return json.dumps({"config": parts[0], "layers": parts[1:]}).encode()


def find(stage: Stage, root: bytes) -> Found:
    stage.manifests.add(root)
    companions = Companions(stage.manifests, NoLists(), stage.store, quota_left=lambda _: 1.0, referrers_bytes=2**20)
    target = Target(stage.docker_hub, "library/nginx")
    return asyncio.run(companions.find(target, digest_of(root), [digest_of(OWN)]))


def test_what_many_indexes_lead_to_is_looked_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    level = [stage.manifests.add(image(content(10 + n))) for n in range(10)]
    for depth in range(3):
        level = [
            stage.manifests.add(parent_of(*level, stage.manifests.add(image(content(100 + 10 * depth + n)))))
            for n in range(10)
        ]
    found = find(stage, parent_of(stage.manifests.add(OWN), *level))
    assert found.problem is None
    assert len(stage.manifests.asked) == len(set(stage.manifests.asked))
    assert len(found.manifests) == len(set(found.manifests)) <= MAX_OTHERS


def test_the_number_of_manifests_is_bounded_for_all_indexes_together(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    inner = [
        stage.manifests.add(
            parent_of(*(stage.manifests.add(image(content(10 + MAX_OTHERS * m + n))) for n in range(MAX_OTHERS - 50)))
        )
        for m in range(2)
    ]
    found = find(stage, parent_of(stage.manifests.add(OWN), *inner))
    assert len(found.manifests) == MAX_OTHERS
    assert any(str(MAX_OTHERS) in text for text in found.skipped)


def test_a_config_that_is_none_is_left_out(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    huge = stage.manifests.add(described(MAX_CONFIG_BYTES + 1))
    assert find(stage, parent_of(stage.manifests.add(OWN), huge)).blobs == {}


def test_the_number_of_blobs_is_bounded(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    attestation = stage.manifests.add(described(*[0] * (2 * MAX_BLOBS)))
    found = find(stage, parent_of(stage.manifests.add(OWN), attestation, attests=OWN))
    assert len(found.blobs) == MAX_BLOBS


def test_what_does_not_say_how_large_it_is_is_left_out(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    blobs = [{"digest": f"sha256:{number:064x}"} for number in range(3)]
    attestation = stage.manifests.add(json.dumps({"config": {**blobs[0], "size": 5}, "layers": blobs[1:]}).encode())
    found = find(stage, parent_of(stage.manifests.add(OWN), attestation, attests=OWN))
    assert list(found.blobs) == [blobs[0]["digest"]]
    assert found.skipped == ["2 blobs beside it: larger than is fetched, or of unknown size"]


def test_what_is_fetched_beside_an_image_is_bounded_in_all(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    attestation = stage.manifests.add(described(*[MAX_ATTESTATION_BYTES] * 20))
    found = find(stage, parent_of(stage.manifests.add(OWN), attestation, attests=OWN))
    assert sum(blob.size_bytes or 0 for blob in found.blobs.values()) == MAX_SMALL_BYTES


class LongLists(NoLists):
    """As many referrers for each subject as an upstream likes."""

    def __init__(self) -> None:
        self.asked = 0

    async def find(self, target: Target, query: ListQuery) -> ListResult:  # noqa: ARG002
        self.asked += 1
        entries = [{"digest": f"sha256:{self.asked * 10_000 + n:064x}", "size": 2**30} for n in range(5_000)]
        return ListResult(ListContent(json.dumps({"manifests": entries}).encode()), Outcome("miss"))


def test_no_more_lists_are_read_than_are_of_use(tmp_path: Path) -> None:
    stage, lists = Stage(tmp_path), LongLists()
    root = parent_of(stage.manifests.add(OWN))
    stage.manifests.add(root)
    companions = Companions(stage.manifests, lists, stage.store, quota_left=lambda _: 1.0, referrers_bytes=2**20)
    asyncio.run(companions.find(Target(stage.docker_hub, "library/nginx"), digest_of(root), [digest_of(OWN)]))
    assert lists.asked == 1
