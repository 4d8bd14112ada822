"""The room for bodies when clients leave, at every moment at which they can."""

import asyncio
import random

import pytest

from hubferry.core.body_memory import MemoryRequest
from hubferry.server.bodies import CutShort
from hubferry.server.body_memory import BodyMemoryQueue

MIB = 2**20


async def serve(room: BodyMemoryQueue, request: MemoryRequest, seconds: float) -> None:
    if not room.take_now(request):
        await room.take(request)
    try:
        async with room.sending(request):
            await asyncio.sleep(seconds)  # what the sending takes
    finally:
        room.give_back(request)


async def ended(tasks: list[asyncio.Task[None]]) -> list[BaseException]:
    """What the tasks ended with, but for being cancelled."""
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [one for one in found if one is not None and not isinstance(one, asyncio.CancelledError)]


async def is_all_there(room: BodyMemoryQueue, most_bytes: int) -> bool:
    request = MemoryRequest("somebody", most_bytes)
    is_there = room.take_now(request)
    if is_there:
        room.give_back(request)
    return is_there


def test_a_client_that_closes_all_its_connections_gives_back_what_it_had_and_no_more() -> None:
    async def scene() -> None:
        room = BodyMemoryQueue(32 * MIB)
        other = MemoryRequest("other", 4 * MIB)
        assert room.take_now(other)
        tasks = [asyncio.create_task(serve(room, MemoryRequest("a", 4 * MIB), 100)) for _ in range(4)]
        await asyncio.sleep(0)  # two are sent, two wait for their address's share
        for task in tasks:
            task.cancel()
        assert await ended(tasks) == []
        assert not await is_all_there(room, 30 * MIB), "what the other one holds"
        room.give_back(other)
        assert await is_all_there(room, 32 * MIB)

    asyncio.run(scene())


@pytest.mark.parametrize("seed", range(20))
def test_whoever_leaves_whenever_the_room_is_all_there_afterwards(seed: int) -> None:
    draw = random.Random(seed)

    async def scene() -> None:
        room = BodyMemoryQueue(8 * MIB)
        tasks: list[asyncio.Task[None]] = []
        for _ in range(200):
            request = MemoryRequest(draw.choice("abcdefgh"), draw.randrange(1, 4 * MIB))
            tasks.append(asyncio.create_task(serve(room, request, draw.choice([0, 0.001]))))
            if draw.random() < 0.5:
                draw.choice(tasks).cancel()
            if draw.random() < 0.5:
                await asyncio.sleep(0)
        assert await ended(tasks) == []
        assert await is_all_there(room, 8 * MIB)

    asyncio.run(scene())


def test_who_is_slow_is_cut_while_others_wait_for_what_he_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubferry.core.body_memory.UNDISTURBED_S", 0.05)
    monkeypatch.setattr("hubferry.core.body_memory.WANTED_BYTES_PER_S", 1000 * MIB)

    async def scene() -> None:
        room = BodyMemoryQueue(8 * MIB)
        slow = asyncio.create_task(serve(room, MemoryRequest("slow", 8 * MIB), 100))
        own = asyncio.create_task(serve(room, MemoryRequest("slow", MIB), 0))
        await asyncio.sleep(0.2)  # in which it would be cut
        assert not slow.done(), "somebody waits for his own address's share only"
        other = asyncio.create_task(serve(room, MemoryRequest("other", MIB), 0))
        with pytest.raises(CutShort, match="others waited"):
            await slow
        await asyncio.gather(own, other)
        quiet = asyncio.create_task(serve(room, MemoryRequest("slow", 8 * MIB), 0.2))
        await quiet  # nobody waits any more

    asyncio.run(scene())
