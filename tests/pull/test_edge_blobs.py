"""Blobs from the cache of a shell that never reads them: who may have which, and what the upstream is asked."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast

import pytest

from hubferry.core.access import Credential
from hubferry.core.errors import OciError
from hubferry.core.http import get
from hubferry.core.redirect import Trust
from hubferry.core.rights import RIGHT_S
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.gateway.answer import AccessRecord, Answer
from hubferry.gateway.responses import blob_answer
from hubferry.ports.content import CachedBlob
from hubferry.ports.index import Repository
from hubferry.ports.upstream import Body
from hubferry.pull.edge_blobs import EdgeCachedBlobs
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import Outcome
from hubferry.pull.streamed import StreamedBlobs
from hubferry.remote.single_flight import NoSharing
from hubferry.remote.target import Target, Upstream
from tests.gateway.fakes import HUB, FakeBody, FakeClock, FakeResponse, ScriptedUpstream, blob_request, build_fetcher
from tests.pull.test_blobs import MemoryIndex, build_rights

DIGEST = "sha256:" + "a" * 64
REPOSITORY = Repository("docker.io", "library/nginx")
URL = f"{HUB}/v2/library/nginx/blobs/{DIGEST}"
ALICE = Credential("alice", "s3cret")


@dataclass
class Copied:
    """What the cache hands on in place of a body that it keeps a copy of."""

    body: Body

    async def close(self) -> None:
        await self.body.close()


class MemoryCache:
    """The `BlobCache` port; what is kept is there at once."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[Repository, str], bytes] = {}
        self.given: list[FakeBody] = []

    async def find(self, repository: Repository, digest: str) -> CachedBlob | None:
        found = self.blobs.get((repository, digest))
        if found is None:
            return None
        self.given.append(FakeBody(found))
        return CachedBlob(len(found), self.given[-1])

    def keep(self, repository: Repository, digest: str, size_bytes: int, body: Body) -> Body:
        self.blobs[repository, digest] = cast("FakeBody", body).data
        assert size_bytes == len(self.blobs[repository, digest])
        return Copied(body)


class Stage:
    """EdgeCachedBlobs in front of a scripted Docker Hub that asks nobody for a token."""

    def __init__(self) -> None:
        self.upstream = ScriptedUpstream()
        self.clock = FakeClock()
        self.cache = MemoryCache()
        settings = resolve([SettingsSource("test", {"upstreams": {"only": True, "docker.io": {}}})])
        self.docker_hub = Upstream("docker.io", settings.upstreams["docker.io"], Trust())
        content = StreamedBlobs(build_fetcher(self.upstream, self.clock, NoSharing()))
        rights = build_rights(MemoryIndex(), self.clock)
        proofs = Proofs(rights, NoSharing(), self.clock)
        self.blobs = EdgeCachedBlobs(self.cache, proofs, content)
        self.found = Outcome("")

    async def ask(self, *lines: tuple[str, str], method: str = "GET", who: Credential | None = None) -> Answer:
        query = blob_request(DIGEST, *lines, method=method).blob_query()
        found = await self.blobs.find(Target(self.docker_hub, "library/nginx", who), query)
        self.found = found.outcome
        return blob_answer(DIGEST, found, AccessRecord())

    def gives(self, data: bytes = b"a blob", status: int = 200, method: str = "GET", length: int | None = None) -> None:
        size = len(data) if length is None else length
        self.upstream.on(method, URL, FakeResponse(status, (("content-length", str(size)),), data))

    @property
    def asked(self) -> list[str]:
        return [sent.method for sent in self.upstream.sent]


def run(play: Coroutine[Any, Any, None]) -> None:
    asyncio.run(play)


def test_a_blob_is_kept_as_it_passes_and_given_again_without_asking() -> None:
    async def play() -> None:
        stage = Stage()
        stage.gives()
        first = await stage.ask()
        assert stage.found.name == "miss"
        assert isinstance(first.body, Copied)
        second = await stage.ask()
        assert (stage.found.name, second.status, get(second.headers, "content-length")) == ("hit", 200, "6")
        assert get(second.headers, "docker-content-digest") == DIGEST
        assert cast("FakeBody", second.body).data == b"a blob"
        assert stage.asked == ["GET"]

    run(play())


def test_another_caller_is_proven_first() -> None:
    async def play() -> None:
        stage = Stage()
        stage.gives()
        await stage.ask()
        stage.gives(method="HEAD")
        answer = await stage.ask(who=ALICE)
        assert (stage.found.name, answer.status, stage.asked) == ("revalidated", 200, ["GET", "HEAD"])
        await stage.ask(who=ALICE)
        assert stage.asked == ["GET", "HEAD"], "a right holds for some minutes"
        stage.clock.pass_s(RIGHT_S + 1)
        stage.gives(method="HEAD")
        await stage.ask(who=ALICE)
        assert stage.asked == ["GET", "HEAD", "HEAD"]

    run(play())


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_whom_the_upstream_refuses_gets_nothing_from_the_cache(status: int) -> None:
    async def play() -> None:
        stage = Stage()
        stage.cache.blobs[REPOSITORY, DIGEST] = b"private"
        stage.gives(b"", status=status, method="HEAD")
        with pytest.raises(OciError) as refusal:
            await stage.ask(who=ALICE)
        assert refusal.value.status in (status, 404)
        assert [body.closed for body in stage.cache.given] == [1]

    run(play())


def test_what_another_repository_holds_is_not_given() -> None:
    async def play() -> None:
        stage = Stage()
        stage.cache.blobs[Repository("docker.io", "alice/private"), DIGEST] = b"private"
        stage.gives(b"", status=404)
        with pytest.raises(OciError):
            await stage.ask()
        assert stage.cache.given == []

    run(play())


def test_blobs_of_unknown_length_and_ranges_only_pass_through() -> None:
    async def play() -> None:
        stage = Stage()
        stage.upstream.on("GET", URL, FakeResponse(200, (), b"a blob"))
        assert isinstance((await stage.ask()).body, FakeBody)
        stage.upstream.on("GET", URL, FakeResponse(206, (("content-range", "bytes 2-5/6"),), b"blob"))
        answer = await stage.ask(("range", "bytes=2-"))
        assert (answer.status, stage.cache.blobs) == (206, {})

    run(play())


def test_a_head_always_asks() -> None:
    async def play() -> None:
        stage = Stage()
        stage.gives()
        await stage.ask()
        stage.gives(method="HEAD")
        answer = await stage.ask(method="HEAD")
        assert (answer.status, answer.body, stage.asked) == (200, None, ["GET", "HEAD"])

    run(play())
