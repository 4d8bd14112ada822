"""When nothing is kept: what is asked of the upstream for each question, and that what comes is passed on."""

from collections.abc import Coroutine
from typing import Any

import pytest

from hubferry.core.errors import Code, OciError
from hubferry.core.http import get
from hubferry.core.manifest import OCI_IMAGE
from hubferry.core.ranges import ByteRange, ContentRange
from hubferry.core.tags import Page
from hubferry.pull.results import BlobQuery, ManifestQuery, Outcome
from hubferry.pull.streamed import StreamedBlobs, StreamedLists, StreamedManifests
from hubferry.remote.lists import RemoteLists, tags_query
from hubferry.remote.manifests import RemoteManifests
from hubferry.remote.single_flight import NoSharing
from hubferry.remote.target import Target
from tests.gateway.fakes import HUB, FakeClock, FakeResponse, ScriptedUpstream, build_fetcher
from tests.pull.fakes import (
    EVERYBODY,
    MIRROR,
    asked_of,
    assert_all_closed_once,
    digest_of,
    given,
    image_manifest,
    upstream_of,
)
from tests.support.scenes import run_scene

MANIFEST = image_manifest(OCI_IMAGE)
BLOB = "sha256:" + "a" * 64
BYPASS = Outcome("bypass")


class Stage:
    def __init__(self) -> None:
        self.upstream = ScriptedUpstream()
        fetcher = build_fetcher(self.upstream, FakeClock(), NoSharing())
        self.manifests = StreamedManifests(RemoteManifests(fetcher, self.upstream))
        self.blobs = StreamedBlobs(fetcher)
        self.lists = StreamedLists(RemoteLists(fetcher, self.upstream))

    def on(self, asked: str, *replies: FakeResponse, base: str = HUB) -> None:
        method, _, path = asked.partition(" ")
        self.upstream.on(method, f"{base}/v2/library/nginx/{path}", *replies)


def play(stage: Stage, scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene)
    assert_all_closed_once(stage.upstream)


# --- manifests -------------------------------------------------------------------------------------------

HEAD, GET = "HEAD manifests/1", "GET manifests/1"
UNTOLD = FakeResponse(200, (("content-type", OCI_IMAGE),)).headers
MANIFESTS: dict[str, tuple[bool, dict[str, FakeResponse], bool]] = {
    # name: is the content wanted, what the upstream is asked -> whether the content is there
    "its content": (True, {GET: given(MANIFEST, OCI_IMAGE)}, True),
    "what it is": (False, {HEAD: FakeResponse(200, given(MANIFEST, OCI_IMAGE).headers)}, False),
    "what it is, and a HEAD tells another type": (
        False, {HEAD: FakeResponse(200, given(MANIFEST, "text/html").headers), GET: given(MANIFEST, OCI_IMAGE)}, True,
    ),
    "what it is, and a HEAD does not tell": (
        False, {HEAD: FakeResponse(200, UNTOLD), GET: given(MANIFEST, OCI_IMAGE)}, True,
    ),
    "what it is, and there is no HEAD": (False, {HEAD: FakeResponse(405), GET: given(MANIFEST, OCI_IMAGE)}, True),
}  # fmt: skip


@pytest.mark.parametrize(("wants", "script", "is_there"), MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_is_asked_for_as_the_client_accepts_it(
    wants: bool, script: dict[str, FakeResponse], is_there: bool
) -> None:
    stage = Stage()

    async def scene() -> None:
        for asked, reply in script.items():
            stage.on(asked, reply)
        found = await stage.manifests.find(EVERYBODY, ManifestQuery("1", "a/b, c/d", wants_content=wants))
        assert (found.info.digest, found.info.media_type) == (digest_of(MANIFEST), OCI_IMAGE)
        assert found.content == (MANIFEST if is_there else None)
        assert (found.outcome, found.reusable_s) == (BYPASS, 0.0)
        assert asked_of(stage.upstream) == list(script)
        assert {get(sent.headers, "accept") for sent in stage.upstream.sent} == {"a/b, c/d"}

    play(stage, scene())


@pytest.mark.parametrize("wants", [True, False])
@pytest.mark.parametrize(("status", "ours"), [(401, 401), (403, 403), (404, 404), (429, 429), (500, 502)])
def test_a_manifest_that_is_refused_is_refused(status: int, ours: int, wants: bool) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on(GET if wants else HEAD, FakeResponse(status))
        with pytest.raises(OciError) as caught:
            await stage.manifests.find(EVERYBODY, ManifestQuery("1", wants_content=wants))
        assert caught.value.status == ours

    play(stage, scene())


# --- blobs -----------------------------------------------------------------------------------------------

BLOBS: dict[str, tuple[BlobQuery, str, FakeResponse, int | None, ContentRange | None]] = {
    # name: asked, what the upstream is asked, what it answers -> size, part
    "all of it": (BlobQuery(BLOB), "GET", FakeResponse(200, (("content-length", "9"),)), 9, None),
    "of unknown size": (BlobQuery(BLOB), "GET", FakeResponse(200), None, None),
    "its size": (
        BlobQuery(BLOB, wants_body=False), "HEAD", FakeResponse(200, (("content-length", "9"),)), 9, None,
    ),
    "a range": (
        BlobQuery(BLOB, ByteRange(2, 5)), "GET", FakeResponse(206, (("content-range", "bytes 2-5/9"),)),
        9, ContentRange(2, 5, 9),
    ),
    "a range, and the upstream knows none": (
        BlobQuery(BLOB, ByteRange(2, 5)), "GET", FakeResponse(200, (("content-length", "9"),)), 9, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BLOBS)
def test_a_blob_is_passed_on_with_its_body_open(case: str) -> None:
    query, method, reply, size_bytes, part = BLOBS[case]
    stage = Stage()

    async def scene() -> None:
        stage.on(f"{method} blobs/{BLOB}", reply)
        found = await stage.blobs.find(EVERYBODY, query)
        assert (found.size_bytes, found.part, found.outcome) == (size_bytes, part, BYPASS)
        assert found.answered_by == "upstream"
        assert found.body is (reply.body if query.wants_body else None)
        assert reply.body.closed == (0 if query.wants_body else 1)
        if found.body is not None:
            await found.body.close()
        ranged = get(stage.upstream.sent[0].headers, "range")
        assert ranged == (None if query.byte_range is None else "bytes=2-5")

    play(stage, scene())


REFUSED: dict[str, tuple[FakeResponse, int]] = {
    "404": (FakeResponse(404), 404),
    "416": (FakeResponse(416), 416),
    "500": (FakeResponse(500), 502),
    "a web page": (FakeResponse(200, (("content-type", "text/html"),)), 502),
    "another range": (FakeResponse(206, (("content-range", "bytes 0-1/9"),)), 502),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_blob_that_is_none_is_refused_and_closed(case: str) -> None:
    reply, status = REFUSED[case]
    stage = Stage()

    async def scene() -> None:
        stage.on(f"GET blobs/{BLOB}", reply)
        with pytest.raises(OciError) as caught:
            await stage.blobs.find(EVERYBODY, BlobQuery(BLOB, ByteRange(2, 5)))
        assert caught.value.status == status

    play(stage, scene())


def test_it_is_said_that_a_mirror_gave_a_blob() -> None:
    stage = Stage()
    target = Target(upstream_of(mirrors=(MIRROR,)), "library/nginx", may_use_mirrors=True)

    async def scene() -> None:
        stage.on(f"GET blobs/{BLOB}", FakeResponse(503))
        stage.on(f"GET blobs/{BLOB}", FakeResponse(200), base=MIRROR)
        found = await stage.blobs.find(target, BlobQuery(BLOB))
        assert (found.answered_by, found.outcome) == ("mirror", BYPASS)
        assert found.body is not None
        await found.body.close()

    play(stage, scene())


# --- lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_there", [True, False])
def test_a_list_or_its_absence_is_passed_on(is_there: bool) -> None:
    stage = Stage()

    async def scene() -> None:
        body = b'{"name":"library/nginx","tags":["1"]}'
        stage.on("GET tags/list?n=2", FakeResponse(200, (), body) if is_there else FakeResponse(404))
        found = await stage.lists.find(EVERYBODY, tags_query(Page(2, "")))
        assert found.outcome == BYPASS
        if is_there:
            assert (found.content.body, found.content.absence) == (body, None)
        else:
            assert found.content.absence is not None
            assert found.content.absence.code is Code.NAME_UNKNOWN

    play(stage, scene())


@pytest.mark.parametrize(("status", "ours"), [(401, 401), (403, 403), (429, 429), (500, 502)])
def test_a_list_that_is_refused_is_refused(status: int, ours: int) -> None:
    stage = Stage()

    async def scene() -> None:
        stage.on("GET tags/list", FakeResponse(status))
        with pytest.raises(OciError) as caught:
            await stage.lists.find(EVERYBODY, tags_query(Page(None, "")))
        assert caught.value.status == ours

    play(stage, scene())
