"""Rehearsals over scripted sources: what is asked for whom, what a failure is called, and until when the rest works."""

import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from hubferry.core.errors import Code
from hubferry.core.image import ImageName
from hubferry.core.manifest import OCI_IMAGE
from hubferry.core.platforms import Platform
from hubferry.ports.index import ListEntry, ManifestInfo, TagEntry
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.rehearse import DOCKER_29, EVERYBODY, WALKERS, Missing, Rehearsal, Rehearsed
from hubferry.pull.results import Asks
from hubferry.pull.services import DiskCache
from hubferry.remote.lists import ListContent, referrers_query
from hubferry.remote.target import Target
from hubferry.store.blobs import FileBlobs
from hubferry.store.content import FileStore
from tests.pull.fakes import EVERYBODY as TARGET
from tests.pull.fakes import NGINX, KeptIndex, digest_of, refusal
from tests.pull.test_inspect import AMD64, ARM64, Sources, config, entry, image, index
from tests.support.scenes import run_scene

STALE_S = 1000.0
AWAY = refusal(503, Code.UNAVAILABLE, "docker.io cannot be reached")
LAYER, OTHER = b"a layer", b"another layer"


class Stage:
    """An image of two platforms with an attestation of the first and a signature of the index, all of it kept."""

    def __init__(self, folder: Path) -> None:
        self.sources, self.index = Sources(), KeptIndex()
        self.store, self.blobs = FileStore(folder), FileBlobs(folder)
        cache = DiskCache(self.index, self.store, self.blobs, cast("Any", None))
        asks = Asks(self.sources, self.sources, self.sources)
        self.rehearsal = Rehearsal(self.target_of, asks, cache, stale_if_error_s=STALE_S)
        self.amd64 = self.sources.add(image(config("a"), digest_of(LAYER)))
        self.arm64 = self.sources.add(image(config("b"), digest_of(OTHER)))
        self.attestation = self.sources.add(image(b"{}", digest_of(b"said")))
        about = {"vnd.docker.reference.type": "x", "vnd.docker.reference.digest": digest_of(self.amd64)}
        attested = entry(self.attestation, Platform("unknown", "unknown"), annotations=about)
        self.root = self.sources.add(index(entry(self.amd64, AMD64), entry(self.arm64, ARM64), attested), "1")
        self.signature = self.sources.add(image(b"signed", digest_of(b"signature")))
        self.lists(self.root, index(entry(self.signature)))

    def lists(self, subject: bytes, body: bytes) -> None:
        self.sources.lists[referrers_query(digest_of(subject)).name] = ListContent(body)

    async def target_of(self, upstream: str, repository: str) -> Target:
        assert (upstream, repository) == ("docker.io", "library/nginx")
        return TARGET

    async def keep_all(self) -> None:
        for blob in (config("a"), config("b"), b"{}", LAYER, b"said", b"signed", b"signature"):
            self.sources.add_config(blob)
            await self.store.write(digest_of(blob), blob)

    async def rehearse(
        self,
        *platforms: Platform,
        reference: str = "1",
        must_be_kept: bool = True,
    ) -> Rehearsed:
        name = ImageName("docker.io", "library/nginx", reference)
        return await self.rehearsal.rehearse(name, platforms or (AMD64,), must_be_kept=must_be_kept)


def play(scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_what_is_whole_works_and_no_layer_of_another_platform_is_asked_for(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keep_all()
        found = await stage.rehearse()
        assert found.missing == []
        assert (found.works, found.digest, found.until) == (True, digest_of(stage.root), None)
        assert f"blob {digest_of(OTHER)}" not in stage.sources.asked
        assert stage.sources.asked[:3] == ["HEAD 1", "1", digest_of(stage.amd64)]
        await stage.blobs.close()

    play(scene())


def test_each_part_is_missed_by_those_who_ask_for_it(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keep_all()
        parts: list[tuple[bytes, str, str]] = [
            (stage.amd64, "the manifest of the platform", EVERYBODY),
            (stage.arm64, "another platform", WALKERS),
            (stage.attestation, "an attestation", DOCKER_29),
            (stage.signature, "what refers to it", DOCKER_29),
            (config("a"), "a config", EVERYBODY),
            (config("b"), "a config", WALKERS),
            (LAYER, "a layer", EVERYBODY),
            (b"said", "a layer", DOCKER_29),
        ]
        for part, what, clients in parts:
            digest = digest_of(part)
            held = stage.sources.manifests if digest in stage.sources.manifests else stage.sources.blobs
            before, held[digest] = held[digest], AWAY
            missing = (await stage.rehearse()).missing
            held[digest] = before
            assert (digest, what, clients) in [(one.digest, one.what, one.clients) for one in missing]
        assert (await stage.rehearse()).works
        await stage.blobs.close()

    play(scene())


def test_a_blob_that_is_only_on_its_way_counts_as_long_as_the_upstream_is_there(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keep_all()
        stage.blobs.path(digest_of(LAYER)).unlink()
        assert [one.digest for one in (await stage.rehearse()).missing] == [digest_of(LAYER)]
        assert (await stage.rehearse(must_be_kept=False)).works
        await stage.blobs.close()

    play(scene())


@pytest.mark.parametrize(
    ("is_known", "is_held", "words"),
    [(False, False, "nobody pulled it"), (True, False, "never pulled"), (True, True, "stale_if_error")],
)
@pytest.mark.parametrize("failure", [AWAY, UpstreamFailure(Cause.TCP, "registry-1.docker.io")])
def test_a_tag_that_is_not_given_says_why(
    stage: Stage, is_known: bool, is_held: bool, words: str, failure: Exception
) -> None:
    async def scene() -> None:
        stage.sources.manifests["1"] = failure
        if is_known:
            info = ManifestInfo(digest_of(stage.root), OCI_IMAGE, 1, is_held=is_held)
            stage.index.tags[NGINX, "1"] = TagEntry(info, 5.0)
        found = await stage.rehearse()
        (missing,) = found.missing
        assert (missing.what, missing.clients) == ("the tag", EVERYBODY)
        assert words in missing.problem
        assert len(stage.sources.asked) == 1, "and nothing else is asked for"

    play(scene())


def test_it_works_until_the_first_tag_or_list_is_too_old(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keep_all()
        info = ManifestInfo(digest_of(stage.root), OCI_IMAGE, 1, is_held=True)
        stage.index.tags[NGINX, "1"] = TagEntry(info, 50.0)
        assert (await stage.rehearse()).until == 50 + STALE_S
        name = referrers_query(digest_of(stage.amd64)).name
        stage.index.lists[NGINX, name] = ListEntry("", 20.0)
        assert (await stage.rehearse()).until == 20 + STALE_S
        stage.index.lists.clear()
        assert (await stage.rehearse(reference=digest_of(stage.root))).until is None
        await stage.blobs.close()

    play(scene())


def test_a_list_that_nobody_can_give_is_missed_by_docker_29(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keep_all()
        stage.sources.lists[referrers_query(digest_of(stage.amd64)).name] = AWAY
        found = await stage.rehearse()
        assert found.missing == [Missing("the list of its signatures", DOCKER_29, digest_of(stage.amd64))]
        await stage.blobs.close()

    play(scene())


def test_a_platform_that_the_index_has_not_is_missing(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keep_all()
        (missing,) = (await stage.rehearse(Platform("linux", "s390x"))).missing
        assert (missing.what, missing.problem) == ("an image for linux/s390x", "the index has none")
        await stage.blobs.close()

    play(scene())


def test_an_image_without_an_index_and_an_unknown_artifact_can_be_rehearsed(stage: Stage) -> None:
    async def scene() -> None:
        await stage.keep_all()
        assert (await stage.rehearse(reference=digest_of(stage.amd64))).works
        unknown = stage.sources.add(json.dumps({"mediaType": OCI_IMAGE}).encode())
        assert (await stage.rehearse(reference=digest_of(unknown))).works
        await stage.blobs.close()

    play(scene())
