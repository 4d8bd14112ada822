"""In-memory parts behind the ports of pull/: an index of everything, a store, and targets of Docker Hub.

Nothing here touches a disk. Upstreams are scripted by tests/gateway/fakes.py.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from hubferry.core.access import Credential, Identities
from hubferry.core.errors import Code, OciError
from hubferry.core.http import get
from hubferry.core.redirect import Trust
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.ports.content import StoreFailure
from hubferry.ports.index import ListEntry, ManifestInfo, Repository, TagEntry
from hubferry.pull.results import Absent, ManifestQuery, ManifestResult
from hubferry.pull.rights import Revision, Rights
from hubferry.remote.target import Target, Upstream
from tests.gateway.fakes import FakeBody, FakeClock, FakeResponse, ScriptedUpstream
from tests.pull.test_blobs import MemoryIndex

ALICE = Credential("alice", "s3cret")
BOB = Credential("bob", "s3cret")
ACCOUNT = Credential("gateway", "own")
NGINX = Repository("docker.io", "library/nginx")
PUBLIC_TTL_S = 3600.0
MIRROR = "https://mirror.example"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def upstream_of(*, mirrors: tuple[str, ...] = (), accounts: tuple[Credential, ...] = ()) -> Upstream:
    """Docker Hub, as a configuration has it."""
    table: Mapping[str, Any] = {"upstreams": {"only": True, "docker.io": {"mirrors": list(mirrors)}}}
    settings = resolve([SettingsSource("test", table)])
    return Upstream("docker.io", settings.upstreams["docker.io"], Trust(), accounts)


DOCKER_HUB = upstream_of()
EVERYBODY = Target(DOCKER_HUB, "library/nginx")
OF_ALICE = Target(DOCKER_HUB, "library/nginx", ALICE)
OF_BOB = Target(DOCKER_HUB, "library/nginx", BOB)


def refusal(status: int, code: Code = Code.UNKNOWN, message: str = "refused by the script") -> OciError:
    return OciError(status, code, message)


class KeptIndex(MemoryIndex):
    """The whole `BlobIndex` port in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[tuple[Repository, str], TagEntry] = {}
        self.manifests: dict[tuple[Repository, str], ManifestInfo] = {}
        self.lists: dict[tuple[Repository, str], ListEntry] = {}
        self.listed: set[tuple[Repository, str]] = set()  # by kept lists of referrers
        self.withdrawn = 0

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        was_there = await super().withdraw_right(repository, about, who)
        self.withdrawn += was_there
        return was_there

    def withdrawals(self) -> int:
        return self.withdrawn

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        return self.tags.get((repository, tag))

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        self.tags[repository, tag] = entry

    async def manifest(self, repository: Repository, digest: str) -> ManifestInfo | None:
        return self.manifests.get((repository, digest))

    async def put_manifest(self, repository: Repository, manifest: ManifestInfo) -> None:
        self.manifests[repository, manifest.digest] = manifest

    async def is_tagged(self, repository: Repository, digest: str) -> bool:
        return any(where == repository and one.manifest.digest == digest for (where, _), one in self.tags.items())

    async def tags_of(self, repository: Repository) -> dict[str, TagEntry]:
        return {tag: entry for (where, tag), entry in self.tags.items() if where == repository}

    async def is_listed(self, repository: Repository, digest: str) -> bool:
        return (repository, digest) in self.listed

    async def list_entry(self, repository: Repository, name: str) -> ListEntry | None:
        return self.lists.get((repository, name))

    async def drop_list(self, repository: Repository, name: str) -> None:
        self.lists.pop((repository, name), None)

    async def put_list(self, repository: Repository, name: str, subject: str, entry: ListEntry) -> None:  # noqa: ARG002
        self.lists[repository, name] = entry


class MemoryStore:
    """The `ContentStore` port; `is_full` makes it refuse what is new."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.touched: list[str] = []
        self.is_full = False

    async def read(self, digest: str, limit_bytes: int = 2**22) -> bytes | None:
        found = self.content.get(digest)
        return None if found is None or len(found) > limit_bytes else found

    async def write(self, digest: str, content: bytes) -> None:
        if self.is_full:
            raise StoreFailure("the disk is full")
        self.content[digest] = content

    def touch(self, digest: str) -> None:
        self.touched.append(digest)


def rights_over(index: MemoryIndex, clock: FakeClock, *, believes_mirrors: bool = True) -> Rights:
    """Rights whose public ones last PUBLIC_TTL_S."""
    return Rights(
        cast("Any", index),
        clock,
        Revision(cast("Any", index).withdrawals if isinstance(index, KeptIndex) else lambda: 0),
        identities=Identities(b"key"),
        public_ttl_s=PUBLIC_TTL_S,
        believes_mirrors=believes_mirrors,
    )


class ScriptedManifests:
    """A `ManifestSource` that gives what the test says, and notes what it is asked."""

    def __init__(self, *replies: ManifestResult | Absent | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[ManifestQuery] = []

    async def find(self, target: Target, query: ManifestQuery) -> ManifestResult | Absent:  # noqa: ARG002
        assert self.replies, f"unexpected question: {query}"
        self.asked.append(query)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply


class Pieces(FakeBody):
    """A body that gives these pieces, one by one; an exception among them is raised."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        super().__init__(b"".join(piece for piece in pieces if isinstance(piece, bytes)))
        self._pieces = list(pieces)

    async def read(self) -> bytes | None:
        piece = self._pieces.pop(0) if self._pieces else None
        if isinstance(piece, Exception):
            raise piece
        return piece


def asked_of(upstream: ScriptedUpstream) -> list[str]:
    """What an upstream was asked, as `GET tags/list`: method, and the path below the repository."""
    return [f"{sent.method} {sent.url.partition('/v2/library/nginx/')[2]}" for sent in upstream.sent]


def accepts_sent(upstream: ScriptedUpstream) -> list[str | None]:
    return [get(sent.headers, "accept") for sent in upstream.sent]


def image_manifest(media_type: str, *, number: int = 0) -> bytes:
    """A manifest of an image without layers, of which there is one for each number."""
    config = {"digest": f"sha256:{number:064x}", "size": number, "mediaType": "application/json"}
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": []}).encode()


def given(data: bytes, media_type: str, *lines: tuple[str, str]) -> FakeResponse:
    """What an upstream answers for a manifest, also to a HEAD."""
    said = (
        ("content-length", str(len(data))),
        ("content-type", media_type),
        ("docker-content-digest", digest_of(data)),
    )
    return FakeResponse(200, (*said, *lines), data)


def assert_all_closed_once(upstream: ScriptedUpstream) -> None:
    """Assert that every script was used up, and every body of an answer closed exactly once."""
    assert upstream.unused() == [], "expected requests that did not come"
    assert [response.body.closed for response in upstream.responses] == [1] * len(upstream.responses)
