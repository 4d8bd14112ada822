"""One exchange of HTTP/1.1: what is sent, and what is made of answers, good and bad, however they arrive in pieces.

Every answer of a table is cut at every byte, and given byte by byte: where a network cuts it decides nothing.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from hubferry.core.exchange import Send
from hubferry.core.http import Headers
from hubferry.transport.http1 import (
    FED_AT_ONCE_BYTES,
    MAX_ANNOUNCEMENTS,
    MAX_FRAMING_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    Broken,
    ProtocolError,
    Reply,
    send_request,
)
from tests.transport.fakes import PiecedWire, splits

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nab"


@dataclass(frozen=True)
class Heard:
    """An answer, read to its end; `is_reusable`: another exchange may follow on the connection."""

    status: int
    headers: Headers
    body: bytes
    is_reusable: bool


async def begin(wire: PiecedWire, method: str = "GET") -> Reply:
    return await send_request(wire.as_wire(), "/", "a.test", Send(method, "http://a.test/", ()))


async def read(wire: PiecedWire, method: str = "GET") -> Heard:
    reply = await begin(wire, method)
    body = b""
    while (piece := await reply.next_piece()) is not None:
        assert piece, "an empty piece would be taken for the end"
        body += piece
    assert await reply.next_piece() is None, "the end stays the end"
    return Heard(reply.status, reply.headers, body, reply.is_over and reply.keeps_alive)


def hear(pieces: Iterable[bytes], method: str = "GET") -> Heard:
    return asyncio.run(read(PiecedWire(pieces), method))


LENGTH = ("content-length", "2")
GOOD: dict[str, tuple[str, bytes, Heard]] = {
    "a length": ("GET", TWO, Heard(200, (LENGTH,), b"ab", True)),
    "no reason": ("GET", b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nab", Heard(200, (LENGTH,), b"ab", True)),
    "an error": ("GET", b"HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\nab", Heard(404, (LENGTH,), b"ab", True)),
    "an empty body": ("GET", OK + b"Content-Length: 0\r\n\r\n", Heard(200, (("content-length", "0"),), b"", True)),
    "a redirect with an empty body": (
        "GET",
        b"HTTP/1.1 307 X\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n",
        Heard(307, (("location", "/a"), ("content-length", "0")), b"", True),
    ),
    "an empty body, and the connection is not kept": (
        "GET",
        OK + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
        Heard(200, (("connection", "close"), ("content-length", "0")), b"", False),
    ),
    "a repeated header keeps its order": (
        "GET",
        OK + b"B: 1\r\nLink: <a>\r\nB: 2\r\nContent-Length: 2\r\n\r\nab",
        Heard(200, (("b", "1"), ("link", "<a>"), ("b", "2"), LENGTH), b"ab", True),
    ),
    "a header of Latin 1": (
        "GET", OK + b"A: \xe9\r\nContent-Length: 2\r\n\r\nab", Heard(200, (("a", "é"), LENGTH), b"ab", True),
    ),
    "the connection is not kept": (
        "GET",
        OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab",
        Heard(200, (("connection", "close"), LENGTH), b"ab", False),
    ),
    "HTTP/1.0": ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", Heard(200, (LENGTH,), b"ab", False)),
    "until the connection ends": ("GET", OK + b"A: b\r\n\r\nabc", Heard(200, (("a", "b"),), b"abc", False)),
    "until the connection ends, empty": ("GET", OK + b"\r\n", Heard(200, (), b"", False)),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", Heard(204, (), b"", True)),
    "304 with the length that 200 would have": (
        "GET", b"HTTP/1.1 304 X\r\nContent-Length: 2\r\n\r\n", Heard(304, (LENGTH,), b"", True),
    ),
    "HEAD with a length": ("HEAD", OK + b"Content-Length: 2\r\n\r\n", Heard(200, (LENGTH,), b"", True)),
    "HEAD of a chunked body": ("HEAD", CHUNKED, Heard(200, (("transfer-encoding", "chunked"),), b"", True)),
    "chunks": (
        "GET",
        CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        Heard(200, (("transfer-encoding", "chunked"),), b"abc", True),
    ),
    "no chunk at all": ("GET", CHUNKED + b"0\r\n\r\n", Heard(200, (("transfer-encoding", "chunked"),), b"", True)),
    "chunks with extensions, and a length in capitals with zeros": (
        "GET",
        CHUNKED + b'2;a=1\r\nab\r\n00B;b="c"\r\n0123456789x\r\n0;e\r\n\r\n',
        Heard(200, (("transfer-encoding", "chunked"),), b"ab0123456789x", True),
    ),
    "a trailer is no header": (
        "GET",
        CHUNKED + b"2\r\nab\r\n0\r\nDocker-Content-Digest: x\r\nB: c\r\n\r\n",
        Heard(200, (("transfer-encoding", "chunked"),), b"ab", True),
    ),
    "a chunk that looks like the end and an answer": (
        "GET",
        CHUNKED + b"b\r\n0\r\n\r\nHTTP/1\r\n0\r\n\r\n",
        Heard(200, (("transfer-encoding", "chunked"),), b"0\r\n\r\nHTTP/1", True),
    ),
    "chunked, in another case": (
        "GET",
        OK + b"transfer-ENCODING: Chunked \r\n\r\n1\r\na\r\n0\r\n\r\n",
        Heard(200, (("transfer-encoding", "Chunked "),), b"a", True),
    ),
    "chunks, and the connection is not kept": (
        "GET",
        OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        Heard(200, (("connection", "close"), ("transfer-encoding", "chunked")), b"a", False),
    ),
    "announcements before it": (
        "GET",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + TWO,
        Heard(200, (LENGTH,), b"ab", True),
    ),
    "an announcement before chunks": (
        "GET",
        b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"1\r\na\r\n0\r\n\r\n",
        Heard(200, (("transfer-encoding", "chunked"),), b"a", True),
    ),
    "an announcement that speaks of a length": (
        "GET", b"HTTP/1.1 103 X\r\nContent-Length: 9\r\n\r\n" + TWO, Heard(200, (LENGTH,), b"ab", True),
    ),
    "an upgrade that is only offered": (
        "GET",
        OK + b"Upgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
        Heard(200, (("upgrade", "h2c"), LENGTH), b"ab", True),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("method", "answer", "heard"), GOOD.values(), ids=GOOD.keys())
def test_an_answer_is_the_same_wherever_it_is_cut(method: str, answer: bytes, heard: Heard) -> None:
    async def scene() -> None:
        for pieces in splits(answer):
            wire = PiecedWire(pieces)
            assert await read(wire, method) == heard, pieces
            assert wire.unread == b"", "all of it was received, so the next answer begins at its beginning"

    asyncio.run(scene())


BAD: dict[str, bytes] = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "a page without a head": b"<html>\n<body>\n",
    "a version that there is not": b"HTTP/1.7 200 OK\r\nContent-Length: 2\r\n\r\nab",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a header without a colon": OK + b"abc\r\n\r\n",
    "a header without a name": OK + b": b\r\nContent-Length: 2\r\n\r\nab",
    "a space before a colon": OK + b"Content-Length : 2\r\n\r\nab",
    "a NUL": OK + b"A: b\0c\r\nContent-Length: 2\r\n\r\nab",
    "a bare carriage return": OK + b"A: b\rc\r\nContent-Length: 2\r\n\r\nab",
    "a bare line feed after the first line": b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nab",
    "a head that ends sooner to one reader": OK + b"Content-Length: 2\n\nHTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\nab",
    "a folded header": OK + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "the same length twice": OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nab",
    "a length that is no number": OK + b"Content-Length: 2a\r\n\r\nab",
    "a length below nothing": OK + b"Content-Length: -2\r\n\r\nab",
    "a length with a sign": OK + b"Content-Length: +2\r\n\r\nab",
    "an empty length": OK + b"Content-Length:\r\n\r\nab",
    "a length that nothing has": OK + b"Content-Length: 1" + b"0" * 18 + b"\r\n\r\nab",
    "another encoding": OK + b"Transfer-Encoding: gzip\r\n\r\nab",
    "chunks of another encoding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an empty encoding": OK + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    "a chunk's length that is no number": CHUNKED + b"xyz\r\n\r\n",
    "a chunk's length below nothing": CHUNKED + b"-1\r\n\r\n",
    "a chunk's length with 0x": CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n",
    "a chunk's length with a space": CHUNKED + b"2 \r\nab\r\n0\r\n\r\n",
    "a chunk's length that nothing has": CHUNKED + b"f" * 17 + b"\r\n\r\n",
    "a chunk that is longer than it says": CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    "a chunk that is shorter than it says": CHUNKED + b"3\r\nab\r\n0\r\n\r\n",
    "chunks with bare line feeds": CHUNKED + b"2\nab\n0\n\n",
    "a trailer without a colon": CHUNKED + b"2\r\nab\r\n0\r\nbroken\r\n\r\n",
    "a trailer that changes the framing": CHUNKED + b"2\r\nab\r\n0\r\nContent-Length: 5\r\n\r\n",
    "an upgrade that nobody asked for": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "an upgrade that says not to what": b"HTTP/1.1 101 X\r\n\r\n" + TWO,
}


@pytest.mark.parametrize("answer", BAD.values(), ids=BAD.keys())
def test_what_readers_could_disagree_about_is_refused_wherever_it_is_cut(answer: bytes) -> None:
    async def scene() -> None:
        for pieces in splits(answer):
            with pytest.raises(ProtocolError) as raised:
                await read(PiecedWire(pieces))
            assert str(raised.value), pieces

    asyncio.run(scene())


def test_the_encoding_and_the_length_are_refused_also_where_there_is_no_body() -> None:
    for answer in (BAD["another encoding"], BAD["two lengths"], BAD["a length and chunks"]):
        with pytest.raises(ProtocolError):
            hear([answer], "HEAD")


CUT: dict[str, bytes] = {
    "a length": TWO,
    "chunks": CHUNKED + b"2;a\r\nab\r\n0\r\nB: c\r\n\r\n",
    "behind an announcement": b"HTTP/1.1 100 Continue\r\n\r\n" + TWO,
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
def test_an_answer_that_breaks_off_is_broken_and_begun_once_a_byte_has_come(answer: bytes) -> None:
    async def scene() -> None:
        for size in range(len(answer)):
            for pieces in ([answer[:size]], [answer[at : at + 1] for at in range(size)]):
                with pytest.raises(Broken) as raised:
                    await read(PiecedWire(pieces))
                is_announcement = answer[:size] == b"HTTP/1.1 100 Continue\r\n\r\n"
                if not is_announcement:  # what has come of the answer itself is nothing then
                    assert raised.value.begun == (size > 0), answer[:size]

    asyncio.run(scene())


def test_how_much_is_missing_is_said() -> None:
    with pytest.raises(Broken, match="3 bytes are missing"):
        hear([OK + b"Content-Length: 5\r\n\r\nab"])


@pytest.mark.parametrize("ended_cleanly", [True, False])
def test_under_tls_a_body_that_ends_with_the_connection_has_to_end_properly(*, ended_cleanly: bool) -> None:
    async def scene() -> None:
        wire = PiecedWire([OK + b"\r\n", b"abc"], is_tls=True, ended_cleanly=ended_cleanly)
        if ended_cleanly:
            assert (await read(wire)).body == b"abc"
        else:
            with pytest.raises(Broken, match="was cut"):
                await read(wire)

    asyncio.run(scene())


# methods with answers that have ended; whatever follows them, nobody has asked for
ENDED: dict[str, tuple[str, bytes, bytes]] = {
    "a length": ("GET", TWO, b"ab"),
    "no body": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "HEAD": ("HEAD", OK + b"Content-Length: 2\r\n\r\n", b""),
    "chunks": ("GET", CHUNKED + b"2\r\nab\r\n0\r\n\r\n", b"ab"),
    "no chunk": ("GET", CHUNKED + b"0\r\n\r\n", b""),
}


@pytest.mark.parametrize(
    "surplus", [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz", b"H"], ids=["an answer", "a byte"]
)
@pytest.mark.parametrize(("method", "answer", "body"), ENDED.values(), ids=ENDED.keys())
def test_what_follows_an_answer_is_never_taken_for_the_next_one(
    method: str, answer: bytes, body: bytes, surplus: bytes
) -> None:
    async def scene() -> None:
        seen = []
        for pieces in splits(answer + surplus):
            wire = PiecedWire(pieces)
            heard = await read(wire, method)
            assert heard.body == body
            # what is still on the wire is found there before it is used again (Wire.is_quiet)
            assert not heard.is_reusable or wire.unread == surplus
            seen.append(heard.is_reusable)
        assert not seen[0], "all of it came at once"

    asyncio.run(scene())


@pytest.mark.parametrize("more", [-4, 1], ids=["within", "beyond"])
def test_a_head_has_a_limit(more: int) -> None:
    begin_of_head, end = OK + b"Content-Length: 2\r\nA: ", b"\r\n\r\n"
    head = begin_of_head + b"x" * (MAX_HEAD_BYTES - len(begin_of_head) + more) + end
    for pieces in ([head + b"ab"], [head[:40], head[40:-3], head[-3:] + b"ab"]):
        if more > 0:
            with pytest.raises(ProtocolError, match=f"more than {MAX_HEAD_BYTES} bytes"):
                hear(pieces)
        else:
            assert hear(pieces).body == b"ab"


def test_a_head_without_an_end_is_given_up() -> None:
    async def scene() -> None:
        wire = PiecedWire([b"HTTP/1.1 200 OK\r\nA: ", *(b"x" * 1024 for _ in range(1000))])
        with pytest.raises(ProtocolError, match=f"more than {MAX_HEAD_BYTES} bytes"):
            await begin(wire)
        assert len(wire.unread) > 1000 * 1024 - MAX_HEAD_BYTES - 2048, "and no more of it received"

    asyncio.run(scene())


@pytest.mark.parametrize("more", [0, 1])
def test_an_answer_has_a_limited_number_of_headers_trailers_included(more: int) -> None:
    lines = b"A: b\r\n" * (MAX_HEADERS - 1 + more)
    answers = [OK + lines + b"Content-Length: 2\r\n\r\nab", CHUNKED + b"2\r\nab\r\n0\r\n" + lines + b"\r\n"]
    for answer in answers:
        if more:
            with pytest.raises(ProtocolError, match=f"more than {MAX_HEADERS} headers"):
                hear([answer])
        else:
            assert hear([answer]).body == b"ab"


@pytest.mark.parametrize("more", [0, 1])
def test_an_answer_is_announced_a_limited_number_of_times(more: int) -> None:
    announced = b"HTTP/1.1 103 X\r\n\r\n" * (MAX_ANNOUNCEMENTS + more)
    for pieces in ([announced + TWO], [b"HTTP/1.1 103 X\r\n\r\n"] * (MAX_ANNOUNCEMENTS + more) + [TWO]):
        if more:
            with pytest.raises(ProtocolError, match=f"more than {MAX_ANNOUNCEMENTS} announcements"):
                hear(pieces)
        else:
            assert hear(pieces).body == b"ab"


@pytest.mark.parametrize("beginning", [b"1;", b"0\r\nA: "], ids=["an extension", "a trailer"])
def test_framing_without_a_byte_of_a_body_has_a_limit(beginning: bytes) -> None:
    pieces = [CHUNKED + b"2\r\nab\r\n" + beginning, *(b"y" * 4096 for _ in range(MAX_FRAMING_BYTES // 4096 + 1))]
    with pytest.raises(ProtocolError, match=f"more than {MAX_FRAMING_BYTES} bytes around a chunk"):
        hear(pieces)


def test_many_small_chunks_are_not_too_much_framing() -> None:
    count = MAX_FRAMING_BYTES // 6 * 2
    chunks = b"1\r\nx\r\n" * count
    pieces = [CHUNKED, *(chunks[at : at + 50_000] for at in range(0, len(chunks), 50_000)), b"0\r\n\r\n"]
    assert hear(pieces).body == b"x" * count


def test_while_many_chunks_are_parsed_others_have_their_turn() -> None:
    async def scene() -> None:
        size = 4 * FED_AT_ONCE_BYTES
        reply = await begin(PiecedWire([CHUNKED, b"1\r\nx\r\n" * (size // 6) + b"0\r\n\r\n"]))
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        assert await reply.next_piece() == b"x" * (size // 6)
        task.cancel()
        assert turns >= size // FED_AT_ONCE_BYTES - 1

    asyncio.run(scene())


def test_a_body_is_received_in_pieces_as_large_as_wanted() -> None:
    async def scene() -> None:
        wire = PiecedWire([OK + b"Content-Length: 6\r\n\r\nab", b"cd", b"ef"])
        reply = await begin(wire)
        assert [await reply.next_piece(size) for size in (10, 20, 30, 40)] == [b"ab", b"cd", b"ef", None]
        assert wire.at_most[1:] == [20, 30], "what came with the head is given first"
        assert reply.length == 6

    asyncio.run(scene())


@pytest.mark.parametrize(("answer", "length"), [(TWO, 2), (CHUNKED + b"0\r\n\r\n", None), (OK + b"\r\n", None)])
def test_the_length_is_what_was_declared(answer: bytes, length: int | None) -> None:
    async def scene() -> None:
        assert (await begin(PiecedWire([answer]))).length == length

    asyncio.run(scene())


def test_a_body_is_over_when_its_last_byte_was_taken() -> None:
    async def scene() -> None:
        for pieces in ([TWO], [TWO[:-2], b"ab"], [TWO[:-1], b"b"]):
            reply = await begin(PiecedWire(pieces))
            taken = b""
            while taken != b"ab":
                assert not reply.is_over
                taken += await reply.next_piece() or b""
            assert reply.is_over
        chunked = await begin(PiecedWire([CHUNKED + b"2\r\nab\r\n", b"0\r\n\r\n"]))
        assert await chunked.next_piece() == b"ab"
        assert not chunked.is_over, "the last chunk may be missing"
        assert await chunked.next_piece() is None
        assert chunked.is_over

    asyncio.run(scene())


# what came with the head; whether the connection may be used again when nobody reads the body
DROPPED: dict[str, tuple[bytes, bool]] = {
    "all of it": (TWO, True),
    "half of it": (TWO[:-1], False),
    "nothing of it": (TWO[:-2], False),
    "more than all of it": (TWO + b"c", False),
    "chunks": (CHUNKED + b"2\r\nab\r\n0\r\n\r\n", False),
    "an answer without an end": (OK + b"\r\nab", False),
}


@pytest.mark.parametrize(("came", "is_over"), DROPPED.values(), ids=DROPPED.keys())
def test_a_small_body_that_nobody_reads_does_not_cost_its_connection(came: bytes, *, is_over: bool) -> None:
    async def scene() -> None:
        reply = await begin(PiecedWire([came]))
        reply.drop_received()
        assert reply.is_over == is_over

    asyncio.run(scene())


def test_a_request_is_sent_as_it_is_said_and_in_one_go() -> None:
    async def scene() -> None:
        wire = PiecedWire([TWO])
        headers = (("accept", "a/b"), ("accept", "c/d"), ("range", "bytes=1-"))
        await send_request(
            wire.as_wire(), "/v2/?n=1", "a.test:5000", Send("GET", "http://a.test:5000/v2/?n=1", headers)
        )
        assert wire.sent == (
            b"GET /v2/?n=1 HTTP/1.1\r\nHost: a.test:5000\r\naccept: a/b\r\naccept: c/d\r\nrange: bytes=1-\r\n\r\n"
        )

    asyncio.run(scene())


SMUGGLED: dict[str, tuple[str, str, str, Headers]] = {
    "a line feed in the target": ("GET", "/\nX: y", "a.test", ()),
    "a line in a header": ("GET", "/", "a.test", (("a", "b\nX: y"),)),
    "a return in a header": ("GET", "/", "a.test", (("a", "b\rc"),)),
    "a whole line in a header": ("GET", "/", "a.test", (("a", "b\r\nX: y"),)),
    "a whole line in the target": ("GET", "/\r\nX: y", "a.test", ()),
    "a whole line in the host": ("GET", "/", "a.test\r\nX: y", ()),
    "a NUL in a header": ("GET", "/", "a.test", (("a", "b\0"),)),
    "a line in a header's name": ("GET", "/", "a.test", (("a: b\nc", "d"),)),
    "a letter that is not ASCII": ("GET", "/ü", "a.test", ()),
}


@pytest.mark.parametrize(("method", "target", "host", "headers"), SMUGGLED.values(), ids=SMUGGLED.keys())
def test_a_request_that_would_be_more_than_one_is_not_sent(
    method: str, target: str, host: str, headers: Headers
) -> None:
    async def scene() -> None:
        wire = PiecedWire([TWO])
        with pytest.raises(ProtocolError, match="a character that none may have"):
            await send_request(wire.as_wire(), target, host, Send(method, "http://a.test/", headers))
        assert wire.sent == b""

    asyncio.run(scene())
