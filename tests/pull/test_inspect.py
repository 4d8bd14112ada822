"""What images are found to be: of every shape, from what is kept and from upstream, and while the upstream fails."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.image_config import MAX_CONFIG
from hubferry.core.image_details import Attestation, ImagePlatform, KeptTag, Layer, Referrer
from hubferry.core.manifest import OCI_IMAGE, OCI_INDEX, SCHEMA1_SIGNED
from hubferry.core.platforms import Platform
from hubferry.core.referrers import referrers_tag
from hubferry.core.tags import Page
from hubferry.ports.index import ManifestInfo, Repository, TagEntry
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull import inspect as inspecting
from hubferry.pull.inspect import Inspector
from hubferry.pull.results import (
    Absent,
    Asks,
    BlobQuery,
    BlobResult,
    ListResult,
    ManifestQuery,
    ManifestResult,
    Outcome,
)
from hubferry.pull.small_bodies import body_reader
from hubferry.remote.lists import ListContent, ListQuery, referrers_query, tags_query
from hubferry.remote.target import Target
from tests.gateway.fakes import FakeClock, ScriptedUpstream
from tests.pull.fakes import EVERYBODY, NGINX, KeptIndex, Pieces, digest_of, refusal, rights_over
from tests.support.scenes import run_scene

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
AWAY = refusal(503, Code.UNAVAILABLE, "docker.io cannot be reached")
LAYERS = tuple(f"sha256:{number:064x}" for number in range(1, 4))


def config(*commands: str, architecture: str = "amd64") -> bytes:
    history = [{"created_by": "ENV a=b", "empty_layer": True}, *({"created_by": command} for command in commands)]
    said = {"architecture": architecture, "os": "linux", "created": "2024-05-01T12:00:00Z", "history": history}
    return json.dumps({**said, "config": {"User": "1000"}}).encode()


def image(of: bytes, *layers: str, config_type: str = CONFIG_TYPE, **more: object) -> bytes:
    parts = [{"digest": layer, "size": 100} for layer in layers]
    said = {"digest": digest_of(of), "size": len(of), "mediaType": config_type}
    return json.dumps({"mediaType": OCI_IMAGE, "config": said, "layers": parts, **more}).encode()


def entry(body: bytes, platform: Platform | None = None, media_type: str = OCI_IMAGE, **more: object) -> dict[str, Any]:
    said: dict[str, Any] = {"digest": digest_of(body), "size": len(body), "mediaType": media_type, **more}
    if platform is not None:
        said["platform"] = {"os": platform.os, "architecture": platform.architecture}
    return said


def index(*entries: dict[str, Any], **more: object) -> bytes:
    return json.dumps({"mediaType": OCI_INDEX, "manifests": entries, **more}).encode()


class Sources:
    """Manifests, blobs and lists of one repository by their names, and what was asked for."""

    def __init__(self) -> None:
        self.manifests: dict[str, bytes | Exception] = {}
        self.blobs: dict[str, bytes | Exception] = {}
        self.lists: dict[str, ListContent | Exception] = {}
        self.outcome = Outcome("hit")
        self.asked: list[str] = []

    def add(self, body: bytes, tag: str = "") -> bytes:
        self.manifests[digest_of(body)] = body
        if tag:
            self.manifests[tag] = body
        return body

    def add_config(self, body: bytes) -> bytes:
        self.blobs[digest_of(body)] = body
        return body

    async def find(self, target: Target, query: Any) -> Any:
        assert target is EVERYBODY
        if isinstance(query, ManifestQuery):
            return self._manifest(query)
        if isinstance(query, BlobQuery):
            self.asked.append(f"blob {query.digest}")
            found = self.blobs.get(query.digest, refusal(404, Code.BLOB_UNKNOWN))
            if isinstance(found, Exception):
                raise found
            return BlobResult(len(found), self.outcome, Pieces(found[:5], found[5:]))
        assert isinstance(query, ListQuery)
        self.asked.append(query.name)
        listed = self.lists.get(query.name, refusal(404, query.unknown))
        if isinstance(listed, Exception):
            raise listed
        return ListResult(listed, self.outcome)

    def _manifest(self, query: ManifestQuery) -> ManifestResult | Absent:
        self.asked.append(query.reference if query.wants_content else f"HEAD {query.reference}")
        body = self.manifests.get(query.reference, refusal(404, Code.MANIFEST_UNKNOWN))
        if isinstance(body, OciError) and body.status == 404 and query.reference.startswith("sha256-"):
            return Absent(body, self.outcome)
        if isinstance(body, Exception):
            raise body
        document = json.loads(body)
        media_type = SCHEMA1_SIGNED if "fsLayers" in document else document.get("mediaType", OCI_IMAGE)
        info = ManifestInfo(digest_of(body), media_type, len(body))
        return ManifestResult(info, body if query.wants_content else None, self.outcome)


class Kept:
    """What is kept of the repository."""

    def __init__(self) -> None:
        self.times: dict[str, float] = {}
        self.bodies: dict[str, bytes] = {}
        self.tags: dict[str, TagEntry] = {}

    def keep(self, *bodies: bytes) -> None:
        for body in bodies:
            self.times[digest_of(body)] = 5.0
            self.bodies[digest_of(body)] = body

    async def since(self, repository: Repository, digest: str) -> float | None:
        assert repository == NGINX
        return self.times.get(digest)

    async def manifest(self, repository: Repository, digest: str) -> bytes | None:
        assert repository == NGINX
        return self.bodies.get(digest)

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        assert repository == NGINX
        return self.tags.get(tag)

    async def repositories(self, upstream: str, words: str) -> list[str]:  # noqa: ARG002 - the port's names
        return []

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:
        assert repository == NGINX
        return self.tags


class Stage:
    def __init__(self, *, may_list: bool = True) -> None:
        self.sources, self.kept = Sources(), Kept()
        clock, known = FakeClock(), KeptIndex()
        if may_list:
            known.rights[NGINX, "pull", ""] = clock.time() - 10**6  # due: the upstream would be asked first
        asks = Asks(self.sources, self.sources, self.sources)
        self.inspector = Inspector(asks, self.kept, rights_over(known, clock), body_reader(ScriptedUpstream()))

    def note_tag(self, tag: str, body: bytes, *, is_held: bool = True) -> None:
        info = ManifestInfo(digest_of(body), OCI_IMAGE, len(body), is_held=is_held)
        self.kept.tags[tag] = TagEntry(info, 7.0)


def play(scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene)


# --- images ----------------------------------------------------------------------------------------------


def test_an_index_costs_one_manifest_and_names_its_platforms_and_attestations() -> None:
    async def scene() -> None:
        stage = Stage()
        amd64, arm64 = image(config("a"), LAYERS[0]), image(config("b"), LAYERS[1])
        attested = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "?"}
        attested["vnd.docker.reference.digest"] = digest_of(amd64)
        about = entry(b"{}", Platform("unknown", "unknown"), annotations=attested)
        body = index(entry(amd64, AMD64), entry(arm64, ARM64), about, annotations={"a": "b"})
        stage.sources.add(body, "1")
        found = await stage.inspector.image(EVERYBODY, "1")
        assert stage.sources.asked == ["1"]
        assert (found.digest, found.media_type, found.kind) == (digest_of(body), OCI_INDEX, "image")
        assert found.platforms == (
            ImagePlatform(digest_of(amd64), AMD64, OCI_IMAGE),
            ImagePlatform(digest_of(arm64), ARM64, OCI_IMAGE),
        )
        assert found.attestations == (Attestation(digest_of(b"{}"), digest_of(amd64), 2),)
        assert found.annotations == (("a", "b"),)
        assert (found.is_index, found.is_kept, found.confirmed_at, found.kept_since) == (True, False, None, None)
        assert found.problem == ""

    play(scene())


def test_the_sizes_of_platforms_are_known_where_their_manifests_are_kept() -> None:
    async def scene() -> None:
        stage = Stage()
        said = config("a")
        kept, other, broken = image(said, *LAYERS), image(config("b")), b'{"config": 1}'
        body = stage.sources.add(index(entry(kept, AMD64), entry(other, ARM64), entry(broken)), "1")
        stage.kept.keep(kept, body, broken)
        stage.note_tag("1", body)
        found = await stage.inspector.image(EVERYBODY, "1")
        assert [(one.size_bytes, one.is_kept) for one in found.platforms] == [
            (len(said) + 300, True),
            (None, False),
            (None, True),
        ]
        assert (found.is_kept, found.kept_since, found.confirmed_at) == (True, 5.0, 7.0)

    play(scene())


def test_no_large_manifest_is_read_for_a_size() -> None:
    """Whoever had two hundred of 4 MiB kept made each look at their index take minutes."""

    async def scene() -> None:
        stage = Stage()
        large = image(config("a"), *LAYERS, annotations={"padding": "x" * inspecting.MAX_SIZED})
        honest = entry(large, AMD64)
        lying = {**honest, "size": 5}
        for said in (honest, lying):
            body = stage.sources.add(index(said), "1")
            stage.kept.keep(large, body)
            found = await stage.inspector.image(EVERYBODY, "1")
            assert [(one.size_bytes, one.is_kept) for one in found.platforms] == [(None, True)]

    play(scene())


def test_an_image_without_an_index_is_its_only_platform() -> None:
    async def scene() -> None:
        stage = Stage()
        said = config("a")
        body = stage.sources.add(image(said, LAYERS[0]), "1")
        stage.note_tag("1", b"what it was before")
        found = await stage.inspector.image(EVERYBODY, "1")
        assert found.platforms == (ImagePlatform(digest_of(body), None, OCI_IMAGE, len(said) + 100),)
        assert (found.is_index, found.confirmed_at) == (False, None)

    play(scene())


def test_a_chart_is_called_one_and_has_no_config_of_an_image() -> None:
    async def scene() -> None:
        stage = Stage()
        chart = image(b"{}", LAYERS[0], config_type="application/vnd.cncf.helm.config.v1+json")
        stage.sources.add(chart, "1")
        found = await stage.inspector.image(EVERYBODY, "1")
        assert found.kind == "Helm chart"
        one = await stage.inspector.platform(EVERYBODY, found.platforms[0])
        assert (one.kind, one.config, one.platform, one.problem) == ("Helm chart", None, None, "")
        assert not any(asked.startswith("blob") for asked in stage.sources.asked)

    play(scene())


def test_schema_1_needs_no_config() -> None:
    async def scene() -> None:
        stage = Stage()
        compatible = json.dumps({"container_config": {"Cmd": ["/bin/sh", "-c", "make"]}, "os": "linux"})
        said = {"fsLayers": [{"blobSum": LAYERS[0]}], "history": [{"v1Compatibility": compatible}]}
        stage.sources.add(json.dumps({**said, "architecture": "amd64"}).encode(), "1")
        (only,) = (await stage.inspector.image(EVERYBODY, "1")).platforms
        assert (only.platform, only.size_bytes) == (AMD64, None)
        found = await stage.inspector.platform(EVERYBODY, only)
        assert found.layers == (Layer(LAYERS[0], command="RUN make"),)
        assert found.platform == AMD64

    play(scene())


def test_an_index_within_an_index_is_opened() -> None:
    async def scene() -> None:
        stage = Stage()
        amd64 = image(config("a"))
        inner = stage.sources.add(index(entry(amd64, AMD64)))
        lost = index(entry(b"{}", ARM64))
        stage.sources.manifests[digest_of(lost)] = AWAY
        stage.sources.add(index(entry(inner, media_type=OCI_INDEX), entry(lost, media_type=OCI_INDEX)), "1")
        found = await stage.inspector.image(EVERYBODY, "1")
        assert [one.digest for one in found.platforms] == [digest_of(amd64), digest_of(lost)]
        assert found.problem == AWAY.message

    play(scene())


def test_indexes_that_never_end_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        stage = Stage()
        inner = image(config("a"))
        for _ in range(20):
            inner = stage.sources.add(index(entry(inner, media_type=OCI_INDEX)))
        stage.sources.add(inner, "1")
        assert len((await stage.inspector.image(EVERYBODY, "1")).platforms) == 1
        assert len(stage.sources.asked) == 1 + inspecting.MAX_NESTED
        monkeypatch.setattr(inspecting, "MAX_PLATFORMS", 3)
        stage.sources.add(index(*(entry(bytes([n]), AMD64) for n in range(5))), "2")
        found = await stage.inspector.image(EVERYBODY, "2")
        assert (len(found.platforms), found.is_cut) == (3, True)

    play(scene())


def test_an_answer_in_the_place_of_an_upstream_says_so() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.add(index(), "1")
        stage.sources.outcome = Outcome("stale", AWAY.message, 9.0, AWAY)
        assert (await stage.inspector.image(EVERYBODY, "1")).problem == AWAY.message

    play(scene())


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (refusal(404), 404),
        (UpstreamFailure(Cause.TCP, "registry-1.docker.io"), 503),
        (b'{"config": 1}', 502),
        (json.dumps({"mediaType": OCI_INDEX, "manifests": 1}).encode(), 502),
    ],
)
def test_what_cannot_be_had_is_an_error(reply: bytes | Exception, status: int) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.manifests["1"] = reply
        with pytest.raises(OciError) as caught:
            await stage.inspector.image(EVERYBODY, "1")
        assert caught.value.status == status

    play(scene())


# --- platforms -------------------------------------------------------------------------------------------


def test_a_platform_has_its_layers_with_the_commands_that_made_them() -> None:
    async def scene() -> None:
        stage = Stage()
        said = stage.sources.add_config(config("COPY a /", "/bin/sh -c make"))
        body = stage.sources.add(image(said, *LAYERS[:2], annotations={"a": "b"}))
        stage.kept.keep(body)
        stage.kept.times[LAYERS[0]] = 5.0
        found = await stage.inspector.platform(EVERYBODY, ImagePlatform(digest_of(body)))
        assert found.layers == (
            Layer(LAYERS[0], 100, command="COPY a /", is_kept=True),
            Layer(LAYERS[1], 100, command="RUN make"),
        )
        assert (found.platform, found.created_at, found.size_bytes) == (AMD64, 1714564800, len(said) + 200)
        assert found.config is not None
        assert found.config.user == "1000"
        assert (found.is_kept, found.annotations) == (False, (("a", "b"),))
        stage.kept.times |= {LAYERS[1]: 6.0, digest_of(said): 6.0}
        assert (await stage.inspector.platform(EVERYBODY, ImagePlatform(digest_of(body)))).is_kept

    play(scene())


def test_a_layer_that_no_registry_has_need_not_be_kept() -> None:
    async def scene() -> None:
        stage = Stage()
        said = stage.sources.add_config(config("a"))
        foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        layers = [{"digest": LAYERS[0], "size": 1, "mediaType": foreign, "urls": ["https://a.example"]}]
        document = json.loads(image(said)) | {"layers": layers}
        body = stage.sources.add(json.dumps(document).encode())
        stage.kept.keep(body, said)
        found = await stage.inspector.platform(EVERYBODY, ImagePlatform(digest_of(body)))
        assert found.is_kept
        assert (found.layers[0].is_foreign, found.layers[0].is_kept) == (True, False)

    play(scene())


CONFIGS: dict[str, tuple[bytes | Exception, str]] = {
    "away": (AWAY, AWAY.message),
    "gone": (refusal(404, Code.BLOB_UNKNOWN, "nobody has it"), "nobody has it"),
    "unreachable": (UpstreamFailure(Cause.TCP, "cdn.example"), "cannot be reached"),
    "other bytes": (b"{}", "another digest"),
    "too large": (b"x" * (MAX_CONFIG + 1), "larger than"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_without_its_config_a_platform_still_has_its_layers(name: str) -> None:
    async def scene() -> None:
        stage = Stage()
        reply, problem = CONFIGS[name]
        said = config("a")
        stage.sources.blobs[digest_of(said)] = reply
        body = stage.sources.add(image(said, LAYERS[0]))
        found = await stage.inspector.platform(EVERYBODY, ImagePlatform(digest_of(body), ARM64))
        assert problem in found.problem
        assert (found.layers, found.config, found.platform) == ((Layer(LAYERS[0], 100),), None, ARM64)

    play(scene())


def test_a_config_that_says_it_is_large_is_not_asked_for() -> None:
    async def scene() -> None:
        stage = Stage()
        document = json.loads(image(b"{}"))
        document["config"]["size"] = MAX_CONFIG + 1
        body = stage.sources.add(json.dumps(document).encode())
        found = await stage.inspector.platform(EVERYBODY, ImagePlatform(digest_of(body)))
        assert "larger than" in found.problem
        assert stage.sources.asked == [digest_of(body)]

    play(scene())


# --- tags ------------------------------------------------------------------------------------------------


def listed(*tags: str, following: str = "") -> ListContent:
    return ListContent(json.dumps({"name": "library/nginx", "tags": tags}).encode(), next_last=following)


def page(size: int | None = None, last: str = "") -> str:
    return tags_query(Page(size, last)).name


def test_tags_are_sorted_and_say_which_of_them_are_kept() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.lists[page()] = listed("1.9", "1.10", "latest")
        stage.note_tag("1.10", b"a")
        stage.note_tag("1.9", b"b", is_held=False)
        stage.note_tag("gone", b"c")
        found = await stage.inspector.tags(EVERYBODY)
        assert found.tags == ("latest", "1.10", "1.9")
        assert found.kept == {"1.10": KeptTag(digest_of(b"a"), 7.0, True), "1.9": KeptTag(digest_of(b"b"), 7.0)}
        assert (found.is_cut, found.is_stale, found.problem) == (False, False, "")

    play(scene())


def test_few_long_lists_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspecting, "LISTED_AT_ONCE", 1)
    stage, reading, most = Stage(), 0, 0

    async def find(target: Target, query: ListQuery) -> ListResult:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0)
        reading -= 1
        return ListResult(listed("1"), stage.sources.outcome)

    async def scene() -> None:
        monkeypatch.setattr(stage.sources, "find", find)
        found = await asyncio.gather(*(stage.inspector.tags(EVERYBODY) for _ in range(5)))
        assert [one.tags for one in found] == [("1",)] * 5
        assert most == 1

    play(scene())


def test_every_page_is_asked_for_until_the_last_one() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.lists[page()] = listed("1", following="1")
        stage.sources.lists[page(1000, "1")] = listed("2", following="2")
        stage.sources.lists[page(1000, "2")] = listed("3", following="1")
        found = await stage.inspector.tags(EVERYBODY)
        assert (found.tags, found.is_cut) == (("3", "2", "1"), False)
        assert len(stage.sources.asked) == 3, "and what was asked for before is not asked for again"

    play(scene())


@pytest.mark.parametrize("bound", ["MAX_TAGS", "MAX_PAGES"])
def test_a_list_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    async def scene() -> None:
        stage = Stage()
        monkeypatch.setattr(inspecting, bound, 2)
        stage.sources.lists[page()] = listed("1", "2", following="2")
        for last in range(2, 6, 2):
            following = str(last + 2)
            stage.sources.lists[page(1000, str(last))] = listed(str(last + 1), following, following=following)
        found = await stage.inspector.tags(EVERYBODY)
        assert found.is_cut
        assert len(found.tags) <= 4
        assert len(stage.sources.asked) == 2

    play(scene())


def test_a_page_that_fails_leaves_what_came_before() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.lists |= {page(): listed("1", following="1"), page(1000, "1"): AWAY}
        found = await stage.inspector.tags(EVERYBODY)
        assert (found.tags, found.is_cut, found.problem) == (("1",), True, AWAY.message)

    play(scene())


def test_while_the_upstream_fails_the_known_tags_are_listed_for_who_may_pull() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.lists[page()] = AWAY
        stage.note_tag("1", b"a")
        found = await stage.inspector.tags(EVERYBODY)
        assert (found.tags, found.is_cut, found.is_stale, found.problem) == (("1",), True, True, AWAY.message)
        for stranger in (Stage(may_list=False), Stage()):
            stranger.sources.lists[page()] = AWAY
        with pytest.raises(OciError):
            await stranger.inspector.tags(EVERYBODY)

    play(scene())


def test_known_tags_are_not_shown_to_strangers_nor_in_place_of_a_refusal() -> None:
    async def scene() -> None:
        for stage, error in ((Stage(may_list=False), AWAY), (Stage(), refusal(403)), (Stage(), refusal(404))):
            stage.note_tag("1", b"a")
            stage.sources.lists[page()] = error
            with pytest.raises(OciError) as caught:
                await stage.inspector.tags(EVERYBODY)
            assert caught.value.status == error.status

    play(scene())


def test_a_list_that_is_stale_says_so() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.lists[page()] = listed("1")
        stage.sources.outcome = Outcome("stale", AWAY.message, 9.0, AWAY)
        found = await stage.inspector.tags(EVERYBODY)
        assert (found.is_stale, found.problem) == (True, AWAY.message)
        stage.sources.lists[page()] = ListContent(b"<html>")
        with pytest.raises(OciError):
            await stage.inspector.tags(EVERYBODY)

    play(scene())


# --- referrers -------------------------------------------------------------------------------------------


def test_referrers_are_those_of_the_list_and_those_behind_tags_of_cosign() -> None:
    async def scene() -> None:
        stage = Stage()
        subject = digest_of(b"subject")
        sbom = entry(b"1", artifactType="application/spdx+json")
        stage.sources.lists[referrers_query(subject).name] = ListContent(index(sbom))
        signature = stage.sources.add(image(b"{}"), f"{referrers_tag(subject)}.sig")
        assert await stage.inspector.referrers(EVERYBODY, subject) == [
            Referrer(digest_of(b"1"), "application/spdx+json", "SBOM (SPDX)", 1),
            Referrer(digest_of(signature), "", "signature (cosign)", len(signature), f"{referrers_tag(subject)}.sig"),
        ]

    play(scene())


@pytest.mark.parametrize("status", [404, 401])
def test_where_there_is_no_list_the_tag_in_its_place_is_read(status: int) -> None:
    async def scene() -> None:
        stage = Stage()
        subject = digest_of(b"subject")
        error = refusal(status)
        absent = ListContent(absence=error)
        stage.sources.lists[referrers_query(subject).name] = absent if status == 404 else error
        assert await stage.inspector.referrers(EVERYBODY, subject) == []
        stage.sources.add(index(entry(b"1")), referrers_tag(subject))
        assert await stage.inspector.referrers(EVERYBODY, subject) == [Referrer(digest_of(b"1"), "", "artifact", 1)]

    play(scene())


def test_a_list_of_referrers_that_nobody_can_give_is_an_error() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.sources.lists[referrers_query(LAYERS[0]).name] = AWAY
        with pytest.raises(OciError) as caught:
            await stage.inspector.referrers(EVERYBODY, LAYERS[0])
        assert caught.value.status == 503

    play(scene())
