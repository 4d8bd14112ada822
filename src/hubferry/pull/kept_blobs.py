"""Blobs from what is kept, or on its way to be kept.

    caller's right   the repository holds it     here, or on its way   the upstream is asked      outcome
    proven           yes                         yes                   no                         hit | miss
    due              yes                         yes                   HEAD, or what is kept      revalidated | stale
    proven, due      a manifest of it says so    yes                   HEAD                       revalidated | miss
    none             yes                         -                     HEAD                       revalidated | miss
    any              no                          -                     GET, which fills it        miss
    any              -                           no                    GET; HEAD for a HEAD       miss

What a repository holds is what its upstream gave of it, whole and right, or what several things together prove (see
docs/design.md, "Rights"). What is here for others makes no difference to whoever has no right, not even in time.
Content of another upstream is filled once more, from this one.

Whatever many ask at the same moment is asked once. A Range far ahead of the fill is fetched on its own, by a few
clients of a blob at a time; the others wait for the fill. What cannot be kept is streamed (bypass), from the answer
to the one request that was to fill it, and also from where the disk failed on.
A refusal (401, 403) withdraws the right at once. Not here: what the upstream is asked (blob_source.py).
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import cast

from hubferry.core.errors import OciError
from hubferry.core.freshness import may_cover
from hubferry.core.http import Request
from hubferry.core.ranges import ByteRange
from hubferry.ports import (
    Blob,
    BlobAnswer,
    BlobIndex,
    BlobStore,
    Clock,
    EventLog,
    Fetched,
    Fills,
    InFile,
    Readable,
    StoreFailure,
)
from hubferry.pull.answer import Answer, Trail
from hubferry.pull.blob_answers import asked_range, identity, place_range, refuse_range
from hubferry.pull.blob_source import BlobSource, Proven
from hubferry.pull.fetch import Fetcher
from hubferry.pull.kept_bodies import GoingOn, Noticed, Part, Spare
from hubferry.pull.manifests import unusable
from hubferry.pull.proofs import Proofs
from hubferry.pull.rights import Right, Rights, repository_of
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
        clock: Clock,
        log: EventLog,
        is_only_upstream: bool = False,
    ) -> None:
        """`stream` answers without keeping anything: StreamedBlobs.answer.

        `is_only_upstream`: there is one upstream, so that what nobody knows the origin of may have come from no other.
        """
        self._is_only_upstream = is_only_upstream
        self._fetcher = fetcher
        self._index = index
        self._store = store
        self._fills = fills
        self._rights = rights
        self._stream = stream
        self._log = log
        self._proofs = proofs
        self._clock = clock
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
        request, digest, trail = ask.request, ask.digest, ask.trail
        was_filled = False
        for _ in range(MAX_ROUNDS):
            blob = await self._find(ask)
            try:
                if request.method == "HEAD" and (blob is None or blob.size_bytes is None):
                    proven = await self._prove(ask)
                    return Answer(200, identity(digest, proven.size_bytes))
                if blob is not None:
                    return await self._deliver(ask, blob)
            finally:
                if blob is not None:
                    blob.close()
            try:
                was_filled = await self._fill(ask) or was_filled
                ask.is_proven = ask.is_proven or was_filled
            except StoreFailure as failure:
                trail.problem = str(failure)
                self._log.warning("store_failed", {"upstream": ask.target.origin.name, "problem": trail.problem})
                return await self._pass_through(ask)
        if not was_filled:  # a file that is there and cannot be used, nor removed
            return await self._pass_through(ask)
        raise unusable(ask.source.asked, "every attempt to fetch it broke off or gave other bytes")

    async def fill(self, target: Target, digest: str, size_bytes: int | None = None) -> None:
        """Have a blob kept of this repository, and wait for the end of that. Raises OciError, StoreFailure.

        `size_bytes` is what its descriptor says: another length ends the fetch. One that is kept of another repository
        is only asked about where that is proof enough, else fetched once more.
        """
        ask = _Ask(NOBODYS, target, digest, Trail(), BlobSource(self._fetcher, target, digest, size_bytes), None)
        blob = await self._find(ask)
        if blob is None:
            try:
                await self._fill(ask)
            finally:
                await ask.spare.close()
        else:
            blob.close()
        await self._fills.ended(target.origin.name, digest)

    async def _find(self, ask: "_Ask") -> Blob | None:
        """The blob as it is here, or on its way, once it is proven that it may be given; None: it is to be fetched.

        Raises OciError.
        """
        right = await self._rights.of(ask.target)
        holding = await self._holding(ask)
        ask.trail.outcome = "miss"
        if holding is _Holding.NONE or (right is Right.NONE and holding is _Holding.NAMED and not ask.is_proven):
            return None
        is_known = holding in (_Holding.YES, _Holding.BEGUN) and right is Right.PROVEN
        if right is Right.NONE and not ask.is_proven and holding is not _Holding.LOST:
            # before anything is looked for, and after what would be done if it were not here: time is not to tell
            if holding is _Holding.YES and ask.request.method == "GET":
                await self._store.rehearse(*ask.key)
            ask.is_proven = await self._ask_whether_it_may(ask, right, holding)
        blob: Blob | None = None
        if holding in (_Holding.YES, _Holding.NAMED, _Holding.LOST):
            blob = await self._store.open(ask.digest, await self._index.blob(repository_of(ask.target), ask.digest))
            if blob is not None:
                ask.trail.outcome = "hit" if is_known or ask.is_proven else "revalidated"
        blob = blob or await self._fills.visit(*ask.key)
        if blob is None or ask.is_proven or is_known:
            return blob
        try:
            ask.is_proven = await self._ask_whether_it_may(ask, right, holding)
        except BaseException:
            blob.close()
            raise
        if ask.is_proven:
            return blob
        blob.close()
        return None

    async def _holding(self, ask: "_Ask") -> "_Holding":
        repository = repository_of(ask.target)
        if await self._index.blob(repository, ask.digest) is not None:
            return _Holding.YES
        if self._fills.is_running(*ask.key):
            return _Holding.BEGUN if await self._rights.has_begun(ask.target, ask.digest) else _Holding.RUNNING
        origins = await self._index.origins(ask.digest)
        is_named = await self._index.index_of(repository, ask.digest) is not None
        if is_named and (not origins or repository.upstream in origins):
            return _Holding.NAMED
        return _Holding.LOST if not origins and self._is_only_upstream else _Holding.NONE

    async def _ask_whether_it_may(self, ask: "_Ask", right: Right, holding: "_Holding") -> bool:
        """Have the upstream say that it holds the blob and shows it to this caller. Raises OciError.

        False: only a mirror says so, whose word is enough for no more than what the repository is known to hold.
        """
        is_known = holding in (_Holding.YES, _Holding.BEGUN)
        is_covered = right.covers and is_known
        try:
            async with self._fetcher.patience(ask.target, is_covered=is_covered):
                # whoever asks while the fill begins waits for its answer, which is theirs
                if not await self._proofs.joined(ask.target, ("fill", ask.digest)):
                    proven = await self._prove(ask)
                    if proven.witness == "mirror" and not is_known:
                        return False
        except OciError as error:
            if not is_covered or not may_cover(error):
                raise
            self._rights.defer(ask.target)
            ask.trail.outcome, ask.trail.problem = "stale", error.message
        return True

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
            await self._rights.prove(ask.target, ask.asked_at, ask.source.witness)
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

    async def _prove(self, ask: "_Ask") -> Proven:
        repository = repository_of(ask.target)
        holding = await self._holding(ask)

        async def prove() -> Proven:
            proven = await ask.source.prove()
            size_bytes = proven.size_bytes
            # an upstream's word, a manifest that names it, and its bytes, which came from that upstream
            if holding in (_Holding.NAMED, _Holding.LOST) and proven.witness == "upstream" and size_bytes is not None:
                blob = await self._store.open(ask.digest, size_bytes)
                if blob is not None:
                    await self._index.put_blob(repository, ask.digest, blob.size_bytes or size_bytes)
                    blob.close()
            return proven

        is_held = holding is _Holding.YES
        question = ("prove", ask.digest)
        return await self._proofs.once(ask.target, question, prove, lambda proven: proven.witness, is_held=is_held)

    async def _fill(self, ask: "_Ask") -> bool:
        """See Fills.start; whoever asks with the same credential meanwhile waits for the same answer."""
        key = (repository_of(ask.target), ask.digest)
        asked_at = ask.asked_at = self._clock.time()
        holding = await self._holding(ask)

        async def note_holding(size_bytes: int) -> None:
            await self._index.put_blob(*key, size_bytes)
            await self._rights.settle(ask.target, asked_at, ask.source.witness)
            await self._rights.note_ended(ask.target, ask.digest)

        async def fill() -> bool:
            source, anew = ask.source, holding is _Holding.NONE
            begun = await self._fills.start(
                *ask.key,
                source.fetch,
                source.gave_wrong,
                on_verified=note_holding,
                on_unkept=ask.spare.offer,
                anew=anew,
                address=ask.request.peer,
            )
            if begun:
                await self._rights.note_begun(ask.target, ask.digest)
            return begun

        def witness(is_proven: bool) -> Witness | None:
            return ask.source.witness if is_proven else None

        return await self._proofs.once(ask.target, ("fill", ask.digest), fill, witness)


class _Holding(Enum):
    """How far it is proven that a repository holds a blob."""

    YES = auto()
    BEGUN = auto()  # its upstream, asked for this repository, gave the beginning of what is on its way
    RUNNING = auto()  # its upstream is giving it for another repository: its word is missing
    NAMED = auto()  # a manifest of it names the blob, whose bytes came from its upstream: the same
    LOST = auto()  # nobody knows where it came from, if it is here, and there is one upstream only: the same
    NONE = auto()


@dataclass(slots=True)
class _Ask:
    """One request for a blob; `is_proven` once it is known that its caller may have it."""

    request: Request
    target: Target
    digest: str
    trail: Trail
    source: BlobSource
    byte_range: ByteRange | None
    is_proven: bool = False
    asked_at: float = 0.0  # when its fill was, by the clock
    spare: Spare = field(default_factory=Spare)

    @property
    def key(self) -> tuple[str, str]:
        """What a fill is known by."""
        return self.target.origin.name, self.digest
