"""What is fetched ahead: which signs show that a client pulls an image, in what order, how much, and how often."""

import asyncio
import json
from collections.abc import Sequence
from typing import cast

import pytest

from hubferry.core.descriptors import Descriptor
from hubferry.ports.content import StoreFailure
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.companions import Companions, Found
from hubferry.pull.prefetch import AGAIN_S, AT_ONCE, COMPLETE_AGAIN_S, MAX_BYTES, WAITING, Prefetch
from hubferry.remote.target import Target, Upstream
from tests.gateway.fakes import FakeClock, FakeLog
from tests.pull.fakes import DOCKER_HUB, EVERYBODY, NGINX, OF_ALICE, KeptIndex, digest_of, refusal
from tests.support.scenes import run_scene
from tests.support.waiting import turns

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
GHCR = Target(Upstream("ghcr.io", DOCKER_HUB.settings, DOCKER_HUB.trust), "a/b")


def blob(name: str) -> str:
    return digest_of(name.encode())


def image(name: str, layers: int = 2, **more: object) -> bytes:
    """A manifest whose config is `name`, and its layers `name 1` and so on."""
    parts = [{"digest": blob(name)}, *({"digest": blob(f"{name} {number + 1}")} for number in range(layers))]
    return json.dumps({"config": parts[0], "layers": parts[1:], **more}).encode()


AMD, ARM, SBOM = image("amd"), image("arm"), image("sbom")
ATTESTATION = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
INDEX = json.dumps(
    {
        "manifests": [
            {"digest": digest_of(AMD), "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": digest_of(ARM), "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": digest_of(SBOM), **ATTESTATION},
        ]
    }
).encode()
ALL_DONE = 20  # turns of the loop, after which nothing of it goes on
ALL_OF_AMD = [blob("amd"), blob("amd 1"), blob("amd 2")]
ALL_OF_ARM = [blob("arm"), blob("arm 1"), blob("arm 2")]


class ScriptedCompanions:
    """`Companions` that finds what the test says, and waits at `gate`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.found = Found()
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, target: Target, root: str, images: Sequence[str]) -> Found:  # noqa: ARG002
        self.asked.append((root, tuple(images)))
        await self.gate.wait()
        return self.found


class Stage:
    """Prefetch over a fill that notes what it is asked, waits at `gate`, and ends as the test says."""

    def __init__(self, *, fetches_layers: bool = True, completes: bool = False) -> None:
        self.clock, self.index, self.log = FakeClock(), KeptIndex(), FakeLog()
        self.filled: list[str] = []
        self.ended = 0
        self.sizes: dict[str, int | None] = {}
        self.targets: list[Target] = []
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.companions = ScriptedCompanions() if completes else None
        self.prefetch = Prefetch(
            self._fill,
            self.index,
            self.clock,
            log=self.log,
            fetches_layers=fetches_layers,
            companions=cast("Companions | None", self.companions),
        )

    async def _fill(self, target: Target, digest: str, size_bytes: int | None) -> None:
        self.filled.append(digest)
        self.sizes[digest] = size_bytes
        self.targets.append(target)
        try:
            await self.gate.wait()
        finally:
            await turns(3)  # as closing takes
            self.ended += 1
        if self.failure is not None:
            raise self.failure

    async def give(self, *manifests: bytes, peer: str = HERE, target: Target = EVERYBODY) -> None:
        for manifest in manifests:
            await self.prefetch.manifest_given(target, peer, digest_of(manifest), manifest)
        await turns(ALL_DONE)

    async def ask(self, name: str, *, peer: str = HERE, target: Target = EVERYBODY) -> None:
        self.prefetch.blob_asked(target, peer, blob(name))
        await turns(ALL_DONE)


# --- the signs that an image is pulled -------------------------------------------------------------------

SIGNS: dict[str, tuple[list[bytes | str], list[str]]] = {
    # name: manifests that a client is given and blobs that it asks for -> what is fetched
    "an image of no index": ([AMD], ALL_OF_AMD),
    "an index": ([INDEX], []),
    "an image of an index": ([INDEX, AMD], []),
    "a layer": ([INDEX, AMD, "amd 2"], ALL_OF_AMD),
    "a config": ([INDEX, AMD, "amd"], ALL_OF_AMD),
    "a layer of one of several images": ([INDEX, AMD, ARM, "arm 1"], ALL_OF_ARM),
    "a config of one of several images": ([INDEX, AMD, ARM, "arm"], []),
    "a config and then a layer of one of several images": ([INDEX, AMD, ARM, "amd", "arm", "arm 2"], ALL_OF_ARM),
    "the same image twice": ([INDEX, AMD, AMD, "amd"], ALL_OF_AMD),
    "an image and an attestation": ([INDEX, AMD, SBOM, "amd"], ALL_OF_AMD),
    "an attestation": ([INDEX, SBOM, "sbom", "sbom 1"], []),
    "a blob of nothing that it was given": ([INDEX, AMD, "arm 1"], []),
    "a blob before its image": (["amd 1", INDEX, AMD], []),
    "what refers to an image": ([image("signature", subject={"digest": digest_of(AMD)}), "signature 1"], []),
    "no manifest": ([b"<html>"], []),
    "a manifest of nothing": ([b"{}"], []),
    "too large a manifest": ([image("large") + b" " * MAX_BYTES, "large 1"], []),
    "a manifest that is as large as may be": (
        [(manifest := image("large", 1)) + b" " * (MAX_BYTES - len(manifest))], [blob("large"), blob("large 1")],
    ),
    "schema 1, which has no config": (
        [json.dumps({"fsLayers": [{"blobSum": blob("a")}, {"blobSum": blob("b")}]}).encode()], [blob("a"), blob("b")],
    ),
    "layers that no registry may hold": (
        [
            json.dumps(
                {
                    "config": {"digest": blob("c")},
                    "layers": [
                        {"digest": blob("f"), "urls": ["https://x"], "mediaType": "a/b.foreign.c"},
                        {"digest": blob("d")},
                    ],
                }
            ).encode()
        ],
        [blob("c"), blob("d")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("signs", "fetched"), SIGNS.values(), ids=SIGNS.keys())
def test_what_a_client_is_given_and_asks_for_shows_whether_it_pulls(
    signs: list[bytes | str], fetched: list[str]
) -> None:
    async def scene() -> None:
        stage = Stage()
        for sign in signs:
            await (stage.ask(sign) if isinstance(sign, str) else stage.give(sign))
        assert stage.filled == fetched
        assert set(stage.sizes.values()) <= {None}

    run_scene(scene())


def test_an_image_of_a_kept_index_is_one_of_it_whoever_gave_that() -> None:
    async def scene() -> None:
        stage = Stage()
        for manifest in (AMD, ARM):
            stage.index.named.add((NGINX, digest_of(manifest)))
        await stage.give(AMD)
        assert stage.filled == []
        await stage.ask("amd")
        assert stage.filled == ALL_OF_AMD
        await stage.give(ARM)
        await stage.ask("arm")
        assert stage.filled == ALL_OF_AMD, "it is the second one of that index"

    run_scene(scene())


def test_each_client_is_seen_by_itself() -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.give(INDEX, AMD, peer=HERE)
        await stage.give(INDEX, ARM, peer=ELSEWHERE)
        await stage.ask("amd 1", peer=ELSEWHERE)
        await stage.ask("amd 1", target=OF_ALICE)
        assert stage.filled == []
        await stage.ask("amd", peer=HERE)
        assert stage.filled == ALL_OF_AMD
        await stage.ask("arm", peer=ELSEWHERE)
        assert stage.filled == ALL_OF_AMD + ALL_OF_ARM
        assert set(stage.targets) == {EVERYBODY}

    run_scene(scene())


# --- how often -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("later_s", "times"), [(0.0, 1), (AGAIN_S - 0.1, 1), (AGAIN_S, 2)])
def test_the_same_image_is_not_fetched_ahead_again_so_soon(later_s: float, times: int) -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.give(AMD)
        stage.clock.pass_s(later_s)
        await stage.give(AMD, peer=ELSEWHERE)
        assert stage.filled == ALL_OF_AMD * times

    run_scene(scene())


def test_for_another_caller_it_is() -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.give(AMD)
        await stage.give(AMD, target=OF_ALICE)
        assert stage.targets == [EVERYBODY] * 3 + [OF_ALICE] * 3

    run_scene(scene())


# --- how much --------------------------------------------------------------------------------------------


def test_some_are_fetched_at_once_of_an_upstream_in_the_order_of_the_manifest() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.gate.clear()
        await stage.give(image("many", 9))
        everything = [blob("many"), *(blob(f"many {number}") for number in range(1, 10))]
        assert stage.filled == everything[:AT_ONCE]
        await stage.give(image("more", 0), target=GHCR)
        assert stage.filled[AT_ONCE:] == [blob("more")], "another upstream has a line of its own"
        stage.gate.set()
        await turns(ALL_DONE)
        assert [one for one in stage.filled if one != blob("more")] == everything

    run_scene(scene())


@pytest.mark.parametrize(("layers", "is_begun"), [(WAITING - 2, True), (WAITING - 1, False), (WAITING + 50, False)])
def test_an_image_of_too_many_layers_is_left_to_the_client(layers: int, is_begun: bool) -> None:
    async def scene() -> None:
        stage = Stage()
        await stage.give(image("many", layers))
        await turns(WAITING)
        assert len(stage.filled) == (layers + 1 if is_begun else 0)

    run_scene(scene())


def test_where_many_are_in_line_no_image_joins_them() -> None:
    async def scene() -> None:
        stage = Stage()
        stage.gate.clear()
        await stage.give(image("many", WAITING - 4))
        await stage.give(image("refused", 2), target=GHCR)
        await stage.give(image("fits", 1), target=GHCR)
        assert stage.filled[AT_ONCE:] == [blob("fits"), blob("fits 1")]
        stage.gate.set()
        await turns(WAITING)

    run_scene(scene())


FAILURES = [refusal(404), refusal(503), UpstreamFailure(Cause.TCP, "docker.io"), StoreFailure("the disk is full")]


@pytest.mark.parametrize("failure", FAILURES, ids=["404", "503", "not reached", "a disk"])
def test_what_cannot_be_fetched_is_nobodys_trouble(failure: Exception) -> None:
    async def scene() -> None:
        stage = Stage()
        stage.failure = failure
        await stage.give(image("many", 9))
        assert len(stage.filled) == 10
        assert stage.log.events == []

    run_scene(scene())


def test_closing_ends_what_waits_for_its_turn() -> None:
    async def scene() -> None:
        stage = Stage(completes=True)
        await stage.prefetch.close()
        stage.gate.clear()
        await stage.give(image("many", 9))
        await stage.prefetch.close()
        assert (len(stage.filled), stage.ended) == (AT_ONCE, AT_ONCE), "closing waits for what it ends"
        assert stage.companions is not None
        assert stage.companions.asked == []

    run_scene(scene())


# --- what belongs to an image ----------------------------------------------------------------------------


@pytest.mark.parametrize("fetches_layers", [True, False])
@pytest.mark.parametrize(
    ("given", "root"), [((AMD,), digest_of(AMD)), ((INDEX, AMD), digest_of(INDEX))], ids=["an image", "of an index"]
)
def test_what_belongs_to_an_image_is_fetched_after_its_layers(
    given: tuple[bytes, ...], root: str, fetches_layers: bool
) -> None:
    async def scene() -> None:
        stage = Stage(fetches_layers=fetches_layers, completes=True)
        assert stage.companions is not None
        stage.companions.found.blobs = {blob(name): Descriptor(blob(name), size) for name, size in (("x", 7), ("y", 8))}
        stage.gate.clear()
        await stage.give(*given)
        await stage.ask("amd 1")
        assert (stage.companions.asked == []) is fetches_layers
        stage.gate.set()
        await turns(ALL_DONE)
        assert stage.companions.asked == [(root, (digest_of(AMD),))]
        assert stage.filled == (ALL_OF_AMD if fetches_layers else []) + [blob("x"), blob("y")]
        assert (stage.sizes[blob("x")], stage.sizes[blob("y")]) == (7, 8)

    run_scene(scene())


def test_layers_that_cannot_be_fetched_do_not_keep_it_from_that() -> None:
    async def scene() -> None:
        stage = Stage(completes=True)
        stage.failure = refusal(503)
        await stage.give(AMD)
        assert stage.companions is not None
        assert len(stage.companions.asked) == 1

    run_scene(scene())


def test_it_is_done_for_one_image_of_an_upstream_at_a_time() -> None:
    async def scene() -> None:
        stage = Stage(completes=True)
        assert stage.companions is not None
        stage.companions.gate.clear()
        await stage.give(AMD, ARM)
        await stage.give(SBOM, target=GHCR)
        assert [root for root, _ in stage.companions.asked] == [digest_of(AMD), digest_of(SBOM)]
        stage.companions.gate.set()
        await turns(ALL_DONE)
        assert [root for root, _ in stage.companions.asked][2:] == [digest_of(ARM)]

    run_scene(scene())


@pytest.mark.parametrize(
    ("problem", "later_s", "times"),
    [
        (None, AGAIN_S, 1),
        (None, COMPLETE_AGAIN_S - 0.1, 1),
        (None, COMPLETE_AGAIN_S, 2),
        (refusal(503), AGAIN_S - 0.1, 1),
        (refusal(503), AGAIN_S, 2),
    ],
)
def test_it_is_done_once_in_a_while_and_again_with_the_next_pull_if_it_failed(
    problem: Exception | None, later_s: float, times: int
) -> None:
    async def scene() -> None:
        stage = Stage(completes=True)
        assert stage.companions is not None
        stage.companions.found.problem = problem
        await stage.give(AMD)
        stage.clock.pass_s(later_s)
        await stage.give(AMD)
        assert len(stage.companions.asked) == times

    run_scene(scene())


def test_the_log_says_what_could_not_be_completed() -> None:
    async def scene() -> None:
        stage = Stage(completes=True)
        assert stage.companions is not None
        stage.companions.found.problem = refusal(503, message="it is away")
        await stage.give(AMD)
        name = f"docker.io/library/nginx@{digest_of(AMD)}"
        assert stage.log.events == [("complete_failed", {"image": name, "problem": "it is away"})]

    run_scene(scene())


def test_what_waits_to_be_completed_takes_no_place_of_layers() -> None:
    async def scene() -> None:
        stage = Stage(completes=True)
        assert stage.companions is not None
        stage.companions.gate.clear()
        for number in range(WAITING // 2):
            await stage.give(image(f"image {number}", 0))
        await stage.give(image("many", WAITING - 2))
        await turns(WAITING)
        assert len(stage.filled) == WAITING // 2 + WAITING - 1
        stage.companions.gate.set()
        await turns(WAITING)

    run_scene(scene())


def test_no_more_images_than_layers_wait_to_be_completed() -> None:
    async def scene() -> None:
        stage = Stage(fetches_layers=False, completes=True)
        assert stage.companions is not None
        stage.companions.gate.clear()
        for number in range(WAITING + 5):
            await stage.give(image(f"image {number}", 0))
        stage.companions.gate.set()
        await turns(5 * WAITING)
        assert len(stage.companions.asked) == WAITING

    run_scene(scene())
