"""Blobs from the cache of a shell that never reads them, as far as that may answer.

The shell keeps whole blobs by upstream, repository and digest, once they were verified. A caller gets one when the
upstream confirmed the caller's right to the repository within the last minutes (rights.py), or confirms it now with
a HEAD. Ranges and heads always come from the upstream. Not here: where blobs are kept (ports.content.BlobCache).
"""

from dataclasses import replace

from hubferry.core.rights import Right
from hubferry.ports.content import BlobCache
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import BlobQuery, BlobResult, BlobSource, Outcome
from hubferry.pull.rights import repository_of
from hubferry.remote.target import Target


class EdgeCachedBlobs:
    """A BlobSource that answers from a BlobCache, and keeps copies there of what it fetches."""

    def __init__(self, cache: BlobCache, proofs: Proofs, streamed: BlobSource) -> None:
        """`streamed` gives what is not kept."""
        self._cache = cache
        self._rights = proofs.rights
        self._proofs = proofs
        self._streamed = streamed

    async def find(self, target: Target, query: BlobQuery) -> BlobResult:
        if not query.wants_body or query.byte_range is not None:
            return await self._ask(target, query)
        repository = repository_of(target)
        is_proven = await self._rights.of(target) is Right.PROVEN
        kept = await self._cache.find(repository, query.digest)
        if kept is None:
            found = await self._ask(target, query)
            if found.part is not None or found.size_bytes is None or found.body is None:
                return found
            copied = self._cache.keep(repository, query.digest, found.size_bytes, found.body)
            return replace(found, outcome=Outcome("miss"), body=copied)
        try:
            if not is_proven:
                await self._ask(target, replace(query, wants_body=False))
        except BaseException:
            await kept.body.close()
            raise
        return BlobResult(kept.size_bytes, Outcome("hit" if is_proven else "revalidated"), kept.body)

    async def _ask(self, target: Target, query: BlobQuery) -> BlobResult:
        return await self._proofs.ask_now(
            target, lambda: self._streamed.find(target, query), lambda found: found.answered_by
        )
