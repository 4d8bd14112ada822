"""What of a repository is kept, in each of the three ways: never what only another repository is known to hold."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from hubferry.core.manifest import OCI_IMAGE
from hubferry.ports.content import CachedBlob
from hubferry.ports.index import ManifestInfo, Repository, TagEntry
from hubferry.ports.upstream import TooLarge
from hubferry.pull.kept import AtEdge, NothingKept, OnDisk
from hubferry.pull.services import DiskCache, EdgeCache
from hubferry.pull.small_bodies import body_reader
from hubferry.store.blobs import FileBlobs
from hubferry.store.content import FileStore
from tests.gateway.fakes import FakeBody, FakeResponse, ScriptedUpstream
from tests.pull.fakes import NGINX, KeptIndex, MemoryStore, Pieces, digest_of

OTHER = Repository("docker.io", "library/redis")
MANIFEST, BLOB = b'{"a": 1}', b"a blob"
INFO = ManifestInfo(digest_of(MANIFEST), OCI_IMAGE, len(MANIFEST), is_held=True)


def play(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


def test_on_disk_content_is_kept_if_its_file_is_there_and_the_repository_holds_it(tmp_path: Path) -> None:
    async def scene() -> None:
        store, blobs, index = FileStore(tmp_path), FileBlobs(tmp_path), KeptIndex()
        kept = OnDisk(DiskCache(index, store, blobs, cast("Any", None)))
        began = time.time()
        for content in (MANIFEST, BLOB):
            await store.write(digest_of(content), content)
        for content in (MANIFEST, BLOB):
            assert await kept.since(NGINX, digest_of(content)) is None
        await index.put_manifest(NGINX, INFO)
        await index.put_blob(NGINX, digest_of(BLOB), len(BLOB))
        for content in (MANIFEST, BLOB):
            since = await kept.since(NGINX, digest_of(content))
            assert since is not None
            assert began - 2 <= since <= time.time() + 2
            assert await kept.since(OTHER, digest_of(content)) is None
        assert await kept.manifest(NGINX, INFO.digest) == MANIFEST
        assert await kept.manifest(OTHER, INFO.digest) is None
        await index.put_tag(NGINX, "1", TagEntry(INFO, 7.0))
        assert await kept.tag(NGINX, "1") == TagEntry(INFO, 7.0)
        assert await kept.tags_of(NGINX) == {"1": TagEntry(INFO, 7.0)}
        blobs.path(digest_of(BLOB)).unlink()
        assert await kept.since(NGINX, digest_of(BLOB)) is None
        await blobs.close()

    play(scene())


class EdgeBlobs:
    """A `BlobCache` of one blob."""

    def __init__(self) -> None:
        self.body = FakeBody(BLOB)

    async def find(self, repository: Repository, digest: str) -> CachedBlob | None:
        is_there = (repository, digest) == (NGINX, digest_of(BLOB))
        return CachedBlob(len(BLOB), self.body) if is_there else None


def test_at_the_edge_what_is_kept_can_be_asked_one_by_one() -> None:
    async def scene() -> None:
        store, blobs, index = MemoryStore(), EdgeBlobs(), KeptIndex()
        kept = AtEdge(EdgeCache(index, store, cast("Any", blobs)))
        store.content[INFO.digest] = MANIFEST
        assert await kept.since(NGINX, INFO.digest) is None
        await index.put_manifest(NGINX, INFO)
        await index.put_tag(NGINX, "1", TagEntry(INFO, 7.0))
        assert await kept.since(NGINX, INFO.digest) == 0
        assert await kept.since(NGINX, digest_of(BLOB)) == 0
        assert blobs.body.closed == 1
        assert await kept.since(OTHER, digest_of(BLOB)) is None
        assert await kept.manifest(NGINX, INFO.digest) == MANIFEST
        assert await kept.tag(NGINX, "1") == TagEntry(INFO, 7.0)
        assert await kept.tags_of(NGINX) == {}

    play(scene())


def test_without_a_cache_nothing_is_kept() -> None:
    async def scene() -> None:
        kept = NothingKept()
        assert await kept.since(NGINX, INFO.digest) is None
        assert await kept.manifest(NGINX, INFO.digest) is None
        assert await kept.tag(NGINX, "1") is None
        assert await kept.tags_of(NGINX) == {}

    play(scene())


def test_a_small_body_is_read_to_its_end_and_closed() -> None:
    async def scene() -> None:
        read = body_reader(ScriptedUpstream())
        body = Pieces(b"ab", b"cd")
        assert await read(body, 4) == b"abcd"
        assert body.closed == 1
        body = Pieces(b"ab", b"cd")
        with pytest.raises(TooLarge):
            await read(body, 3)
        assert body.closed == 1

    play(scene())


def test_a_stream_that_python_does_not_read_is_read_by_its_transport() -> None:
    class Runtime(ScriptedUpstream):
        async def read(self, response: Any, limit_bytes: int) -> bytes:
            return await super().read(FakeResponse(200, (), response.body.data), limit_bytes)

    async def scene() -> None:
        assert await body_reader(Runtime())(FakeBody(b"abcd"), 4) == b"abcd"

    play(scene())
