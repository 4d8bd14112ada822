"""Blobs from what is kept, or on its way to be kept.

Whether that may be given is decided in core/rights.py. What comes of it, with what the upstream is asked:

    right          holding           here, or on its way   the upstream is asked    outcome
    PROVEN         YES, BEGUN        yes                   no                       hit | miss
    DUE            YES, BEGUN        yes                   HEAD                     revalidated | miss | stale
    PROVEN, DUE    NAMED             yes                   HEAD                     revalidated | miss
    NONE           YES, BEGUN        -                     HEAD                     revalidated | miss
    NONE           NAMED             -                     GET, which fills it      miss
    any            UNKNOWN_ORIGIN    yes                   HEAD                     revalidated | miss
    any            RUNNING           yes                   HEAD                     miss
    any            NONE              -                     GET, which fills it      miss
    any            -                 no                    GET; HEAD for a HEAD     miss

The names are those of core/rights.py. What a repository holds is what its upstream gave of it, whole and right, or what
several things together prove (see docs/design.md, "Rights"). What is here for others makes no difference to whoever has
no right, not even in time. Content of another upstream is filled once more, from this one.

What many ask at the same moment with the same credential is asked once. A Range far ahead of the fill is fetched on
its own, by a few clients of a blob at a time; the others wait for the fill. What finds no room is streamed (bypass)
from the answer to the one request that was to fill it. After a failure of the disk the upstream is asked again, also
for the rest of a body that has begun.
A refusal (401, 403) withdraws the right at once. Not here: what the upstream is asked (remote/blobs.py).
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import cast

from hubferry.core.errors import OciError, relay_error
from hubferry.core.freshness import may_cover
from hubferry.core.ranges import ByteRange, ContentRange
from hubferry.core.rights import Holding, Right, Step, next_step
from hubferry.ports.content import Blob, StoreFailure
from hubferry.ports.fills import Fetched, FillHandle, FillOrder
from hubferry.ports.index import Repository
from hubferry.ports.shell import Clock
from hubferry.ports.upstream import Readable
from hubferry.pull.bodies import FallbackBody, OnCloseBody, SlicedBody, UnkeptAnswer
from hubferry.pull.proofs import Proofs
from hubferry.pull.results import BlobQuery, BlobResult, BlobSource, Outcome
from hubferry.pull.rights import repository_of
from hubferry.pull.services import DiskCache
from hubferry.remote.blobs import BlobInfo, RemoteBlob
from hubferry.remote.fetch import Fetcher
from hubferry.remote.refusals import unusable
from hubferry.remote.target import AnsweredBy, Target

FAR_AHEAD_BYTES = 8 * 2**20
MAX_SKIPPED_BYTES = 2**20  # of an answer that is there: less than another request costs
MAX_AHEAD = 2  # separate fetches of one blob at a time
MAX_ROUNDS = 3  # a fill may fail between its beginning and its first reader


class KeptBlobs:
    """A BlobSource over what is kept, and what is on its way to be."""

    def __init__(
        self,
        fetcher: Fetcher,
        cache: DiskCache,
        proofs: Proofs,
        streamed: BlobSource,
        clock: Clock,
        *,
        is_only_upstream: bool = False,
    ) -> None:
        """`streamed` gives what cannot be kept.

        `is_only_upstream`: there is one upstream, so that what nobody knows the origin of may have come from no other.
        """
        self._is_only_upstream = is_only_upstream
        self._fetcher = fetcher
        self._index = cache.index
        self._store = cache.blobs
        self._fills = cache.fills
        self._rights = proofs.rights
        self._streamed = streamed
        self._proofs = proofs
        self._clock = clock
        self._ahead: Counter[tuple[str, str]] = Counter()
        self._of_mirrors: dict[tuple[Repository, str], _Begun] = {}  # fills that go on, and some that are over

    async def find(self, target: Target, query: BlobQuery) -> BlobResult:
        search = _Search(target, query, RemoteBlob(self._fetcher, target, query.digest))
        try:
            return await self._find(search)
        finally:
            await search.unkept.close()

    async def _find(self, search: "_Search") -> BlobResult:
        for _ in range(MAX_ROUNDS):
            blob = await self._look_up(search)
            try:
                if not search.query.wants_body and (blob is None or blob.size_bytes is None):
                    info = await self._describe(search)
                    return BlobResult(info.size_bytes, search.outcome)
                if blob is not None:
                    return await self._deliver(search, blob)
            finally:
                if blob is not None:
                    blob.close()
            try:
                await self._begin_fill(search)
            except StoreFailure as failure:
                return await self._pass_through(search, str(failure))  # fill/ tells the log of it, once
        if search.begun is None:  # another process fills it from a mirror, or its file can be neither used nor removed
            return await self._pass_through(search)
        raise unusable(search.remote.asked, "every attempt to fetch it broke off or gave other bytes")

    async def open(self, target: Target, digest: str) -> tuple[Blob, bool]:
        """A blob that is to be kept of this repository, the caller's to close, and whether it is kept already.

        Otherwise it is on its way; it is never streamed.

        Raises OciError; StoreFailure when it cannot be kept.
        """
        search = _Search(target, BlobQuery(digest), RemoteBlob(self._fetcher, target, digest))
        try:
            for _ in range(MAX_ROUNDS):
                blob = await self._look_up(search)
                if blob is not None:
                    return blob, search.is_kept
                await self._begin_fill(search)
        finally:
            await search.unkept.close()
        if search.begun is None:
            raise StoreFailure("another process fetches it from a mirror, or its file can be neither used nor removed")
        raise unusable(search.remote.asked, "every attempt to fetch it broke off or gave other bytes")

    async def _begin_fill(self, search: "_Search") -> None:
        """Begin to fill the blob, unless a fill of it goes on. Raises OciError, StoreFailure."""
        search.begun = await self._start_or_join(search) or search.begun
        search.is_proven = search.is_proven or (search.begun is not None and search.begun.answered_by == "upstream")

    async def fill_to_end(self, target: Target, digest: str, size_bytes: int | None = None) -> None:
        """Have a blob kept of this repository, and wait for the end of that. Raises OciError, StoreFailure.

        `size_bytes` is what its descriptor says: another length ends the fetch. One that is kept of another repository
        is only asked about where that is proof enough, else fetched once more.
        """
        search = _Search(target, BlobQuery(digest), RemoteBlob(self._fetcher, target, digest, size_bytes))
        blob = await self._look_up(search)
        if blob is None:
            try:
                await self._start_or_join(search)
            finally:
                await search.unkept.close()
        else:
            blob.close()
        await self._fills.ended(target.upstream.name, digest)

    async def _look_up(self, search: "_Search") -> Blob | None:
        """The blob as it is here, or on its way, once it is proven that it may be given; None: it is to be fetched.

        Raises OciError.
        """
        search.outcome.name, search.is_kept = "miss", False
        right = await self._rights.of(search.target)
        holding = await self._holding(search)
        if holding is Holding.RUNNING and right is Right.PROVEN:
            self._join_mirrors_fill(search)
        if (own := await self._own_fill(search)) is not None:
            return own
        step = next_step(right, holding, is_proven=search.is_proven)
        if step is Step.FETCH:
            return None
        if step is Step.ASK_FIRST:
            if holding is Holding.YES and search.query.wants_body:
                await self._store.rehearse(*search.key)  # what would be done if it were not here: time is not to tell
            search.is_proven = await self._ask_whether_it_may(search, right, holding)
            if (own := await self._own_fill(search)) is not None or not search.is_proven:
                return own
        blob = await self._open_kept(search, holding)
        if blob is not None and search.begun is None:
            search.outcome.name = "revalidated" if search.is_proven or step is not Step.GIVE else "hit"
        blob = blob or await self._fills.visit(*search.key)
        if blob is None or search.is_proven or step is Step.GIVE:
            return blob
        try:
            search.is_proven = await self._ask_whether_it_may(search, right, holding)
        except BaseException:
            blob.close()
            raise
        if search.is_proven:
            return blob
        blob.close()
        return await self._own_fill(search)

    async def _open_kept(self, search: "_Search", holding: Holding) -> Blob | None:
        """The blob's file, the caller's to close; None when it is not kept, or only on its way."""
        if holding in (Holding.BEGUN, Holding.RUNNING):
            return None
        size_bytes = await self._index.blob(repository_of(search.target), search.query.digest)
        blob = await self._store.open(search.query.digest, size_bytes)
        search.is_kept = blob is not None
        return blob

    def _join_mirrors_fill(self, search: "_Search") -> None:
        """Let the caller have what a mirror is giving for this repository, if one is."""
        search.begun = self._of_mirrors.get((repository_of(search.target), search.query.digest)) or search.begun

    async def _own_fill(self, search: "_Search") -> Blob | None:
        """What came so far of the fill whose beginning was an answer for this caller; None when it is over."""
        return None if search.begun is None else await self._fills.visit(*search.key, search.begun.fill)

    async def _holding(self, search: "_Search") -> Holding:
        repository = repository_of(search.target)
        if await self._index.blob(repository, search.query.digest) is not None:
            return Holding.YES
        if self._fills.is_running(*search.key):
            has_begun = await self._rights.has_begun(search.target, search.query.digest)
            return Holding.BEGUN if has_begun else Holding.RUNNING
        origins = await self._index.origins(search.query.digest)
        is_named = await self._index.parent_of(repository, search.query.digest) is not None
        if is_named and (not origins or repository.upstream in origins):
            return Holding.NAMED
        return Holding.UNKNOWN_ORIGIN if not origins and self._is_only_upstream else Holding.NONE

    async def _ask_whether_it_may(self, search: "_Search", right: Right, holding: Holding) -> bool:
        """Have the upstream say that it holds the blob and shows it to this caller. Raises OciError.

        False: only a mirror confirmed it, and the repository is not proven to hold the blob. If that mirror is giving
        it now, `search.begun` is set.
        """
        is_covered = right.covers and holding.is_proven
        try:
            async with self._fetcher.limit_wait(search.target, is_covered=is_covered):
                if await self._joined_a_fill(search):
                    return True
                if search.begun is not None:
                    return False
                info = await self._describe(search)
                if info.answered_by == "mirror" and not holding.is_proven:
                    self._join_mirrors_fill(search)
                    return False
        except OciError as error:
            if not is_covered or not may_cover(error):
                raise
            self._rights.defer(search.target)
            search.outcome.name, search.outcome.problem = "stale", error.message
        return True

    async def _joined_a_fill(self, search: "_Search") -> bool:
        """Whether the upstream gave it for somebody with the same credential, whose fill began just now."""
        try:
            begun = await self._proofs.joined(search.target, ("fill", search.query.digest))
        except StoreFailure:  # it cannot be kept, which says nothing of who may have it
            return False
        if isinstance(begun, _Begun):
            search.begun = begun
        return search.begun is not None and search.begun.answered_by == "upstream"

    async def _deliver(self, search: "_Search", blob: Blob) -> BlobResult:
        size_bytes, wanted = blob.size_bytes, search.query.byte_range
        if not search.query.wants_body:
            return BlobResult(size_bytes, search.outcome)
        if wanted is None or size_bytes is None:  # a server may ignore a Range, and without a size has to
            return BlobResult(size_bytes, search.outcome, self._body(search, blob, 0, None))
        part = _within(search, wanted, size_bytes)
        if part.first - blob.front_bytes > FAR_AHEAD_BYTES and self._ahead[search.key] < MAX_AHEAD:
            return await self._fetch_ahead(search)
        return BlobResult(size_bytes, search.outcome, self._body(search, blob, part.first, part.last + 1), part)

    def _body(self, search: "_Search", blob: Blob, start: int, end: int | None) -> FallbackBody:
        body = blob.body(start, end)

        async def fetch(start: int, end: int | None = None) -> Fetched:
            return await self._proofs.ask_now(
                search.target, lambda: search.remote.fetch(start, end), lambda _: search.remote.answered_by
            )

        return FallbackBody(body, start, end, fetch, search.outcome)

    async def _fetch_ahead(self, search: "_Search") -> BlobResult:
        """A range that the fill will not reach soon, streamed past it; over when the client has it or leaves."""
        self._ahead[search.key] += 1

        def is_over() -> None:
            self._ahead[search.key] -= 1
            if not self._ahead[search.key]:
                del self._ahead[search.key]

        try:
            found = await self._pass_through(search)
        except BaseException:
            is_over()
            raise
        if found.body is None:
            is_over()
            return found
        return replace(found, body=OnCloseBody(cast("Readable", found.body), is_over))

    async def _pass_through(self, search: "_Search", problem: str = "") -> BlobResult:
        """The blob straight from its upstream, because of a `problem` with keeping it if there is one."""
        search.outcome.name, search.outcome.problem = "bypass", problem or search.outcome.problem
        if search.unkept.is_there:
            # before it is taken: whoever is cancelled here must not leave it open
            await self._rights.prove(search.target, search.asked_at, search.remote.answered_by)
        fetched = search.unkept.take()
        if fetched is not None and (found := await self._hand_on(search, fetched)) is not None:
            return found
        found = await self._proofs.ask_now(
            search.target, lambda: self._streamed.find(search.target, search.query), lambda found: found.answered_by
        )
        return replace(found, outcome=search.outcome)

    async def _hand_on(self, search: "_Search", fetched: Fetched) -> BlobResult | None:
        """An answer of the upstream that could not be kept; None, and closed, when it begins elsewhere."""
        size_bytes, wanted, part = fetched.size_bytes, search.query.byte_range, None
        try:
            if wanted is not None and size_bytes is not None:
                part = _within(search, wanted, size_bytes)
            start, end = (0, None) if part is None else (part.first, part.last + 1)
            is_near = 0 <= start - fetched.start_bytes <= MAX_SKIPPED_BYTES
        except OciError:
            await fetched.body.close()
            raise
        if not is_near:
            await fetched.body.close()
            return None
        return BlobResult(size_bytes, search.outcome, SlicedBody(fetched, start, end), part)

    async def _describe(self, search: "_Search") -> BlobInfo:
        repository = repository_of(search.target)
        holding = await self._holding(search)

        async def describe() -> BlobInfo:
            info = await search.remote.describe()
            size_bytes = info.size_bytes
            # when the bytes are here, the upstream's word makes YES of both
            if (
                holding in (Holding.NAMED, Holding.UNKNOWN_ORIGIN)
                and info.answered_by == "upstream"
                and size_bytes is not None
            ):
                blob = await self._store.open(search.query.digest, size_bytes)
                if blob is not None:
                    await self._index.put_blob(repository, search.query.digest, blob.size_bytes or size_bytes)
                    blob.close()
            return info

        is_held = holding is Holding.YES
        question = ("describe", search.query.digest)
        return await self._proofs.once(
            search.target, question, describe, lambda info: info.answered_by, is_held=is_held
        )

    async def _start_or_join(self, search: "_Search") -> "_Begun | None":
        """Begin a fill (Fills.start); whoever asks with the same credential meanwhile waits for the same answer."""
        key = (repository_of(search.target), search.query.digest)
        asked_at = search.asked_at = self._clock.time()
        holding = await self._holding(search)

        async def note_holding(size_bytes: int) -> None:
            await self._index.put_blob(*key, size_bytes)
            await self._rights.write_down(search.target, asked_at, search.remote.answered_by)
            await self._rights.note_ended(search.target, search.query.digest)

        # as when nothing were here: bytes that came from its upstream for this very repository
        is_shown_to_nobody = await self._rights.of(search.target) is Right.NONE and not search.is_proven
        anew = holding is Holding.NONE or (holding is Holding.NAMED and is_shown_to_nobody)

        async def fill() -> _Begun | None:
            order = FillOrder(
                *search.key,
                search.remote.fetch,
                on_wrong=search.remote.gave_wrong,
                on_verified=note_holding,
                on_unkept=search.unkept.offer,
                anew=anew,
                client=search.query.client,
            )
            begun = await self._fills.start(order)
            if begun is None:
                return None
            own = _Begun(begun, search.remote.answered_by)
            if own.answered_by == "mirror":  # its bytes are its own, in this very fill
                self._remember(key, own)
            else:
                await self._rights.note_begun(search.target, search.query.digest)
                if not self._fills.is_running(*search.key):  # a small one may have ended by now
                    await self._rights.note_ended(search.target, search.query.digest)
            return own

        def answered_by(begun: _Begun | None) -> AnsweredBy | None:
            return None if begun is None else begun.answered_by

        return await self._proofs.once(search.target, ("fill", search.query.digest), fill, answered_by)

    def _remember(self, key: tuple[Repository, str], begun: "_Begun") -> None:
        """Let others of the repository have what a mirror gives, for as long as that goes on."""
        self._of_mirrors = {
            (repository, digest): one
            for (repository, digest), one in self._of_mirrors.items()
            if self._fills.is_running(repository.upstream, digest)
        }
        self._of_mirrors[key] = begun


@dataclass(frozen=True, slots=True)
class _Begun:
    """A fill that began with an answer for whoever asks, and who gave that."""

    fill: FillHandle
    answered_by: AnsweredBy


@dataclass(slots=True)
class _Search:
    """One question for a blob; `is_proven` once it is known that its caller may have it, whoever fetches it.

    What came of `begun` its caller may have in any case.
    """

    target: Target
    query: BlobQuery
    remote: RemoteBlob
    outcome: Outcome = field(default_factory=lambda: Outcome("miss"))
    is_kept: bool = False  # of what was found last
    is_proven: bool = False
    begun: _Begun | None = None
    asked_at: float = 0.0  # when the upstream was asked for its fill (Clock.time)
    unkept: UnkeptAnswer = field(default_factory=UnkeptAnswer)

    @property
    def key(self) -> tuple[str, str]:
        """Return the key of its fill: the upstream's name and the digest."""
        return self.target.upstream.name, self.query.digest


def _within(search: _Search, wanted: ByteRange, size_bytes: int) -> ContentRange:
    """Return which bytes of the blob the range means. Raises OciError 416 when it lies outside."""
    part = wanted.within(size_bytes)
    if part is None:
        raise relay_error(416, (("content-range", f"bytes */{size_bytes}"),), search.remote.asked)
    return part
