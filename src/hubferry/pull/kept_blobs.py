"""Blobs from what is kept, or on its way to be kept.

    stored or being filled   caller's right and repository's holding known
    yes                      yes                                        served without asking     hit | miss
    yes                      no                                         HEAD, then served         revalidated | miss
    no                       -        HEAD                              HEAD, nothing downloaded  miss
    no                       -        GET                               filled; its GET proves    miss

Whatever many ask at the same moment is asked once. A Range far ahead of the fill is fetched on its own, by a few
clients of a blob at a time; the others wait for the fill. What cannot be kept is streamed (bypass), from the answer
to the one request that was to fill it, and also from where the disk failed on.
A refusal (401, 403) withdraws the right at once. Not here: what the upstream is asked (blob_source.py).
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from hubferry.core.http import Request
from hubferry.core.ranges import ByteRange
from hubferry.ports import (
    Blob,
    BlobAnswer,
    BlobIndex,
    BlobStore,
    EventLog,
    Fetched,
    Fills,
    InFile,
    Readable,
    StoreFailure,
)
from hubferry.pull.answer import Answer, Trail
from hubferry.pull.blob_answers import BINARY, asked_range, identity, place_range, refuse_range
from hubferry.pull.blob_source import BlobSource, Proven
from hubferry.pull.fetch import Fetcher
from hubferry.pull.kept_bodies import GoingOn, Noticed, Part, Spare
from hubferry.pull.manifests import unusable
from hubferry.pull.proofs import Proofs
from hubferry.pull.rights import Rights, repository_of
from hubferry.pull.streamed_blobs import Stream
from hubferry.pull.target import Target, Witness

FAR_AHEAD_BYTES = 8 * 2**20
MAX_SKIPPED_BYTES = 2**20  # of an answer that is there: less than another request costs
MAX_AHEAD = 2  # separate fetches of one blob at a time
NOBODYS = Request("GET", "", "", (), "http", "", "")
MAX_ROUNDS = 3  # a fill may fail between its beginning and its first reader


class KeptBlobs:
    """Answers requests for blobs."""

    def __init__(
        self,
        fetcher: Fetcher,
        index: BlobIndex,
        store: BlobStore,
        fills: Fills,
        rights: Rights,
        *,
        proofs: Proofs,
        stream: Stream,
        log: EventLog,
    ) -> None:
        """`stream` answers without keeping anything: StreamedBlobs.answer."""
        self._fetcher = fetcher
        self._index = index
        self._store = store
        self._fills = fills
        self._rights = rights
        self._stream = stream
        self._log = log
        self._proofs = proofs
        self._ahead: Counter[tuple[str, str]] = Counter()

    async def answer(self, request: Request, target: Target, digest: str, trail: Trail) -> Answer:
        """GET or HEAD of a blob, whole or one range. Raises OciError."""
        source = BlobSource(self._fetcher, target, digest)
        ask = _Ask(request, target, digest, trail, source, asked_range(request, digest))
        try:
            return await self._answer(ask)
        finally:
            await ask.spare.close()

    async def _answer(self, ask: "_Ask") -> Answer:
        request, target, digest, trail = ask.request, ask.target, ask.digest, ask.trail
        is_proven = await self._is_proven(ask)
        held_bytes = await self._index.blob(repository_of(target), digest)
        was_filled = False
        for _ in range(MAX_ROUNDS):
            blob = await self._store.open(digest, held_bytes)
            trail.outcome = "miss" if blob is None else "hit" if is_proven else "revalidated"
            blob = blob or await self._fills.visit(target.origin.name, digest)
            try:
                if blob is not None and not is_proven:
                    # whoever asks while the fill begins waited for it above: its answer is theirs
                    if not await self._proofs.joined(target, ("fill", digest)) and not await self._is_proven(ask):
                        await self._prove(ask)
                    is_proven = True
                if request.method == "HEAD" and (blob is None or blob.size_bytes is None):
                    proven = await self._prove(ask)
                    return Answer(200, identity(digest, proven.size_bytes, proven.media_type or BINARY))
                if blob is not None:
                    return await self._deliver(ask, blob)
            finally:
                if blob is not None:
                    blob.close()
            try:
                was_filled = await self._fill(ask) or was_filled
                is_proven = is_proven or was_filled
            except StoreFailure as failure:
                trail.problem = str(failure)
                self._log.warning("store_failed", {"upstream": target.origin.name, "problem": trail.problem})
                return await self._pass_through(ask)
        if not was_filled:  # a file that is there and cannot be used, nor removed
            return await self._pass_through(ask)
        raise unusable(ask.source.asked, "every attempt to fetch it broke off or gave other bytes")

    async def fill(self, target: Target, digest: str) -> None:
        """Have a blob kept of this repository, and wait for the end of that. Raises OciError, StoreFailure.

        One that is kept of another repository is only asked about: it may be given once this one is seen to hold it.
        """
        ask = _Ask(NOBODYS, target, digest, Trail(), BlobSource(self._fetcher, target, digest), None)
        blob = await self._store.open(digest)
        if blob is None:
            await self._fill(ask)
            return await self._fills.ended(target.origin.name, digest)
        blob.close()
        if not await self._is_proven(ask):
            await self._prove(ask)
        return None

    async def _deliver(self, ask: "_Ask", blob: Blob) -> Answer:
        size_bytes = blob.size_bytes
        if ask.byte_range is None or size_bytes is None:  # a server may ignore a Range, and without a size has to
            lines = identity(ask.digest, size_bytes)
            return Answer(200, lines, self._body(ask, blob, 0, None) if ask.request.method == "GET" else None)
        part = place_range(ask.byte_range, size_bytes)
        if part is None:
            raise refuse_range(ask.source.asked, size_bytes)
        if part.first - blob.front_bytes > FAR_AHEAD_BYTES and self._ahead[ask.key] < MAX_AHEAD:
            return await self._fetch_ahead(ask)
        lines = identity(ask.digest, part.length)
        lines += (("content-range", f"bytes {part.first}-{part.last}/{size_bytes}"),)
        return Answer(206, lines, self._body(ask, blob, part.first, part.last + 1))

    def _body(self, ask: "_Ask", blob: Blob, start: int, end: int | None) -> GoingOn:
        body = cast("InFile", blob.body(start, end))

        async def fetch(start: int, end: int | None = None) -> Fetched:
            return await self._proofs.ask_now(
                ask.target, lambda: ask.source.fetch(start, end), lambda _: ask.source.witness
            )

        return GoingOn(body, start, end, fetch, ask.trail)

    async def _fetch_ahead(self, ask: "_Ask") -> Answer:
        """A range that the fill will not reach soon, streamed past it; over when the client has it or leaves."""
        self._ahead[ask.key] += 1

        def is_over() -> None:
            self._ahead[ask.key] -= 1
            if not self._ahead[ask.key]:
                del self._ahead[ask.key]

        try:
            answer = await self._pass_through(ask)
        except BaseException:
            is_over()
            raise
        if answer.body is None or isinstance(answer.body, bytes):
            is_over()
            return answer
        return replace(answer, body=Noticed(cast("Readable", answer.body), is_over))

    async def _pass_through(self, ask: "_Ask") -> Answer:
        ask.trail.outcome = "bypass"
        if ask.spare.is_there:
            # before it is taken: whoever is cancelled here must not leave it open
            await self._rights.note(ask.target, may=True, witness=ask.source.witness)
        fetched = ask.spare.take()
        if fetched is not None and (answer := await self._hand_on(ask, fetched)) is not None:
            return answer
        stream = partial(self._stream, ask.request, ask.target, ask.digest)
        return await self._proofs.ask_now(ask.target, stream, lambda answer: answer.witness)

    async def _hand_on(self, ask: "_Ask", fetched: BlobAnswer) -> Answer | None:
        """An answer of the upstream that could not be kept; None, and closed, when it begins elsewhere."""
        size_bytes, start, end = fetched.size_bytes, 0, None
        lines = identity(ask.digest, size_bytes)
        status = 200
        if ask.byte_range is not None and size_bytes is not None:
            part = place_range(ask.byte_range, size_bytes)
            if part is None:
                await fetched.body.close()
                raise refuse_range(ask.source.asked, size_bytes)
            status, start, end = 206, part.first, part.last + 1
            lines = identity(ask.digest, part.length)
            lines += (("content-range", f"bytes {part.first}-{part.last}/{size_bytes}"),)
        if not 0 <= start - fetched.start_bytes <= MAX_SKIPPED_BYTES:
            await fetched.body.close()
            return None
        return Answer(status, lines, Part(fetched, start, end))

    async def _is_proven(self, ask: "_Ask") -> bool:
        held = await self._index.blob(repository_of(ask.target), ask.digest)
        return held is not None and await self._rights.may(ask.target)

    async def _prove(self, ask: "_Ask") -> Proven:
        async def prove() -> Proven:
            proven = await ask.source.prove()
            if proven.size_bytes is not None:
                await self._index.put_blob(repository_of(ask.target), ask.digest, proven.size_bytes)
            return proven

        return await self._proofs.once(ask.target, ("prove", ask.digest), prove, lambda proven: proven.witness)

    async def _fill(self, ask: "_Ask") -> bool:
        """See Fills.start; whoever asks with the same credential meanwhile waits for the same answer."""

        async def fill() -> bool:
            source = ask.source
            is_proven = await self._fills.start(
                *ask.key, source.fetch, source.gave_wrong, ask.spare.offer, address=ask.request.peer
            )
            if not is_proven:
                return False
            # a small one may be complete by now
            blob = await self._fills.visit(*ask.key) or await self._store.open(ask.digest)
            if blob is not None:
                if blob.size_bytes is not None:
                    await self._index.put_blob(repository_of(ask.target), ask.digest, blob.size_bytes)
                blob.close()
            return True

        def witness(is_proven: bool) -> Witness | None:
            return ask.source.witness if is_proven else None

        return await self._proofs.once(ask.target, ("fill", ask.digest), fill, witness)


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request for a blob."""

    request: Request
    target: Target
    digest: str
    trail: Trail
    source: BlobSource
    byte_range: ByteRange | None
    spare: Spare = field(default_factory=Spare)

    @property
    def key(self) -> tuple[str, str]:
        """What a fill is known by."""
        return self.target.origin.name, self.digest
