"""What a Worker keeps: the ports `Index`, `ContentStore` and `BlobCache` over the Cache API of its data centre.

Keys are URLs below PATH on the host name of the request, because the platform demands that; nothing is ever fetched
from these URLs. Entries disappear when the data centre needs room or when they are too old, so any of them may be
missing at any time.

A blob becomes visible to others only after its copy was read back and hashed. An entry cannot be renamed, and may
disappear before another entry that was put together with it. So each copy has a key of its own, and a separate marker
names the copy that was verified.
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

from hubferry.core.freshness import Timing
from hubferry.core.manifest import MAX_BYTES
from hubferry.core.rights import RIGHT_S
from hubferry.ports.content import CachedBlob
from hubferry.ports.index import ManifestInfo, Repository, TagEntry
from hubferry.ports.upstream import Body
from hubferry.worker.log import Events
from hubferry.worker.messages import js_object
from hubferry.worker.settings import MAX_COPIED_BYTES
from hubferry.worker.transport import StreamBody

PATH = "/.hubferry"
COPYING_S = 600.0  # a copy counts for no longer: when the platform ends its request, nobody notices
NAME_BYTES = 8
PIECE_BYTES = 256 * 1024  # how much is hashed at a time
DIGESTS = {"sha256": "SHA-256", "sha512": "SHA-512"}  # as the runtime names them
CONTENT_S = 7 * 86400
MAX_REMEMBERED = 10_000
MEMORY_BYTES = 4 * 2**20  # of small entries in one isolate
SMALL_BYTES = 64 * 1024
MEMORY_S = 60.0  # for an entry that was read from the cache, which does not say how old it is


@dataclass(frozen=True, slots=True)
class CurrentRequest:
    """The request that is being answered.

    `ctx` is the runtime's context, whose `waitUntil` allows work to go on after the answer. `host` is the host name of
    the request.
    """

    ctx: Any
    host: str


current_request: ContextVar[CurrentRequest] = ContextVar("current_request")


class Memory:
    """Small entries that this isolate has put or read lately, in memory.

    Reading one from the data centre's cache costs half a millisecond. Keys are URLs, as in that cache, so entries of
    different host names are separate.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._size_bytes = 0

    def get(self, key: str) -> bytes | None:
        """Return an entry that has not expired, or None."""
        found = self._entries.get(key)
        if found is None:
            return None
        if time.monotonic() >= found[0]:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return found[1]

    def put(self, key: str, content: bytes, seconds: float) -> None:
        """Remember an entry for that many seconds.

        When all entries take more than MEMORY_BYTES, those that were not used for the longest time are dropped. An
        entry of more than SMALL_BYTES is not remembered.
        """
        self.drop(key)
        if len(content) > SMALL_BYTES:
            return
        self._entries[key] = (time.monotonic() + seconds, content)
        self._size_bytes += len(key) + len(content)
        while self._size_bytes > MEMORY_BYTES:
            self.drop(next(iter(self._entries)))

    def drop(self, key: str) -> None:
        """Remove an entry from this memory, if there is one."""
        found = self._entries.pop(key, None)
        if found is not None:
            self._size_bytes -= len(key) + len(found[1])


class DataCentreCache:
    """The cache of the data centre: entries by key, with `Memory` in front of it."""

    def __init__(self) -> None:
        self._memory = Memory()

    async def match(self, key: str) -> Any:
        """Return the JavaScript `Response` that was put under a key, or None."""
        try:
            found = await js.caches.default.match(_url(key))
        except JsException:
            return None
        return found or None

    async def put(self, key: str, body: Any, seconds: float, size_bytes: int) -> bool:
        """Keep a body for that many seconds. Return whether that was done.

        `body` is bytes or a stream of the runtime, which is used up.
        """
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
        if isinstance(body, bytes):
            self._memory.put(_url(key), body, seconds)
        return True

    async def drop(self, key: str) -> None:
        """Delete an entry from memory and from the cache, if there is one."""
        self._memory.drop(_url(key))
        with contextlib.suppress(JsException):
            await js.caches.default.delete(_url(key))

    async def read(self, key: str) -> bytes | None:
        """Return the bytes of an entry, or None when there is none or it cannot be read."""
        content = self._memory.get(_url(key))
        if content is not None:
            return content
        found = await self.match(key)
        if found is None:
            return None
        try:
            content = bytes((await found.arrayBuffer()).to_bytes())
        except JsException:
            return None
        if self._memory.get(_url(key)) is None:  # a newer value may have been put in the meantime
            self._memory.put(_url(key), content, MEMORY_S)
        return content


class EdgeIndex:
    """The `Index` port. Tags are kept for as long as they may answer; rights are known to this isolate only."""

    def __init__(self, cache: DataCentreCache, timing: Timing) -> None:
        self._cache = cache
        self._timing = timing
        self._rights: OrderedDict[tuple[Repository, str, str], float] = OrderedDict()

    async def tag(self, repository: Repository, tag: str) -> TagEntry | None:
        found = await self._read(_key("tag", repository, tag))
        if found is None:
            return None
        return TagEntry(replace(_described(found), is_held=False), found["confirmed_at"])

    async def put_tag(self, repository: Repository, tag: str, entry: TagEntry) -> None:
        ttl_s = self._timing.ttl_s(repository.upstream, repository.name, tag)
        if ttl_s >= 1:
            said = {**_said(entry.manifest), "confirmed_at": entry.confirmed_at}
            await self._write(_key("tag", repository, tag), said, ttl_s)

    async def manifest(self, repository: Repository, digest: str) -> ManifestInfo | None:
        found = await self._read(_key("manifest", repository, digest))
        return None if found is None else _described(found)

    async def put_manifest(self, repository: Repository, manifest: ManifestInfo) -> None:
        await self._write(_key("manifest", repository, manifest.digest), _said(manifest), CONTENT_S)

    async def right(self, repository: Repository, about: str, who: str) -> float | None:
        """A right that was proven more than RIGHT_S ago has to be proven again."""
        proven_at = self._rights.get((repository, about, who))
        return proven_at if proven_at is not None and time.time() - proven_at < RIGHT_S else None

    async def put_right(
        self,
        repository: Repository,
        about: str,
        who: str,
        proven_at: float,
        *,
        even_if_nothing_kept: bool = False,  # noqa: ARG002
    ) -> None:
        """Rights are in memory; a withdrawal is not remembered, so that any later proof counts."""
        self._rights[repository, about, who] = proven_at
        self._rights.move_to_end((repository, about, who))
        if len(self._rights) > MAX_REMEMBERED:
            self._rights.popitem(last=False)

    async def withdraw_right(self, repository: Repository, about: str, who: str) -> bool:
        """The right is withdrawn in this isolate only."""
        return self._rights.pop((repository, about, who), None) is not None

    async def forget_right(self, repository: Repository, about: str, who: str, *, only_empty: bool = False) -> None:  # noqa: ARG002
        self._rights.pop((repository, about, who), None)

    def withdrawals(self) -> int:
        """Always 0, because withdrawals in other isolates do not become known here."""
        return 0

    async def _read(self, key: str) -> dict[str, Any] | None:
        content = await self._cache.read(key)
        return None if content is None else json.loads(content)

    async def _write(self, key: str, said: dict[str, object], seconds: float) -> None:
        content = json.dumps(said).encode()
        await self._cache.put(key, content, seconds, len(content))


class EdgeStore:
    """The `ContentStore` port over the data centre's cache."""

    def __init__(self, cache: DataCentreCache) -> None:
        self._cache = cache

    async def read(self, digest: str, limit_bytes: int = MAX_BYTES) -> bytes | None:
        """The entry is read whole before its size is checked: entries were bounded when put."""
        content = await self._cache.read(f"/content/{digest}")
        return None if content is None or len(content) > limit_bytes else content

    async def write(self, digest: str, content: bytes) -> None:
        """Never raises: content that cannot be kept is not kept."""
        await self._cache.put(f"/content/{digest}", content, CONTENT_S, len(content))

    def touch(self, digest: str) -> None:
        """Nothing to do: the data centre itself knows what was used last."""


class EdgeBlobs:
    """The `BlobCache` port over the data centre's cache."""

    def __init__(self, cache: DataCentreCache, max_copied_bytes: int) -> None:
        """Blobs of more than `max_copied_bytes` are not kept, because hashing the copy takes too long."""
        self._cache = cache
        self._max_copied_bytes = max_copied_bytes
        self._copying: dict[str, tuple[float, int]] = {}  # name of a copy -> when it began, its size in bytes

    async def find(self, repository: Repository, digest: str) -> CachedBlob | None:
        key = _key("blob", repository, digest)
        marker = await self._cache.read(key)
        if marker is None:
            return None
        name, _, size = marker.decode().partition(" ")
        found = await self._cache.match(f"{key}/{name}")
        return None if found is None else CachedBlob(int(size), StreamBody("cache", found))

    def keep(self, repository: Repository, digest: str, size_bytes: int, body: Body) -> Body:
        if not isinstance(body, StreamBody) or digest.partition(":")[0] not in DIGESTS:
            return body
        copy = body.split() if self._has_room(size_bytes) else None
        if copy is not None:
            name = str(js.crypto.getRandomValues(js.Uint8Array.new(NAME_BYTES)).to_bytes().hex())
            self._copying[name] = (time.monotonic(), size_bytes)
            keeping = asyncio.ensure_future(self._keep(repository, digest, size_bytes, name, copy))
            current_request.get().ctx.waitUntil(keeping)  # without this the runtime would end the task with the answer
        return body

    def _has_room(self, size_bytes: int) -> bool:
        if size_bytes > self._max_copied_bytes:
            return False
        now = time.monotonic()
        self._copying = {name: one for name, one in self._copying.items() if now - one[0] < COPYING_S}
        return sum(size for _, size in self._copying.values()) + size_bytes <= MAX_COPIED_BYTES

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
    """Return the digest of a stream, computed by the runtime; empty when the stream breaks off."""
    hashing = js.crypto.DigestStream.new(DIGESTS[algorithm])
    try:
        if hasattr(js.ReadableStreamBYOBReader.prototype, "readAtLeast"):
            await _pour(stream, hashing)
        else:
            await stream.pipeTo(hashing)
        return f"{algorithm}:{(await hashing.digest).to_bytes().hex()}"
    except JsException:
        return ""


async def _pour(stream: Any, sink: Any) -> None:
    """Write all of a stream to a sink in large pieces.

    `pipeTo` passes on 4 KiB at a time, which takes five times the CPU time.
    """
    reader, writer = stream.getReader(js_object({"mode": "byob"})), sink.getWriter()
    buffer = js.Uint8Array.new(PIECE_BYTES)
    while True:
        piece = await reader.readAtLeast(PIECE_BYTES, buffer)
        if piece.value and piece.value.byteLength:
            await writer.write(piece.value)
            buffer = js.Uint8Array.new(piece.value.buffer)
        if piece.done:
            await writer.close()
            return


def _url(key: str) -> str:
    return f"https://{current_request.get().host}{PATH}{key}"


def _key(kind: str, repository: Repository, reference: str) -> str:
    return f"/{kind}/{quote(repository.upstream)}/{quote(repository.name)}/{quote(reference, safe=':')}"


def _said(manifest: ManifestInfo) -> dict[str, object]:
    return {"digest": manifest.digest, "media_type": manifest.media_type, "size_bytes": manifest.size_bytes}


def _described(said: dict[str, Any]) -> ManifestInfo:
    return ManifestInfo(said["digest"], said["media_type"], said["size_bytes"], is_held=True)
