"""Bodies that go on with the upstream where the cache ends: which bytes come from where, and who closes what."""

import asyncio
from collections.abc import Sequence

import pytest

from hubferry.core.errors import OciError
from hubferry.ports.content import NotKept, Region
from hubferry.ports.fills import Fetched
from hubferry.ports.upstream import Cause, UpstreamFailure
from hubferry.pull.bodies import FallbackBody, OnCloseBody, SlicedBody, UnkeptAnswer
from hubferry.pull.results import Outcome
from tests.pull.fakes import Pieces, refusal

LOST = NotKept(Cause.CUT, "docker.io", "the disk failed")
CUT = UpstreamFailure(Cause.CUT, "registry-1.docker.io")


class Cached(Pieces):
    """The body of a kept blob; what it gives next is a region of a file, or a piece to be read."""

    def __init__(self, *pieces: bytes | Exception, regions: Sequence[int | Exception | None] = ()) -> None:
        super().__init__(*pieces)
        self._regions = list(regions)

    async def next_region(self) -> Region | None:
        size_bytes = self._regions.pop(0) if self._regions else None
        if isinstance(size_bytes, Exception):
            raise size_bytes
        return None if size_bytes is None else Region(7, 0, size_bytes)


class ScriptedFetch:
    """The `Fetch` port: gives what the test says, from the offset that it says, and notes what it is asked."""

    def __init__(self, reply: Pieces | BaseException, starts_at: int | None = None) -> None:
        self._reply = reply
        self._starts_at = starts_at
        self.asked: list[tuple[int, int | None]] = []

    async def __call__(self, start: int, end: int | None = None) -> Fetched:
        self.asked.append((start, end))
        if isinstance(self._reply, BaseException):
            raise self._reply
        return Fetched(start if self._starts_at is None else self._starts_at, None, self._reply)


NEVER = ScriptedFetch(AssertionError("nothing is missing"))


async def read_all(body: FallbackBody | SlicedBody) -> bytes:
    data = b""
    while (piece := await body.read()) is not None:
        data += piece
    return data


def fetched(*pieces: bytes, starts_at: int = 0) -> Fetched:
    return Fetched(starts_at, None, Pieces(*pieces))


def closed(answer: Fetched) -> int:
    assert isinstance(answer.body, Pieces)
    return answer.body.closed


# --- what the cache cannot give --------------------------------------------------------------------------


def test_what_the_cache_gives_is_asked_of_nobody_else() -> None:
    async def scene() -> None:
        cached, outcome = Cached(b"ab", b"c"), Outcome("hit")
        body = FallbackBody(cached, 0, 3, NEVER, outcome)
        assert await read_all(body) == b"abc"
        await body.close()
        assert (cached.closed, outcome) == (1, Outcome("hit"))

    asyncio.run(scene())


LOSSES: dict[str, tuple[tuple[bytes | Exception, ...], int, int | None, int | None, tuple[int, int | None]]] = {
    # name: what the cache gives, start, end, where the answer begins (None: where it was asked to) -> what is asked
    "at once": ((LOST,), 0, None, None, (0, None)),
    "in the middle": ((b"ab", b"c", LOST), 0, None, None, (3, None)),
    "of a range": ((b"cd", LOST), 2, 8, None, (4, 8)),
    "at once, of a range": ((LOST,), 2, 8, None, (2, 8)),
    "in the middle, and the upstream knows no ranges": ((b"abc", LOST), 0, None, 0, (3, None)),
    "of a range, and the upstream knows no ranges": ((b"cd", LOST), 2, 8, 0, (4, 8)),
}


@pytest.mark.parametrize("case", LOSSES)
def test_what_the_cache_cannot_give_comes_from_the_upstream(case: str) -> None:
    given, start, end, starts_at, asked = LOSSES[case]
    blob = b"abcdefghij"

    async def scene() -> None:
        cached, outcome = Cached(*given), Outcome("hit")
        rest = Pieces(*(bytes([byte]) for byte in blob[asked[0] if starts_at is None else starts_at :]))
        fetch = ScriptedFetch(rest, starts_at)
        body = FallbackBody(cached, start, end, fetch, outcome)
        assert await read_all(body) == blob[start:end]
        assert await body.read() is None
        assert (fetch.asked, outcome) == ([asked], Outcome("bypass", "the disk failed"))
        assert cached.closed, "what it holds is not needed any longer"
        assert rest.closed == 0
        await body.close()
        assert rest.closed == 1

    asyncio.run(scene())


def test_parts_of_a_file_count_as_read() -> None:
    async def scene() -> None:
        cached = Cached(b"fg", LOST, regions=[2, 3, None, LOST])
        fetch = ScriptedFetch(Pieces(b"hij"))
        body = FallbackBody(cached, 0, None, fetch, Outcome("hit"))
        assert await body.next_region() == Region(7, 0, 2)
        assert await body.next_region() == Region(7, 0, 3)
        assert await body.next_region() is None
        assert (await body.read(), fetch.asked) == (b"fg", [])
        assert await body.next_region() is None, "the rest is in no file"
        assert fetch.asked == [(7, None)]
        assert await body.next_region() is None
        assert await body.read() == b"hij"
        assert len(fetch.asked) == 1
        await body.close()

    asyncio.run(scene())


ENDS: dict[str, tuple[BaseException, type[BaseException], str]] = {
    # name: what asking the upstream raises -> what reading raises
    "it refuses": (refusal(403, message="it is private now"), UpstreamFailure, "it is private now"),
    "it fails": (CUT, UpstreamFailure, "registry-1.docker.io"),
    "who reads it leaves": (asyncio.CancelledError(), asyncio.CancelledError, ""),
}


@pytest.mark.parametrize("by_region", [False, True], ids=["read", "sent from a file"])
@pytest.mark.parametrize(("reply", "expected", "said"), ENDS.values(), ids=ENDS.keys())
def test_a_body_breaks_off_where_the_upstream_does_not_help_either(
    reply: BaseException, expected: type[BaseException], said: str, by_region: bool
) -> None:
    async def scene() -> None:
        cached = Cached(LOST, regions=[LOST])
        body = FallbackBody(cached, 0, None, ScriptedFetch(reply), Outcome("hit"))
        with pytest.raises(expected) as caught:
            await (body.next_region() if by_region else body.read())
        assert not isinstance(caught.value, OciError), "the answer was begun"
        assert said in str(caught.value)
        await body.close()
        assert cached.closed

    asyncio.run(scene())


def test_a_failure_of_the_rest_is_not_asked_about_again() -> None:
    async def scene() -> None:
        rest = Pieces(b"a", CUT)
        fetch = ScriptedFetch(rest)
        body = FallbackBody(Cached(LOST), 0, None, fetch, Outcome("hit"))
        assert await body.read() == b"a"
        with pytest.raises(UpstreamFailure):
            await body.read()
        await body.close()
        assert (len(fetch.asked), rest.closed) == (1, 1)

    asyncio.run(scene())


# --- a part of an upstream's answer ----------------------------------------------------------------------

SLICES: dict[str, tuple[tuple[bytes, ...], int, int, int | None, bytes]] = {
    # name: pieces, where they begin, start, end -> bytes
    "all of it": ((b"ab", b"cd"), 0, 0, None, b"abcd"),
    "as it was asked for": ((b"cd", b"ef"), 2, 2, 6, b"cdef"),
    "it begins before, within a piece": ((b"ab", b"cd"), 0, 1, None, b"bcd"),
    "it begins before, by a piece": ((b"ab", b"cd"), 0, 2, None, b"cd"),
    "it begins before, by more than a piece": ((b"ab", b"cd", b"ef"), 0, 3, None, b"def"),
    "it ends after, within a piece": ((b"ab", b"cd"), 0, 0, 3, b"abc"),
    "it ends after, by a piece": ((b"ab", b"cd"), 0, 0, 2, b"ab"),
    "it begins before and ends after, within a piece": ((b"abcdef",), 0, 2, 4, b"cd"),
    "it ends too early": ((b"ab",), 0, 1, 9, b"b"),
    "it ends before it begins": ((b"ab",), 0, 5, 9, b""),
    "nothing is wanted": ((b"ab",), 0, 1, 1, b""),
    "with empty pieces": ((b"", b"ab", b"", b"cd"), 0, 1, 4, b"bcd"),
}


@pytest.mark.parametrize(("pieces", "begins", "start", "end", "data"), SLICES.values(), ids=SLICES.keys())
def test_of_an_answer_only_what_is_wanted_is_given(
    pieces: tuple[bytes, ...], begins: int, start: int, end: int | None, data: bytes
) -> None:
    async def scene() -> None:
        answer = fetched(*pieces, starts_at=begins)
        body = SlicedBody(answer, start, end)
        assert await read_all(body) == data
        assert await body.read() is None
        await body.close()
        assert closed(answer) == 1

    asyncio.run(scene())


def test_nothing_beyond_the_end_is_read() -> None:
    async def scene() -> None:
        body = SlicedBody(Fetched(0, None, Pieces(b"ab", CUT)), 0, 2)
        assert (await body.read(), await body.read()) == (b"ab", None)

    asyncio.run(scene())


def test_no_piece_is_empty_which_would_mean_the_end() -> None:
    async def scene() -> None:
        body = SlicedBody(fetched(b"ab", b"", b"cd"), 2, None)
        assert [await body.read(), await body.read()] == [b"cd", None]

    asyncio.run(scene())


def test_what_is_skipped_lets_others_run() -> None:
    async def scene() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(others())
        assert await SlicedBody(fetched(*[b"a"] * 50, b"b"), 50, None).read() == b"b"
        task.cancel()
        assert turns >= 49

    asyncio.run(scene())


# --- an answer that cannot be kept -----------------------------------------------------------------------


def test_the_first_answer_is_held_for_one_and_every_other_closed() -> None:
    async def scene() -> None:
        held, one, other = UnkeptAnswer(), fetched(), fetched()
        assert (held.is_there, held.take()) == (False, None)
        await held.offer(one)
        assert held.is_there
        await held.offer(other)
        assert (closed(one), closed(other)) == (0, 1)
        assert held.take() is one
        assert (held.is_there, held.take()) == (False, None)
        await held.close()
        assert closed(one) == 0, "who takes it closes it"

    asyncio.run(scene())


def test_an_answer_that_nobody_takes_is_closed_and_so_is_what_comes_later() -> None:
    async def scene() -> None:
        held, one, late = UnkeptAnswer(), fetched(), fetched()
        await held.offer(one)
        await held.close()
        await held.close()
        await held.offer(late)
        assert (closed(one), closed(late)) == (1, 1)
        assert (held.is_there, held.take()) == (False, None)

    asyncio.run(scene())


# --- a body that tells when it is closed -----------------------------------------------------------------


def test_what_is_to_be_done_when_a_body_is_closed_is_done_once() -> None:
    async def scene() -> None:
        told: list[int] = []
        inner = Pieces(b"ab", b"c")
        body = OnCloseBody(inner, lambda: told.append(inner.closed))
        assert [await body.read() for _ in range(3)] == [b"ab", b"c", None]
        assert told == []
        await body.close()
        await body.close()
        assert told == [0], "also when closing it is cancelled"
        assert inner.closed == 2, "which it may be more than once"

    asyncio.run(scene())


def test_it_is_done_when_closing_is_cancelled() -> None:
    class Stuck(Pieces):
        async def close(self) -> None:
            raise asyncio.CancelledError

    async def scene() -> None:
        told: list[str] = []
        with pytest.raises(asyncio.CancelledError):
            await OnCloseBody(Stuck(), lambda: told.append("closed")).close()
        assert told == ["closed"]

    asyncio.run(scene())
