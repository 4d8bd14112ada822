"""Blobs from the cache of a shell that never reads them, as far as that may answer.

The shell keeps whole blobs by upstream, repository and digest, once they were verified. A caller gets one when the
upstream confirmed the caller's right to the repository within the last minutes (rights.py), or confirms it now with
a HEAD. Ranges and heads always come from the upstream. Not here: where and how blobs are kept (ports.BlobCache).
"""

from dataclasses import replace
from functools import partial

from hubferry.core.http import Request, get
from hubferry.ports import BlobCache
from hubferry.pull.answer import Answer, Trail
from hubferry.pull.blob_answers import identity
from hubferry.pull.proofs import Proofs
from hubferry.pull.rights import Right, Rights, repository_of
from hubferry.pull.streamed_blobs import Stream
from hubferry.pull.target import Target

MAX_BYTES = 64 * 2**20  # a copy that is being kept may wait in memory for a slow client


class CachedBlobs:
    """Answers requests for blobs."""

    def __init__(self, cache: BlobCache, rights: Rights, *, proofs: Proofs, stream: Stream) -> None:
        """`stream` answers without keeping anything: StreamedBlobs.answer."""
        self._cache = cache
        self._rights = rights
        self._proofs = proofs
        self._stream = stream

    async def answer(self, request: Request, target: Target, digest: str, trail: Trail) -> Answer:
        """GET or HEAD of a blob, whole or one range. Raises OciError."""
        if request.method != "GET" or request.header("range") is not None:
            return await self._ask(request, target, digest)
        repository = repository_of(target)
        is_proven = await self._rights.of(target) is Right.PROVEN
        kept = await self._cache.find(repository, digest)
        if kept is None:
            trail.outcome = "miss"
            answer = await self._ask(request, target, digest)
            length = get(answer.headers, "content-length") or ""
            if answer.status != 200 or not length.isdecimal() or int(length) > MAX_BYTES:
                return answer
            if answer.body is None or isinstance(answer.body, bytes):
                raise TypeError("a blob is streamed")
            return replace(answer, body=self._cache.keep(repository, digest, int(length), answer.body))
        trail.outcome = "hit" if is_proven else "revalidated"
        try:
            if not is_proven:
                await self._ask(replace(request, method="HEAD"), target, digest)
        except BaseException:
            await kept.body.close()
            raise
        return Answer(200, identity(digest, kept.size_bytes), kept.body)

    async def _ask(self, request: Request, target: Target, digest: str) -> Answer:
        stream = partial(self._stream, request, target, digest)
        return await self._proofs.ask_now(target, stream, lambda answer: answer.witness)
