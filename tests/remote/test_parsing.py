"""Where documents of others are parsed: small ones at once, large ones beside the event loop, one after the other."""

import asyncio
import sys
import threading

import pytest

from hubferry.remote.parsing import LARGE_BYTES, parsed
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
