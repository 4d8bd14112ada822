"""Images as one file: what is asked for it, every part of it, and what breaks it off."""

import asyncio
import tarfile
from collections.abc import Sequence
from io import BytesIO
from typing import Any, cast

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.platforms import Platform
from hubferry.core.ranges import ByteRange
from hubferry.ports.content import Region
from hubferry.ports.index import ManifestInfo
from hubferry.ports.upstream import UpstreamFailure
from hubferry.pull.export import MAX_DEPTH, Exporter, ExportItem, ExportPlan
from hubferry.pull.pull import Pull
from hubferry.pull.results import BlobQuery, BlobResult, ManifestQuery, ManifestResult, Outcome, OutcomeName
from hubferry.remote.target import Target
from tests.pull.fakes import ALICE, DOCKER_HUB, EVERYBODY, Pieces, digest_of
from tests.support.images import DOCKER, Image, Index, build_artifact, build_image, build_index

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
CLIENT = "192.0.2.1"
INDEX = build_index("nginx", flavour=DOCKER, layer_sizes=(2000, 600))


class InFilePieces(Pieces):
    """A body of which all but the first piece are in a file."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data[:100])
        self.left = data[100:]

    async def next_region(self) -> Region | None:
        region = Region(7, 100, len(self.left)) if self.left and not self._pieces else None
        self.left = b"" if region else self.left
        return region


class Source:
    """A `Pull` of some images, which notes what it is asked."""

    def __init__(self, *images: Image | Index) -> None:
        self.manifests = {digest: one for image in images for digest, one in image.manifests.items()}
        self.tags = {"1.27": images[0].digest}
        self.blobs = {digest: blob.data for image in images for digest, blob in image.blobs.items()}
        self.outcomes: dict[str, OutcomeName] = {}
        self.asked: list[tuple[Target, object]] = []
        self.bodies: list[Pieces] = []
        self.begun: list[tuple[str, str]] = []
        self.says_size = self.obeys_ranges = True

    async def manifest(self, target: Target, query: ManifestQuery) -> ManifestResult:
        self.asked.append((target, query))
        digest = self.tags.get(query.reference, query.reference)
        if digest not in self.manifests:
            raise OciError(404, Code.MANIFEST_UNKNOWN, "unknown")
        media_type, content = self.manifests[digest]
        info = ManifestInfo(digest, media_type, len(content))
        return ManifestResult(info, content if query.wants_content else None, Outcome("hit"))

    async def manifest_given(self, target: Target, digest: str, content: bytes, client: str) -> None:  # noqa: ARG002
        self.begun.append((digest, client))

    async def blob(self, target: Target, query: BlobQuery) -> BlobResult:
        self.asked.append((target, query))
        if query.digest not in self.blobs:
            raise OciError(404, Code.BLOB_UNKNOWN, f"{query.digest} is unknown")
        data = self.blobs[query.digest]
        size, part = len(data), None
        if query.byte_range is not None and self.obeys_ranges:
            part = query.byte_range.within(len(data))
            assert part is not None
            data = data[part.first : part.last + 1]
        body = Pieces(data[:-1], data[-1:])
        self.bodies.append(body)
        outcome = Outcome(self.outcomes.get(query.digest, "hit"))
        return BlobResult(size if self.says_size else None, outcome, body, part)


def item(
    reference: str = "1.27", platforms: tuple[Platform, ...] | None = (AMD64,), target: Target = EVERYBODY
) -> ExportItem:
    return ExportItem(target, reference, "docker.io/library/nginx", "1.27", platforms)


def planned(source: Source, *items: ExportItem, **how: Any) -> ExportPlan:
    return asyncio.run(Exporter(cast("Pull", source)).plan(items or (item(),), CLIENT, **how))


async def _read(plan: ExportPlan, start: int, end: int) -> bytes:
    body, found = plan.body(start, end), b""
    try:
        while (piece := await body.read()) is not None:
            found += piece
    finally:
        await body.close()
    return found


def read(plan: ExportPlan, start: int = 0, end: int | None = None) -> bytes:
    return asyncio.run(_read(plan, start, plan.size_bytes if end is None else end))


def names_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=BytesIO(data)) as opened:
        return opened.getnames()


def path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def test_the_length_is_known_before_a_layer_is_asked_for() -> None:
    source = Source(INDEX)
    plan = planned(source)
    assert [type(query) for _, query in source.asked] == [ManifestQuery] * 2
    whole = read(plan)
    assert len(whole) == plan.size_bytes
    image = INDEX.image("amd64")
    assert names_in(whole)[3:] == [path(digest) for digest in (INDEX.digest, image.digest, *image.blobs)]
    assert all(body.closed == 1 for body in source.bodies)


def test_every_part_is_that_part_of_the_whole() -> None:
    source = Source(INDEX)
    plan = planned(source)
    whole = read(plan)
    for start in range(0, plan.size_bytes, 701):
        for end in (start + 1, start + 513, start + 2500, plan.size_bytes):
            assert read(plan, start, min(end, plan.size_bytes)) == whole[start:end]
    assert all(body.closed == 1 for body in source.bodies)


@pytest.mark.parametrize("obeys_ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_part_of_a_layer_is_asked_for_by_range(obeys_ranges: bool) -> None:
    source = Source(INDEX)
    plan = planned(source)
    whole = read(plan)
    source.asked.clear()
    source.obeys_ranges = source.says_size = obeys_ranges
    layer = INDEX.image("amd64").layers[0]
    at = whole.index(layer.data)
    assert read(plan, at + 10, at + 20) == layer.data[10:20]
    ((_, query),) = source.asked
    assert query == BlobQuery(layer.digest, ByteRange(10, 19), client=CLIENT)


def test_equal_orders_have_equal_etags_and_other_orders_others() -> None:
    source = Source(INDEX)
    plan = planned(source)
    assert plan.etag == planned(source, item(INDEX.digest)).etag
    others = [item(platforms=(ARM64,)), item(platforms=(ARM64, AMD64)), item(platforms=None)]
    assert len({plan.etag, *(planned(source, one).etag for one in others)}) == 4


def test_a_client_that_begins_has_its_layers_fetched_ahead() -> None:
    source = Source(INDEX)
    planned(source, wants_body=False)
    assert source.begun == []
    planned(source)
    assert source.begun == [(INDEX.digest, CLIENT), (INDEX.image("amd64").digest, CLIENT)]


def test_a_layer_is_asked_for_in_the_name_of_who_may_have_its_image() -> None:
    base = build_image("base", layer_sizes=(10,))
    images = [build_image(f"above-{number}", base=base, layer_sizes=(10,)) for number in range(2)]
    source = Source(*images)
    targets = [Target(DOCKER_HUB, "alice/app", ALICE), Target(DOCKER_HUB, "bob/app")]
    items = [item(image.digest, target=target) for image, target in zip(images, targets, strict=True)]
    read(planned(source, *items))
    asked = {query.digest: target for target, query in source.asked if isinstance(query, BlobQuery)}
    assert asked[base.layers[0].digest] == targets[0]
    assert asked[images[1].layers[-1].digest] == targets[1]
    assert [query.digest for _, query in source.asked if isinstance(query, BlobQuery)] == list(asked)


def test_all_of_an_index_includes_its_attestations() -> None:
    source = Source(INDEX)
    statement = build_artifact()
    source.blobs |= {digest: blob.data for digest, blob in statement.blobs.items()}
    entry = f'{{"digest":"{statement.digest}","size":9,"platform":{{"os":"unknown","architecture":"unknown"}}}},'
    index = INDEX.manifest.replace(b'"manifests": [', b'"manifests": [' + entry.encode())
    source.manifests |= {**statement.manifests, digest_of(index): (DOCKER.index, index)}
    names = names_in(read(planned(source, item(digest_of(index), None))))
    assert path(statement.digest) in names
    assert names.index(path(statement.digest)) > names.index(path(INDEX.image("arm64").digest))
    assert path(statement.digest) not in names_in(read(planned(source, item(digest_of(index), (AMD64, ARM64)))))


def test_a_platform_that_is_not_there_is_named() -> None:
    with pytest.raises(
        OciError, match=r"1\.27 is not there for linux/s390x: it is for linux/amd64, linux/arm64"
    ) as refused:
        planned(Source(INDEX), item(platforms=(AMD64, Platform("linux", "s390x"))))
    assert refused.value.status == 404


def nested(depth: int) -> Source:
    """Indexes within indexes."""
    source, inner = Source(INDEX), INDEX.manifest
    for _ in range(depth):
        inner = f'{{"manifests": [{{"digest": "{digest_of(inner)}", "size": {len(inner)}}}]}}'.encode()
        source.manifests[digest_of(inner)] = (OCI_INDEX, inner)
    source.tags["1.27"] = digest_of(inner)
    return source


def test_indexes_of_indexes_have_a_bound() -> None:
    assert len(planned(nested(MAX_DEPTH - 1)).images[0].manifests) == MAX_DEPTH + 1
    with pytest.raises(OciError, match="nested more than 3 deep"):
        planned(nested(MAX_DEPTH))


def test_an_image_that_cannot_be_in_a_file_is_refused() -> None:
    source = Source(INDEX)
    source.manifests[INDEX.digest] = ("application/vnd.docker.distribution.manifest.v1+json", b'{"fsLayers": []}')
    with pytest.raises(OciError, match=r"nginx:1\.27 cannot be given as a file: .*schema 1") as refused:
        planned(source)
    assert refused.value.status == 400


def broken_off(source: Source, plan: ExportPlan) -> str:
    with pytest.raises(UpstreamFailure) as failed:
        read(plan)
    assert all(body.closed == 1 for body in source.bodies)
    return str(failed.value)


def test_a_layer_that_cannot_be_had_breaks_the_file_off() -> None:
    source = Source(INDEX)
    plan = planned(source)
    del source.blobs[INDEX.image("amd64").layers[1].digest]
    assert "is unknown" in broken_off(source, plan)


@pytest.mark.parametrize("says_size", [True, False], ids=["said", "not said"])
@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"], ids=["shorter", "longer"])
def test_a_layer_of_another_length_breaks_the_file_off(change: Any, says_size: bool) -> None:
    source = Source(INDEX)
    plan = planned(source)
    source.says_size = says_size
    layer = INDEX.image("amd64").layers[1].digest
    source.blobs[layer] = change(source.blobs[layer])
    assert "not as long as its manifest says" in broken_off(source, plan)


OUTCOMES: list[tuple[Sequence[OutcomeName], OutcomeName]] = [
    (("hit", "hit"), "hit"),
    (("hit", "miss"), "miss"),
    (("miss", "revalidated"), "miss"),
    (("bypass", "miss"), "bypass"),
]


@pytest.mark.parametrize(("found", "expected"), OUTCOMES, ids=["+".join(found) for found, _ in OUTCOMES])
def test_the_outcome_is_that_of_the_layer_that_was_found_worst(
    found: Sequence[OutcomeName], expected: OutcomeName
) -> None:
    source = Source(INDEX)
    layers = INDEX.image("amd64").layers
    source.outcomes = {layer.digest: name for layer, name in zip(layers, found, strict=True)}
    plan = planned(source)
    read(plan)
    assert plan.outcome.name == expected


def test_kept_layers_are_given_as_parts_of_files_and_stay_open_until_the_next() -> None:
    source = Source(build_image("one", layer_sizes=(3000,)))
    plan = planned(source)

    async def blob(target: Target, query: BlobQuery) -> BlobResult:
        body = InFilePieces(source.blobs[query.digest])
        source.bodies.append(body)
        return BlobResult(len(source.blobs[query.digest]), Outcome("hit"), body)

    source.blob = blob  # type: ignore[method-assign]

    async def scene() -> None:
        body, at = plan.body(0, plan.size_bytes), 0
        while True:
            region = await body.next_region()
            if region is not None:
                assert source.bodies[-1].closed == 0
                at += region.size_bytes
                continue
            piece = await body.read()
            if piece is None:
                break
            at += len(piece)
        assert at == plan.size_bytes
        await body.close()

    asyncio.run(scene())
    assert [body.closed for body in source.bodies] == [1, 1]


def test_a_body_that_is_closed_early_gives_nothing_more() -> None:
    source = Source(INDEX)
    plan = planned(source)

    async def scene() -> None:
        body = plan.body(0, plan.size_bytes)
        while not source.bodies:
            await body.read()
        await body.close()
        await body.close()
        assert await body.read() is None

    asyncio.run(scene())
    assert [body.closed for body in source.bodies] == [1]


def test_manifests_are_in_memory_until_the_first_layer() -> None:
    padding = {"padding": "x" * (3 * 2**20)}
    large = build_image("large", annotations=padding)
    source = Source(large)
    exporter = Exporter(cast("Pull", source))
    one = item(large.digest)

    async def plan(client: str) -> ExportPlan:
        return await exporter.plan([one], client)

    async def scene() -> None:
        held = [await plan("192.0.2.1") for _ in range(2)]
        with pytest.raises(OciError) as refused:
            await plan("192.0.2.1")
        assert refused.value.status == 503
        held[0].drop()
        body = held[1].body(2 * 2**20, held[1].size_bytes)
        await plan("192.0.2.1")
        with pytest.raises(OciError):
            await plan("192.0.2.1")
        while not source.bodies:
            await body.read()
        last = (await plan("192.0.2.1")).body(0, 1)
        with pytest.raises(OciError):
            await plan("192.0.2.1")
        await last.close()
        await plan("192.0.2.1")

    asyncio.run(scene())
