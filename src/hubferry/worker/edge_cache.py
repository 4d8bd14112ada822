"""What a Worker keeps: the ports `Index`, `ContentStore` and `BlobCache` over the Cache API of its data centre.

Keys are URLs below a path of the host name that a request came for, as the platform wants it; nothing is ever fetched
from them. A blob is there for others once its copy was hashed. What was put cannot be renamed, and may be gone before
what was put with it: so each copy has a key of its own, and a marker names the copy that was found right. Entries go
when the data centre needs room, or when they are old; every part of it may be missing at any time.
"""

import asyncio
import contextlib
import json
import time
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import js
from pyodide.ffi import JsException, to_js

from hubferry.core.manifest import MAX_BYTES
from hubferry.ports import Body, CachedBlob, Described, Repository, TagEntry
from hubferry.pull.kept_manifests import Timing
from hubferry.pull.rights import RIGHT_S
from hubferry.worker.log import Events
from hubferry.worker.messages import js_object
from hubferry.worker.upstream import StreamBody

PATH = "/.hubferry"
COPYING_BYTES = 64 * 2**20  # at a time in one isolate: what a slow client has not read yet waits in memory
COPYING_S = 600.0  # a copy whose request was ended by the platform does not say so
NAME_BYTES = 8
DIGESTS = {"sha256": "SHA-256", "sha512": "SHA-512"}  # as the runtime names them
CONTENT_S = 7 * 86400
MAX_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class UnderWay:
    """The request that is being answered: the runtime's `ctx`, told of what goes on afterwards, and its host name."""

    ctx: Any
    host: str


under_way: ContextVar[UnderWay] = ContextVar("under_way")


class EdgeCache:
    """Entries by key."""

    async def match(self, key: str) -> Any:
        """The `Response` that was put there, or None."""
        try:
            found = await js.caches.default.match(_url(key))
        except JsException:
            return None
        return found or None

    async def put(self, key: str, body: Any, seconds: float, size_bytes: int) -> bool:
        """Keep a body (bytes or a stream) for so long; whether that was done. Takes the stream."""
        headers = {
            "cache-control": f"public, max-age={int(seconds)}",
            "content-type": "application/octet-stream",
            "content-length": str(size_bytes),
        }
        response = js.Response.new(to_js(body) if isinstance(body, bytes) else body, js_object({"headers": headers}))
        try:
            await js.caches.default.put(_url(key), response)
        except JsException as error:
            Events().warning("store_failed", {"problem": str(error)[:200]})
            return False
        return True

    async def drop(self, key: str) -> None:
        """Forget an entry."""
        with contextlib.suppress(JsException):
            await js.caches.default.delete(_url(key))

    async def read(self, key: str) -> bytes | None:
        """The bytes of a small entry."""
        found = await self.match(key)
        if found is None:
            return None
        try:
            return bytes((await found.arrayBuffer()).to_bytes())
        except JsException:
            return None


class EdgeIndex:
    """The `Index` port. Tags last as long as they may answer; who may have what is this isolate's knowledge."""

    def __init__(self, cache: EdgeCache, timing: Timing) -> None:
        self._cache = cache
        self._timing = timing
        self._rights: OrderedDict[tuple[Repository, str, str], float] = OrderedDict()

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        """See ports.Index."""
        found = await self._read(_key("tag", repository, tag))
        if found is None:
            return None
        return TagEntry(replace(_described(found), is_held=False), found["confirmed_at"])

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        """See ports.Index."""
        ttl_s = self._timing.ttl_s(repository.upstream, repository.name, tag)
        if ttl_s >= 1:
            said = {**_said(entry.manifest), "confirmed_at": entry.confirmed_at}
            await self._write(_key("tag", repository, tag), said, ttl_s)

    async def manifest(self, repository: Repository, digest: str) -> Described | None:
        """See ports.Index."""
        found = await self._read(_key("manifest", repository, digest))
        return None if found is None else _described(found)

    async def put_manifest(self, repository: Repository, manifest: Described) -> None:
        """See ports.Index."""
        await self._write(_key("manifest", repository, manifest.digest), _said(manifest), CONTENT_S)

    async def right(self, repository: Repository, about: str, who: str) -> float | None:
        """See ports.Index; what was not confirmed within the last minutes has to be again."""
        proven_at = self._rights.get((repository, about, who))
        return proven_at if proven_at is not None and time.time() - proven_at < RIGHT_S else None

    async def put_right(
        self,
        repository: Repository,
        about: str,
        who: str,
        proven_at: float,
        *,
        is_empty: bool = False,  # noqa: ARG002
    ) -> None:
        """See ports.Index; in memory, where nothing has to be kept of the repository."""
        self._rights[repository, about, who] = proven_at
        self._rights.move_to_end((repository, about, who))
        if len(self._rights) > MAX_REMEMBERED:
            self._rights.popitem(last=False)

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        """See ports.Index; for this isolate."""
        return self._rights.pop((repository, about, who), None) is not None

    async def forget_right(self, repository: Repository, about: str, who: str, *, only_empty: bool = False) -> None:  # noqa: ARG002
        """See ports.Index."""
        self._rights.pop((repository, about, who), None)

    def withdrawals(self) -> int:
        """See ports.Index: there are no others to hear of."""
        return 0

    async def _read(self, key: str) -> dict[str, Any] | None:
        content = await self._cache.read(key)
        return None if content is None else json.loads(content)

    async def _write(self, key: str, said: dict[str, object], seconds: float) -> None:
        content = json.dumps(said).encode()
        await self._cache.put(key, content, seconds, len(content))


class EdgeStore:
    """The `ContentStore` port."""

    def __init__(self, cache: EdgeCache) -> None:
        self._cache = cache

    async def read(self, digest: str, limit_bytes: int = MAX_BYTES) -> bytes | None:
        """See ports.ContentStore; what was put there was read whole, and bounded then."""
        content = await self._cache.read(f"/content/{digest}")
        return None if content is None or len(content) > limit_bytes else content

    async def write(self, digest: str, content: bytes) -> None:
        """See ports.ContentStore; what cannot be kept is not."""
        await self._cache.put(f"/content/{digest}", content, CONTENT_S, len(content))

    def touch(self, digest: str) -> None:
        """See ports.ContentStore: the data centre knows itself what was used last."""


class EdgeBlobs:
    """The `BlobCache` port."""

    def __init__(self, cache: EdgeCache) -> None:
        self._cache = cache
        self._copying: dict[str, tuple[float, int]] = {}  # name of a copy -> since when, bytes

    async def find(self, repository: Repository, digest: str) -> CachedBlob | None:
        """See ports.BlobCache."""
        key = _key("blob", repository, digest)
        marker = await self._cache.read(key)
        if marker is None:
            return None
        name, _, size = marker.decode().partition(" ")
        found = await self._cache.match(f"{key}/{name}")
        return None if found is None else CachedBlob(int(size), StreamBody("cache", found))

    def keep(self, repository: Repository, digest: str, size_bytes: int, body: Body) -> Body:
        """See ports.BlobCache."""
        if not isinstance(body, StreamBody) or digest.partition(":")[0] not in DIGESTS:
            return body
        copy = body.split() if self._has_room(size_bytes) else None
        if copy is not None:
            name = str(js.crypto.getRandomValues(js.Uint8Array.new(NAME_BYTES)).to_bytes().hex())
            self._copying[name] = (time.monotonic(), size_bytes)
            keeping = asyncio.ensure_future(self._keep(repository, digest, size_bytes, name, copy))
            under_way.get().ctx.waitUntil(keeping)  # the runtime ends with the answer what it is not told of
        return body

    def _has_room(self, size_bytes: int) -> bool:
        now = time.monotonic()
        self._copying = {name: one for name, one in self._copying.items() if now - one[0] < COPYING_S}
        return sum(size for _, size in self._copying.values()) + size_bytes <= COPYING_BYTES

    async def _keep(self, repository: Repository, digest: str, size_bytes: int, name: str, copy: Any) -> None:
        key = _key("blob", repository, digest)
        try:
            is_put = await self._cache.put(f"{key}/{name}", copy.body, CONTENT_S, size_bytes)
        finally:
            self._copying.pop(name, None)
        found = await self._cache.match(f"{key}/{name}") if is_put else None
        if found is None:
            return
        got = await _hash(found.body, digest.partition(":")[0])
        if got == digest:
            marker = f"{name} {size_bytes}".encode()
            await self._cache.put(key, marker, CONTENT_S, len(marker))
            return
        where = {"upstream": repository.upstream, "repository": repository.name}
        Events().warning("content_wrong", {**where, "digest": digest, "got": got})
        await self._cache.drop(f"{key}/{name}")


async def _hash(stream: Any, algorithm: str) -> str:
    """The digest of what the cache gives back, made by the runtime; empty when it breaks off."""
    hashing = js.crypto.DigestStream.new(DIGESTS[algorithm])
    try:
        await stream.pipeTo(hashing)
        return f"{algorithm}:{(await hashing.digest).to_bytes().hex()}"
    except JsException:
        return ""


def _url(key: str) -> str:
    return f"https://{under_way.get().host}{PATH}{key}"


def _key(kind: str, repository: Repository, reference: str) -> str:
    return f"/{kind}/{quote(repository.upstream)}/{quote(repository.name)}/{quote(reference, safe=':')}"


def _said(manifest: Described) -> dict[str, object]:
    return {"digest": manifest.digest, "media_type": manifest.media_type, "size_bytes": manifest.size_bytes}


def _described(said: dict[str, Any]) -> Described:
    return Described(said["digest"], said["media_type"], said["size_bytes"], is_held=True)
