"""Blobs through store and fill: who may have which, what the upstream is asked, and every kind of range."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from hubferry.core.access import Credential, Identities
from hubferry.core.errors import OciError
from hubferry.core.http import Headers, get
from hubferry.core.redirect import Trust
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.fill.bounds import Effort
from hubferry.fill.fills import LocalFills
from hubferry.gateway.answer import AccessRecord
from hubferry.gateway.responses import BINARY, blob_answer
from hubferry.ports.content import StoreFailure
from hubferry.ports.fills import FillOrder
from hubferry.ports.index import Repository
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.blobs import KeptBlobs
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import Outcome
from hubferry.pull.rights import Revision, Rights
from hubferry.pull.services import DiskCache
from hubferry.pull.streamed import StreamedBlobs
from hubferry.remote.single_flight import SharedTasks
from hubferry.remote.target import Target, Upstream
from hubferry.store.blobs import FileBlobs
from hubferry.store.index import SqliteIndex
from hubferry.store.partial import PartialFile
from tests.fill.fakes import MIB, content, digest_of, read_all
from tests.gateway.fakes import HUB, FakeClock, FakeLog, FakeResponse, ScriptedUpstream, blob_request, build_fetcher
from tests.support.scenes import run_scene

SMALL = b"a blob"
BIG = content(20 * MIB)
ALICE = Credential("alice", "s3cret")


class SlowBody:
    """What FakeBody is, readable; waits at `gate` once half is given."""

    def __init__(self, data: bytes, gate: asyncio.Event | None) -> None:
        self._data = data
        self._gate = gate
        self._at = 0
        self.closed = 0

    async def read(self) -> bytes | None:
        await asyncio.sleep(0)
        if self._gate is not None and self._at >= len(self._data) // 2:
            await self._gate.wait()
        piece = self._data[self._at : self._at + 100_000]
        self._at += len(piece)
        return piece or None

    async def close(self) -> None:
        self.closed += 1


def response(status: int, data: bytes = b"", *lines: tuple[str, str], gate: asyncio.Event | None = None) -> Any:
    made = FakeResponse(status, (("content-length", str(len(data))), *lines), data)
    made.body = SlowBody(data, gate)  # type: ignore[assignment]
    return made


class MemoryIndex:
    """What rights and blobs need of the index. A right that was withdrawn is one again when it is proven again."""

    def __init__(self) -> None:
        self.rights: dict[tuple[Repository, str, str], float] = {}
        self.blobs: dict[tuple[Repository, str], int] = {}
        self.named: set[tuple[Repository, str]] = set()  # by manifests that repositories hold

    async def right(self, repository: Repository, about: str, who: str) -> float | None:
        return self.rights.get((repository, about, who))

    async def put_right(
        self,
        repository: Repository,
        about: str,
        who: str,
        proven_at: float,
        *,
        even_if_nothing_kept: bool = False,  # noqa: ARG002
    ) -> None:
        self.rights[repository, about, who] = proven_at

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        return self.rights.pop((repository, about, who), None) is not None

    async def forget_right(self, repository: Repository, about: str, who: str, *, only_empty: bool = False) -> None:
        if not only_empty or not any(where == repository for where, _ in self.blobs):
            self.rights.pop((repository, about, who), None)

    async def blob(self, repository: Repository, digest: str) -> int | None:
        return self.blobs.get((repository, digest))

    async def put_blob(self, repository: Repository, digest: str, size_bytes: int) -> None:
        self.blobs[repository, digest] = size_bytes

    async def parent_of(self, repository: Repository, digest: str) -> str | None:
        return "sha256:index" if (repository, digest) in self.named else None

    async def origins(self, digest: str) -> set[str]:
        return {repository.upstream for repository, kept in self.blobs if kept == digest}


def build_rights(index: MemoryIndex, clock: FakeClock) -> Rights:
    """Rights whose public ones last an hour."""
    return Rights(cast("Any", index), clock, Revision(), identities=Identities(b"key"), public_ttl_s=3600.0)


class Stage:
    """KeptBlobs over a real store and real fills, in front of a scripted Docker Hub."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upstream = ScriptedUpstream()
        self.log = FakeLog()
        self.index = MemoryIndex()
        settings = resolve([SettingsSource("test", {"upstreams": {"only": True, "docker.io": {}}})])
        self.docker_hub = Upstream("docker.io", settings.upstreams["docker.io"], Trust())
        self.clock = FakeClock()
        fetcher = build_fetcher(self.upstream, self.clock, SharedTasks())
        self.store = FileBlobs(folder)
        self.fills = LocalFills(self.store, self.log, effort=Effort(connections=1))  # also where the machine is busy
        rights = build_rights(self.index, self.clock)
        index = cast("Any", self.index)
        self.blobs = KeptBlobs(
            fetcher,
            DiskCache(index, cast("Any", None), self.store, self.fills),
            Proofs(rights, SharedTasks(), self.clock),
            StreamedBlobs(fetcher),
            self.clock,
        )
        self.found = Outcome("")

    @property
    def outcome(self) -> str:
        return self.found.name

    async def ask(
        self, digest: str, *lines: tuple[str, str], method: str = "GET", repository: str = "library/nginx",
        credential: Credential | None = None,
    ) -> tuple[int, Headers, Any]:  # fmt: skip
        query = blob_request(digest, *lines, method=method).blob_query()
        found = await self.blobs.find(Target(self.docker_hub, repository, credential), query)
        self.found = found.outcome
        answer = blob_answer(digest, found, AccessRecord())
        return answer.status, answer.headers, answer.body

    async def heard(self, digest: str, *lines: tuple[str, str], **how: Any) -> tuple[int, Headers, bytes]:
        status, headers, body = await self.ask(digest, *lines, **how)
        data = b"" if body is None else await read_all(body)
        length = get(headers, "content-length")
        assert body is None or length is None or int(length) == len(data)
        return status, headers, data

    async def settled(self) -> None:
        while running := [task for _, task in self.fills._running.values()]:
            await asyncio.wait(running)
            await asyncio.sleep(0)

    async def keep_for_nginx_and_name_in_redis(self) -> None:
        """SMALL is here by way of one repository, and a manifest of another one names it."""
        self.holds(SMALL)
        await self.heard(digest_of(SMALL))
        await self.settled()
        self.index.named.add((REDIS, digest_of(SMALL)))

    def holds(self, data: bytes, repository: str = "library/nginx") -> str:
        """A URL of the script that gives a blob once."""
        url = url_of(data, repository)
        self.upstream.on("GET", url, response(200, data))
        return url


def url_of(data: bytes, repository: str = "library/nginx") -> str:
    return f"{HUB}/v2/{repository}/blobs/{digest_of(data)}"


def play(stage: Stage, scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene, stage.fills.close)
    assert stage.upstream.unused() == []
    assert all(one.body.closed for one in stage.upstream.responses)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_cold_blob_costs_one_get_and_a_warm_one_nothing(stage: Stage) -> None:
    digest = digest_of(SMALL)

    async def scene() -> None:
        stage.holds(SMALL)
        status, headers, data = await stage.heard(digest)
        assert (status, data, stage.outcome) == (200, SMALL, "miss")
        await stage.settled()
        for _ in range(2):
            status, again, data = await stage.heard(digest)
            assert (status, again, data, stage.outcome) == (200, headers, SMALL, "hit")
        status, again, data = await stage.heard(digest, method="HEAD")
        assert (status, again, data, stage.outcome) == (200, headers, b"", "hit")
        assert dict(headers) == {
            "content-type": "application/octet-stream",
            "content-length": str(len(SMALL)),
            "docker-content-digest": digest,
            "etag": f'"{digest}"',
            "accept-ranges": "bytes",
        }

    play(stage, scene())


def test_a_fill_that_is_over_before_its_first_reader_was_a_miss(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, start = digest_of(SMALL), stage.fills.start

    async def start_and_end(order: FillOrder) -> object:
        begun = await start(order)
        await stage.settled()
        return begun

    monkeypatch.setattr(stage.fills, "start", start_and_end)

    async def scene() -> None:
        stage.holds(SMALL)
        for outcome in ("miss", "hit"):
            status, _, data = await stage.heard(digest)
            assert (status, data, stage.outcome) == (200, SMALL, outcome)

    play(stage, scene())


def test_who_has_no_right_yet_has_a_named_blob_fetched_once_more_and_kept_for_all(stage: Stage) -> None:
    """It is here by way of another repository: whether it is must not be told by what it costs."""
    digest = digest_of(SMALL)

    async def scene() -> None:
        await stage.keep_for_nginx_and_name_in_redis()
        stage.holds(SMALL, "library/redis")
        status, _, data = await stage.heard(digest, repository="library/redis")
        assert (status, data, stage.outcome) == (200, SMALL, "miss")
        await stage.settled()
        for _ in range(2):
            status, _, data = await stage.heard(digest, repository="library/redis")
            assert (status, data, stage.outcome) == (200, SMALL, "hit")

    play(stage, scene())


def test_a_head_of_a_cold_blob_downloads_nothing(stage: Stage) -> None:
    async def scene() -> None:
        url = url_of(SMALL)
        stage.upstream.on("HEAD", url, FakeResponse(200, (("content-length", "6"), ("content-type", "x/y"))))
        status, headers, _ = await stage.heard(digest_of(SMALL), method="HEAD")
        assert (status, get(headers, "content-length"), get(headers, "content-type")) == (200, "6", BINARY)
        assert stage.outcome == "miss"

    play(stage, scene())


def test_where_there_is_no_head_a_get_is_closed(stage: Stage) -> None:
    async def scene() -> None:
        stage.upstream.on("HEAD", url_of(SMALL), FakeResponse(405))
        stage.holds(SMALL)
        status, headers, _ = await stage.heard(digest_of(SMALL), method="HEAD")
        assert (status, get(headers, "content-length")) == (200, "6")

    play(stage, scene())


REDIS = Repository("docker.io", "library/redis")


def test_another_repository_has_to_prove_that_it_holds_it(stage: Stage) -> None:
    digest = digest_of(SMALL)

    async def scene() -> None:
        await stage.keep_for_nginx_and_name_in_redis()
        stage.index.rights[REDIS, "pull", ""] = stage.clock.time()
        url = url_of(SMALL, "library/redis")
        stage.upstream.on("HEAD", url, FakeResponse(404), FakeResponse(200, (("content-length", "6"),)))
        with pytest.raises(OciError) as caught:
            await stage.heard(digest, repository="library/redis")
        assert caught.value.status == 404
        status, _, data = await stage.heard(digest, repository="library/redis")
        assert (status, data, stage.outcome) == (200, SMALL, "revalidated")
        await stage.heard(digest, repository="library/redis")
        assert stage.outcome == "hit"

    play(stage, scene())


def test_a_head_alone_is_no_proof_that_a_repository_holds_it(stage: Stage) -> None:
    digest = digest_of(SMALL)

    async def scene() -> None:
        stage.holds(SMALL)
        await stage.heard(digest)
        await stage.settled()
        url = url_of(SMALL, "library/redis")
        for name, size in (("content-length", "6"), ("content-type", "application/octet-stream")):
            stage.upstream.on("HEAD", url, FakeResponse(200, ((name, size),)))
            await stage.heard(digest, method="HEAD", repository="library/redis")
        stage.upstream.on("GET", url, FakeResponse(404))
        with pytest.raises(OciError) as caught:
            await stage.heard(digest, repository="library/redis")
        assert caught.value.status == 404
        stage.holds(SMALL, "library/redis")
        assert (await stage.heard(digest, repository="library/redis"))[2] == SMALL
        await stage.settled()
        assert (await stage.heard(digest, repository="library/redis"))[2] == SMALL
        assert stage.outcome == "hit"

    play(stage, scene())


def test_a_manifest_that_names_it_is_no_proof_where_another_upstream_gave_it(stage: Stage) -> None:
    digest = digest_of(SMALL)

    async def scene() -> None:
        stage.index.blobs[Repository("ghcr.io", "alice/secret"), digest] = len(SMALL)
        stage.index.named.add((REDIS, digest))
        stage.index.rights[REDIS, "pull", ""] = stage.clock.time()
        stage.store.path(digest).parent.mkdir(parents=True)
        stage.store.path(digest).write_bytes(SMALL)
        stage.upstream.on("GET", url_of(SMALL, "library/redis"), FakeResponse(404))
        with pytest.raises(OciError) as caught:
            await stage.heard(digest, repository="library/redis")
        assert caught.value.status == 404

    play(stage, scene())


def test_refusing_what_is_kept_for_others_takes_the_disk_what_refusing_anything_takes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the time of a refusal would tell a stranger what is kept of a private repository."""
    opened: list[tuple[str, str]] = []
    open_partial = stage.store.open_partial

    def noting(upstream: str, digest: str) -> PartialFile:
        opened.append((upstream, digest))
        return open_partial(upstream, digest)

    monkeypatch.setattr(stage.store, "open_partial", noting)
    monkeypatch.setattr(stage.store, "open", None)  # of neither is it looked whether it is here

    async def scene() -> None:
        kept, other = digest_of(SMALL), digest_of(BIG)
        stage.index.blobs[Repository("docker.io", "library/nginx"), kept] = len(SMALL)
        stage.upstream.on("HEAD", url_of(SMALL), FakeResponse(401))
        stage.upstream.on("GET", url_of(BIG), FakeResponse(401))
        for digest in (kept, other):
            with pytest.raises(OciError) as caught:
                await stage.heard(digest)
            assert caught.value.status == 401
        await stage.settled()
        (rehearsed, first), second = opened
        assert (first, second) == (kept, ("docker.io", other))
        assert rehearsed != "docker.io", "a fill of the same blob must not meet it"
        assert not any((stage.folder / "partial").iterdir())

    play(stage, scene())


@pytest.mark.parametrize("status", [401, 403])
def test_a_private_blob_is_for_whoever_may_have_it(stage: Stage, status: int) -> None:
    digest = digest_of(SMALL)

    async def scene() -> None:
        url = stage.holds(SMALL)
        await stage.heard(digest, credential=ALICE)
        await stage.settled()
        stage.upstream.on("HEAD", url, FakeResponse(200, (("content-length", str(len(SMALL))),)))
        for outcome in ("revalidated", "hit"):
            _, _, data = await stage.heard(digest, credential=Credential("bob", "x"))
            assert (data, stage.outcome) == (SMALL, outcome)
        stage.upstream.on("HEAD", url, *(FakeResponse(status) for _ in range(3)))
        for who in (None, Credential("mallory", "x")):
            with pytest.raises(OciError) as caught:
                await stage.heard(digest, credential=who)
            assert caught.value.status == status
        await stage.heard(digest, credential=ALICE)
        assert stage.outcome == "hit"
        # and alice, once her right is old, has to prove it again; it was withdrawn
        stage.clock.pass_s(301)
        with pytest.raises(OciError):
            await stage.heard(digest, credential=ALICE)

    play(stage, scene())


def test_a_fill_that_is_running_is_not_for_everybody(stage: Stage) -> None:
    gate = asyncio.Event()
    digest = digest_of(BIG)

    async def scene() -> None:
        stage.upstream.on("GET", url_of(BIG), response(200, BIG, gate=gate))
        _, _, body = await stage.ask(digest, credential=ALICE)
        stage.upstream.on("HEAD", url_of(BIG), FakeResponse(401))
        with pytest.raises(OciError) as caught:
            await stage.ask(digest)
        assert caught.value.status == 401
        gate.set()
        assert await read_all(body) == BIG

    play(stage, scene())


def test_64_clients_of_a_cold_blob_cost_one_fetch(stage: Stage) -> None:
    data = BIG[: 4 * MIB]
    digest = digest_of(data)

    async def scene() -> None:
        stage.holds(data)
        for _, _, heard in await asyncio.gather(*(stage.heard(digest) for _ in range(64))):
            assert heard == data

    play(stage, scene())


RANGES: dict[str, tuple[str, Callable[[bytes], bytes] | None, int]] = {
    "the first byte": ("bytes=0-0", lambda data: data[:1], 206),
    "the middle": ("bytes=5-1000004", lambda data: data[5:1_000_005], 206),
    "an open end": ("bytes=1000000-", lambda data: data[1_000_000:], 206),
    "beyond the end": ("bytes=1-99999999999", lambda data: data[1:], 206),
    "the last bytes": ("bytes=-10", lambda data: data[-10:], 206),
    "more last bytes than there are": ("bytes=-99999999", lambda data: data, 206),
    "none": ("bytes=-0", None, 416),
    "outside": (f"bytes={len(BIG)}-", None, 416),
    "malformed": ("bytes=x", lambda data: data, 200),
    "another unit": ("lines=1-2", lambda data: data, 200),
}


@pytest.mark.parametrize(("value", "part", "status"), RANGES.values(), ids=RANGES.keys())
@pytest.mark.parametrize("warm", [True, False])
def test_ranges(stage: Stage, value: str, part: Callable[[bytes], bytes] | None, status: int, warm: bool) -> None:
    digest = digest_of(BIG)

    async def scene() -> None:
        stage.holds(BIG)
        if warm:
            await stage.heard(digest)
            await stage.settled()
        elif value == "bytes=-10":  # far ahead of the fill: see below
            lines = (("content-range", f"bytes {len(BIG) - 10}-{len(BIG) - 1}/{len(BIG)}"),)
            stage.upstream.on("GET", url_of(BIG), response(206, BIG[-10:], *lines))
        if part is None:
            with pytest.raises(OciError) as caught:
                await stage.heard(digest, ("range", value))
            assert caught.value.status == status
            assert get(caught.value.headers, "content-range") == f"bytes */{len(BIG)}"
            return
        said, headers, data = await stage.heard(digest, ("range", value))
        assert said == status
        assert data == part(BIG)
        if status == 206:
            first = BIG.rindex(data) if value.startswith("bytes=-") else BIG.index(data)
            assert get(headers, "content-range") == f"bytes {first}-{first + len(data) - 1}/{len(BIG)}"

    play(stage, scene())


@pytest.mark.parametrize(("names_it", "status"), [(True, 206), (False, 200)])
def test_if_range(stage: Stage, names_it: bool, status: int) -> None:
    digest = digest_of(SMALL)

    async def scene() -> None:
        stage.holds(SMALL)
        etag = f'"{digest}"' if names_it else '"else"'
        said, _, data = await stage.heard(digest, ("range", "bytes=2-"), ("if-range", etag))
        assert (said, data) == (status, SMALL[2:] if status == 206 else SMALL)

    play(stage, scene())


def test_a_range_far_ahead_is_fetched_on_its_own_by_a_few(stage: Stage) -> None:
    digest, gate = digest_of(BIG), asyncio.Event()
    start = 19 * MIB

    async def scene() -> None:
        stage.upstream.on("GET", url_of(BIG), response(200, BIG, gate=gate))
        _, _, whole = await stage.ask(digest)
        line = ("content-range", f"bytes {start}-{len(BIG) - 1}/{len(BIG)}")
        stage.upstream.on("GET", url_of(BIG), *(response(206, BIG[start:], line) for _ in range(3)))
        await whole.read()
        far = [(await stage.ask(digest, ("range", f"bytes={start}-")), stage.outcome) for _ in range(4)]
        assert [outcome for _, outcome in far] == ["bypass", "bypass", "miss", "miss"]
        # one leaves, and there is room for another
        await far[0][0][2].close()
        assert (await stage.heard(digest, ("range", f"bytes={start}-")))[2] == BIG[start:]
        assert stage.outcome == "bypass"
        gate.set()
        for (status, _, body), _ in far[1:]:
            assert status == 206
            assert await read_all(body) == BIG[start:]
        assert await read_all(whole)
        assert stage.blobs._ahead == {}

    play(stage, scene())


def test_what_cannot_be_kept_is_streamed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreFailure("the disk is full")

    monkeypatch.setattr(stage.store, "open_partial", refuse)

    async def scene() -> None:
        stage.holds(SMALL)
        _, _, data = await stage.heard(digest_of(SMALL))
        assert (data, stage.outcome) == (SMALL, "bypass")
        assert "store_failed" in [event for event, _ in stage.log.events]

    play(stage, scene())


@pytest.mark.parametrize("lines", [(), (("range", f"bytes=100-{12 * MIB}"),)], ids=["whole", "a range"])
def test_a_disk_that_fails_under_a_pull_costs_the_cache_and_not_the_pull(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lines: Headers
) -> None:
    real_write = PartialFile.write

    def write(self: PartialFile, offset: int, pieces: Sequence[bytes]) -> None:
        if offset > 8 * MIB:
            raise StoreFailure("No space left on device")
        real_write(self, offset, pieces)

    monkeypatch.setattr(PartialFile, "write", write)

    async def scene() -> None:
        # the second is asked for the rest, and knows no Range
        stage.upstream.on("GET", url_of(BIG), response(200, BIG), response(200, BIG))
        _, _, data = await stage.heard(digest_of(BIG), *lines)
        assert data == (BIG[100 : 12 * MIB + 1] if lines else BIG)
        assert stage.found.name == "bypass"
        assert stage.found.problem == "No space left on device"

    play(stage, scene())


def test_a_rest_that_is_refused_is_a_cut(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object) -> None:
        raise StoreFailure("No space left on device")

    monkeypatch.setattr(PartialFile, "write", write)

    async def scene() -> None:
        gate = asyncio.Event()  # the fill fails when the body is being read
        stage.upstream.on("GET", url_of(BIG), response(200, BIG, gate=gate), FakeResponse(429))
        _, _, body = await stage.ask(digest_of(BIG))
        gate.set()
        with pytest.raises(UpstreamFailure, match=r"429|limit"):
            await read_all(body)

    play(stage, scene())


REFUSALS: dict[str, tuple[Any, int]] = {
    "not found": (FakeResponse(404), 404),
    "limited": (FakeResponse(429), 429),
    "a web page": (FakeResponse(200, (("content-type", "text/html"),)), 502),
    "encoded": (FakeResponse(200, (("content-encoding", "gzip"),)), 502),
    "unreachable": (UpstreamFailure(Cause.TCP, "registry-1.docker.io"), 503),
}


@pytest.mark.parametrize(("reply", "status"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_the_upstream_says_instead(stage: Stage, reply: Any, status: int) -> None:
    async def scene() -> None:
        if isinstance(reply, FakeResponse):
            stage.upstream.on("GET", url_of(SMALL), FakeResponse(reply.status, reply.headers))
        else:
            stage.upstream.on("GET", url_of(SMALL), reply)
        with pytest.raises(OciError) as caught:
            await stage.heard(digest_of(SMALL))
        assert caught.value.status == status
        await stage.settled()
        stage.clock.pass_s(61)  # what a 429 without Retry-After stands for
        stage.holds(SMALL)
        assert (await stage.heard(digest_of(SMALL)))[2] == SMALL

    play(stage, scene())


def test_a_blob_with_other_bytes_is_never_an_answer(stage: Stage) -> None:
    digest = "sha256:" + hashlib.sha256(b"what was wanted").hexdigest()
    url = f"{HUB}/v2/library/nginx/blobs/{digest}"

    async def scene() -> None:
        for _ in range(4):
            stage.upstream.on("GET", url, response(200, b"something else"))
        for _ in range(2):
            with pytest.raises((OciError, UpstreamFailure)):
                await stage.heard(digest)
        await stage.settled()
        assert await stage.store.open(digest) is None
        stage.upstream._script.clear()

    play(stage, scene())


def test_the_index_of_blobs_outlives_its_process(tmp_path: Path) -> None:
    repository = Repository("docker.io", "library/nginx")

    async def scene() -> None:
        for known in (None, 6):
            index = SqliteIndex(tmp_path, FakeLog())
            assert await index.blob(repository, "sha256:0") == known
            await index.put_blob(repository, "sha256:0", 6)
            assert await index.blob(repository, "sha256:0") == 6
            assert await index.blob(Repository("ghcr.io", "library/nginx"), "sha256:0") is None
            await index.close()

    asyncio.run(scene())
