"""Where documents of others are parsed: small ones at once, large ones beside the event loop, one after the other."""

import asyncio
import sys
import threading

import pytest

from hubferry.core.exchange import Send
from hubferry.ports.upstream import UpstreamResponse
from hubferry.remote.parsing import AT_ONCE, LARGE_BYTES, Documents, parsed
from tests.gateway.fakes import FakeResponse
from tests.support.waiting import turns


def where(_document: bytes) -> str:
    return threading.current_thread().name


PLACES: dict[str, tuple[int, bool]] = {
    "nothing": (0, False),
    "a small one": (100, False),
    "as large as may hold the loop": (LARGE_BYTES, False),
    "a larger one": (LARGE_BYTES + 1, True),
}


@pytest.mark.parametrize(("size_bytes", "is_beside"), PLACES.values(), ids=PLACES.keys())
def test_only_a_large_document_is_parsed_beside_the_event_loop(size_bytes: int, *, is_beside: bool) -> None:
    place = asyncio.run(parsed(bytes(size_bytes), where))
    assert (place != threading.current_thread().name) == is_beside


def test_where_there_are_no_threads_every_document_is_parsed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "emscripten")
    assert asyncio.run(parsed(bytes(LARGE_BYTES + 1), where)) == threading.current_thread().name


@pytest.mark.parametrize("size_bytes", [1, LARGE_BYTES + 1], ids=["small", "large"])
def test_what_the_parser_gives_or_raises_is_passed_on(size_bytes: int) -> None:
    def refuse(document: bytes) -> int:
        raise ValueError(f"{len(document)} bytes are none")

    assert asyncio.run(parsed(bytes(size_bytes), len)) == size_bytes
    with pytest.raises(ValueError, match=f"{size_bytes} bytes are none"):
        asyncio.run(parsed(bytes(size_bytes), refuse))


def test_while_a_large_document_is_parsed_the_loop_goes_on() -> None:
    async def scene() -> None:
        may_end = threading.Event()
        parsing = asyncio.create_task(parsed(bytes(LARGE_BYTES + 1), lambda _: may_end.wait(30)))
        await turns(3)
        assert not parsing.done()
        may_end.set()
        assert await parsing, "it was waited for, and did not hold the loop that ends it"

    asyncio.run(scene())


def test_large_documents_are_parsed_one_after_the_other() -> None:
    begun: list[tuple[int, str]] = []
    may_end = threading.Event()

    def parse(document: bytes) -> int:
        begun.append((len(document), threading.current_thread().name))
        may_end.wait(30)  # a second thread would take the others meanwhile
        return len(document)

    async def scene() -> None:
        sizes = [LARGE_BYTES + number for number in range(1, 9)]
        parsing = [asyncio.create_task(parsed(bytes(size), parse)) for size in sizes]
        await turns(3)
        may_end.set()
        assert await asyncio.gather(*parsing) == sizes
        assert [size for size, _ in begun] == sizes
        assert len({thread for _, thread in begun}) == 1

    asyncio.run(scene())


# --- documents of upstreams ------------------------------------------------------------------------------


class Bodies:
    """A Transport whose bodies arrive when they are let; it knows how many are in memory."""

    def __init__(self) -> None:
        self.reading = 0
        self.go_on = asyncio.Event()

    async def send(self, upstream: str, request: Send) -> UpstreamResponse:
        raise NotImplementedError

    async def read(self, response: UpstreamResponse, limit_bytes: int) -> bytes:  # noqa: ARG002
        self.reading += 1
        await self.go_on.wait()
        self.reading -= 1
        return b"document"


def of_length(*said: str) -> FakeResponse:
    return FakeResponse(200, tuple(("content-length", one) for one in said))


@pytest.mark.parametrize("said", [(str(LARGE_BYTES + 1),), (), ("x",)], ids=["large", "of unknown length", "a lie"])
def test_of_one_upstream_only_some_large_documents_are_in_memory(said: tuple[str, ...]) -> None:
    async def scene() -> None:
        bodies = Bodies()
        documents = Documents(bodies)
        reading = [
            asyncio.create_task(documents.read(upstream, of_length(*said), 100, len))
            for upstream in ("docker.io", "ghcr.io")
            for _ in range(AT_ONCE + 3)
        ]
        await turns()
        assert bodies.reading == 2 * AT_ONCE
        bodies.go_on.set()
        assert await asyncio.gather(*reading) == [(b"document", 8)] * len(reading)

    asyncio.run(scene())


def test_a_small_document_waits_for_nobody() -> None:
    async def scene() -> None:
        bodies = Bodies()
        documents = Documents(bodies)
        large = [asyncio.create_task(documents.read("docker.io", of_length(), 100, len)) for _ in range(AT_ONCE)]
        await turns()
        small = asyncio.create_task(documents.read("docker.io", of_length("8"), 100, len))
        await turns()
        assert bodies.reading == AT_ONCE + 1
        bodies.go_on.set()
        await asyncio.gather(small, *large)

    asyncio.run(scene())


def test_whoever_leaves_while_waiting_closes_the_answer() -> None:
    async def scene() -> None:
        bodies = Bodies()
        documents = Documents(bodies)
        first = [asyncio.create_task(documents.read("docker.io", of_length(), 100, len)) for _ in range(AT_ONCE)]
        await turns()
        response = of_length()
        waiting = asyncio.create_task(documents.read("docker.io", response, 100, len))
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert response.body.closed == 1
        bodies.go_on.set()
        await asyncio.gather(*first)

    asyncio.run(scene())
