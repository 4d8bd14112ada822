"""Warming over a real store and real fills: what is told of it, how many layers at a time, and what ends it."""

import asyncio
import hashlib
import json
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from hubferry.core.descriptors import Descriptor
from hubferry.core.errors import Code, OciError
from hubferry.core.image import ImageName
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.platforms import Platform
from hubferry.core.referrers import subject_of
from hubferry.ports.content import StoreFailure
from hubferry.ports.index import ManifestInfo, Repository
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.companions import Companions
from hubferry.pull.results import Absent, ListResult, ManifestQuery, ManifestResult, Outcome, OutcomeName
from hubferry.pull.warm import LAYERS, Ending, Warmed, Warmer
from hubferry.remote.lists import ListContent, ListQuery
from hubferry.remote.target import Target
from hubferry.store.content import FileStore
from hubferry.store.partial import PartialFile
from tests.fill.fakes import content, digest_of
from tests.gateway.fakes import FakeResponse
from tests.pull.test_blobs import Stage as BlobStage
from tests.pull.test_blobs import response, url_of
from tests.support.scenes import run_scene
from tests.support.waiting import until

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
NAME = ImageName("docker.io", "library/nginx", "1")
LAYER = content(300_000)
OTHER = content(200_000)[::-1]


def image(*layers: bytes) -> bytes:
    parts = [{"digest": digest_of(data), "size": len(data)} for data in layers]
    return json.dumps({"config": parts[0], "layers": parts[1:]}).encode()


def index(**entries: bytes) -> bytes:
    said = [
        {"digest": digest_of(body), "platform": {"os": "linux", "architecture": name}} for name, body in entries.items()
    ]
    return json.dumps({"manifests": said}).encode()


class Manifests:
    """A `ManifestSource` that keeps what it gives."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self.held: dict[str, bytes] = {}
        self.outcome: OutcomeName = "miss"
        self.keeps = True
        self.asked: list[str] = []

    def add(self, body: bytes, tag: str = "") -> bytes:
        self.held[digest_of(body)] = body
        if tag:
            self.held[tag] = body
        return body

    async def find(self, target: Target, query: ManifestQuery) -> ManifestResult | Absent:
        assert query.wants_content
        assert target.is_everybodys
        self.asked.append(query.reference)
        body = self.held.get(query.reference)
        unknown = OciError(404, Code.MANIFEST_UNKNOWN, f"nobody knows {query.reference}")
        if body is None and subject_of(query.reference):
            return Absent(unknown, Outcome("hit"))
        if body is None:
            raise unknown
        if self.keeps:
            await self._store.write(digest_of(body), body)
        away = OciError(503, Code.UNAVAILABLE, "it is away") if self.outcome == "stale" else None
        info = ManifestInfo(digest_of(body), OCI_INDEX, len(body))
        return ManifestResult(info, body, Outcome(self.outcome, failure=away))


class NoLists:
    """A `ListSource` of a registry without lists."""

    async def find(self, target: Target, query: ListQuery) -> ListResult:  # noqa: ARG002
        return ListResult(ListContent(absence=OciError(404, query.unknown, "no such list")), Outcome("miss"))


class Told:
    """An `WarmObserver` that notes what it is told."""

    def __init__(self) -> None:
        self.fronts: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.ends: dict[str, tuple[Ending, str]] = {}
        self.most = 0

    def began(self, layer: Descriptor, found_bytes: int) -> None:
        self.fronts[layer.digest] = found_bytes
        self.most = max(self.most, len(self.fronts) - len(self.ends))

    def grew(self, layer: Descriptor, at_bytes: int) -> None:
        assert at_bytes > self.sizes.get(layer.digest, 0)
        self.sizes[layer.digest] = at_bytes

    def ended(self, layer: Descriptor, outcome: Ending, problem: str) -> None:
        assert layer.digest not in self.ends
        self.ends[layer.digest] = (outcome, problem)


class Stage(BlobStage):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.manifests = Manifests(FileStore(folder))
        companions = Companions(self.manifests, NoLists(), self.store, quota_left=lambda _: 1.0, referrers_bytes=2**20)
        self.warmer = Warmer(self.target_of, companions, self.blobs, store=self.store, fills=self.fills)
        self.told = Told()

    async def target_of(self, upstream: str, repository: str) -> Target:
        assert upstream == "docker.io"
        return Target(self.docker_hub, repository, self.docker_hub.account)

    async def warm(
        self, platforms: Sequence[Platform] | None = (AMD64,), reference: str = "1", told: Told | None = None
    ) -> Warmed:
        self.told = told or Told()
        return await self.warmer.warm(ImageName("docker.io", "library/nginx", reference), platforms, self.told)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def play(stage: Stage, scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene, stage.fills.close, stage.store.close)
    assert stage.upstream.unused() == []
    assert [r.body.closed for r in stage.upstream.responses if isinstance(r, FakeResponse)].count(0) == 0


def test_all_of_an_image_and_then_nothing(stage: Stage) -> None:
    manifest = stage.manifests.add(image(b"config", LAYER), "1")
    stage.holds(b"config")
    stage.holds(LAYER)

    async def scene() -> None:
        result = await stage.warm()
        assert (result.problem, result.fetched, result.kept) == ("", 2, 0)
        assert result.fetched_bytes == len(b"config") + len(LAYER)
        assert set(result.digests) == {digest_of(manifest), digest_of(b"config"), digest_of(LAYER)}
        assert stage.told.ends == dict.fromkeys(result.digests[1:], ("fetched", ""))
        assert stage.told.sizes[digest_of(LAYER)] == len(LAYER)
        sent = len(stage.upstream.sent)
        again = await stage.warm()
        assert (again.problem, again.fetched, again.kept, again.fetched_bytes) == ("", 0, 2, 0)
        assert set(stage.told.ends.values()) == {("kept", "")}
        assert len(stage.upstream.sent) == sent
        assert await stage.warmer.missing(result) == []
        stage.store.path(digest_of(LAYER)).unlink()
        assert await stage.warmer.missing(result) == [digest_of(LAYER)]

    play(stage, scene())


def test_a_layer_is_there_when_the_disk_has_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = PartialFile.commit

    def slowly(self: PartialFile, length_bytes: int, actual_digest: str) -> None:
        time.sleep(0.2)  # every reader has all of it by then
        commit(self, length_bytes, actual_digest)

    monkeypatch.setattr(PartialFile, "commit", slowly)
    stage.manifests.add(image(LAYER), "1")
    stage.holds(LAYER)

    async def scene() -> None:
        assert (await stage.warm()).problem == ""
        assert stage.store.path(digest_of(LAYER)).exists()

    play(stage, scene())


def test_a_disk_that_fails_at_the_very_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreFailure("the disk broke")

    monkeypatch.setattr(PartialFile, "commit", fail)
    stage.manifests.add(image(LAYER), "1")
    stage.holds(LAYER)

    async def scene() -> None:
        result = await stage.warm()
        assert "it cannot be kept" in result.problem
        assert result.fetched == 0

    play(stage, scene())


def test_what_another_repository_brought_is_proven_and_not_fetched(stage: Stage) -> None:
    stage.manifests.add(image(LAYER), "1")
    stage.holds(LAYER, "library/other")
    stage.upstream.on("HEAD", url_of(LAYER), response(200, LAYER))

    async def scene() -> None:
        await stage.heard(digest_of(LAYER), repository="library/other")
        await stage.settled()
        # what real manifests leave behind: the digest is named, and everybody may pull
        repository = Repository("docker.io", "library/nginx")
        stage.index.named.add((repository, digest_of(LAYER)))
        stage.index.rights[repository, "pull", ""] = stage.clock.time()
        result = await stage.warm()
        assert (result.problem, result.fetched, result.kept) == ("", 0, 1)

    play(stage, scene())


def test_layers_a_few_at_a_time(stage: Stage) -> None:
    layers = [content(100_000) + bytes([number]) for number in range(10)]
    stage.manifests.add(image(*layers), "1")
    gate = asyncio.Event()
    for layer in layers:
        stage.upstream.on("GET", url_of(layer), response(200, layer, gate=gate))

    async def scene() -> None:
        told = Told()
        task = asyncio.create_task(stage.warm(told=told))
        await until(lambda: len(told.fronts) == LAYERS)
        await asyncio.sleep(0.05)  # in which one more would be asked for
        assert len(stage.upstream.sent) == LAYERS
        gate.set()
        assert (await task).fetched == 10
        assert told.most == LAYERS

    play(stage, scene())


def test_one_layer_fails_and_the_others_are_kept(stage: Stage) -> None:
    stage.manifests.add(image(OTHER, LAYER), "1")
    stage.holds(OTHER)
    stage.upstream.on("GET", url_of(LAYER), UpstreamFailure(Cause.TCP, "registry-1.docker.io"))

    async def scene() -> None:
        result = await stage.warm()
        assert (result.fetched, len(result.problems)) == (1, 1)
        assert result.problem.startswith(f"{digest_of(LAYER)}: docker.io cannot be reached")
        assert stage.told.ends[digest_of(LAYER)] == ("failed", result.problem)
        assert stage.told.ends[digest_of(OTHER)] == ("fetched", "")

    play(stage, scene())


def test_only_what_was_chosen_of_an_index_of_indexes(stage: Stage) -> None:
    config = OTHER[:1000]
    amd64, arm64 = stage.manifests.add(image(config, LAYER)), stage.manifests.add(image(OTHER))
    inner = stage.manifests.add(index(amd64=amd64, arm64=arm64))
    outer = stage.manifests.add(json.dumps({"manifests": [{"digest": digest_of(inner)}]}).encode(), "1")
    stage.holds(OTHER)
    stage.holds(config)

    async def scene() -> None:
        result = await stage.warm([ARM64])
        assert (result.problem, result.digest) == ("", digest_of(outer))
        walked = [reference for reference in stage.manifests.asked if not subject_of(reference)]
        assert walked[:3] == ["1", digest_of(inner), digest_of(arm64)]
        assert walked[3:] == [digest_of(outer), digest_of(inner), digest_of(amd64)], "the whole of it can be walked"
        assert set(result.digests) == {digest_of(one) for one in (outer, inner, arm64, amd64, OTHER, config)}
        assert not await stage.warmer.is_kept(digest_of(LAYER)), "but no layer of another platform"
        other = await stage.warm([Platform("linux", "s390x")])
        assert "there is none for linux/s390x: it is for linux/amd64, linux/arm64" in other.problem

    play(stage, scene())


def test_a_nest_of_indexes_has_a_bottom(stage: Stage) -> None:
    body = stage.manifests.add(image(LAYER))
    for _ in range(6):
        body = stage.manifests.add(json.dumps({"manifests": [{"digest": digest_of(body)}]}).encode())
    stage.manifests.held["1"] = body

    async def scene() -> None:
        assert "nested more than 3 deep" in (await stage.warm()).problem

    play(stage, scene())


@pytest.mark.parametrize(
    ("outcome", "keeps", "words"),
    [("stale", True, "only what was kept of it answers: it is away"), ("miss", False, "cannot be kept")],
)
def test_a_manifest_that_does_not_count(stage: Stage, outcome: OutcomeName, keeps: bool, words: str) -> None:
    stage.manifests.add(image(LAYER), "1")
    stage.manifests.outcome, stage.manifests.keeps = outcome, keeps

    async def scene() -> None:
        result = await stage.warm()
        assert result.problem.startswith("1: ")
        assert words in result.problem
        assert stage.told.ends == {}

    play(stage, scene())


def test_what_is_not_there_and_what_cannot_be_read(stage: Stage) -> None:
    stage.manifests.add(b"{}", "odd")

    async def scene() -> None:
        assert "nobody knows 1" in (await stage.warm()).problem
        assert "does not say" in (await stage.warm(reference="odd")).problem

    play(stage, scene())


def test_a_disk_that_takes_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreFailure("the disk is full")

    monkeypatch.setattr(PartialFile, "reserve", full)
    stage.manifests.add(image(LAYER), "1")
    stage.upstream.on("GET", url_of(LAYER), response(200, LAYER))

    async def scene() -> None:
        result = await stage.warm()
        assert (result.fetched, result.kept) == (0, 0)
        assert result.problem == f"{digest_of(LAYER)}: it cannot be kept: the disk is full"
        assert digest_of(LAYER) not in stage.told.fronts, "nothing of what nobody keeps is read"

    play(stage, scene())


def test_a_disk_that_fails_in_the_middle(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    write = PartialFile.write

    def fail(self: PartialFile, offset: int, pieces: Sequence[bytes]) -> None:
        if offset + sum(map(len, pieces)) == len(LAYER):  # the last piece, with whatever waited for it
            raise StoreFailure("the disk broke")
        write(self, offset, pieces)

    monkeypatch.setattr(PartialFile, "write", fail)
    stage.manifests.add(image(LAYER), "1")
    gate = asyncio.Event()
    stage.upstream.on("GET", url_of(LAYER), response(200, LAYER, gate=gate))

    async def scene() -> None:
        told = Told()
        task = asyncio.create_task(stage.warm(told=told))
        await until(lambda: bool(told.fronts))
        gate.set()
        assert "it cannot be kept: the disk broke" in (await task).problem

    play(stage, scene())


def test_wrong_bytes_are_no_layer(stage: Stage) -> None:
    stage.manifests.add(image(LAYER), "1")
    wrong = LAYER[:-1] + b"!"
    assert hashlib.sha256(wrong).hexdigest() not in digest_of(LAYER)
    stage.upstream.on("GET", url_of(LAYER), response(200, wrong))

    async def scene() -> None:
        result = await stage.warm()
        assert "gave something that cannot be delivered" in result.problem
        assert not await stage.warmer.is_kept(digest_of(LAYER))

    play(stage, scene())


def test_cancelled_it_leaves_what_is_there_and_goes_on_from_it(stage: Stage) -> None:
    stage.manifests.add(image(LAYER), "1")
    gate = asyncio.Event()
    stage.upstream.on("GET", url_of(LAYER), response(200, LAYER, gate=gate))
    half = len(LAYER) // 2

    async def scene() -> None:
        told = Told()
        task = asyncio.create_task(stage.warm(told=told))
        await until(lambda: told.sizes.get(digest_of(LAYER), 0) >= half - 100_000)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        # the fill goes on for a while; whoever comes meanwhile joins it
        result = await stage.warm()
        assert result.problem == ""
        assert await stage.warmer.is_kept(digest_of(LAYER))

    play(stage, scene())
