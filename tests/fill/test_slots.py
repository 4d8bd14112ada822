"""Slots: given fairly, waited for, given back."""

import asyncio

from hubferry.fill.slots import Slots
from tests.support.waiting import turns


def test_who_has_many_waits_and_who_has_none_does_not() -> None:
    async def scene() -> None:
        places = Slots(30)
        for _ in range(20):
            await places.take("many")
        waiting = asyncio.create_task(places.take("many"))
        await turns()
        assert not waiting.done()
        assert not places.is_free_for("one")
        await places.take("one")
        places.give_back("one")
        await turns()
        assert not waiting.done()
        places.give_back("many")
        await waiting
        assert places.is_free_for("one")

    asyncio.run(scene())


def test_clients_take_turns_however_many_each_of_them_is() -> None:
    order: list[str] = []

    async def work(places: Slots, client: str) -> None:
        await places.take(client)
        order.append(client)
        await asyncio.sleep(0)
        places.give_back(client)

    async def scene() -> None:
        places = Slots(1)
        await places.take("many")
        tasks = [asyncio.create_task(work(places, "many")) for _ in range(50)]
        tasks += [asyncio.create_task(work(places, "one")) for _ in range(3)]
        await turns()
        places.give_back("many")
        await asyncio.gather(*tasks)

    asyncio.run(scene())
    assert len(order) == 53
    assert max(number for number, client in enumerate(order) if client == "one") < 10


def test_who_leaves_holds_nothing() -> None:
    async def scene() -> None:
        places = Slots(1)
        await places.take("a")
        leaving, staying = (asyncio.create_task(places.take(client)) for client in ("b", "c"))
        await turns()
        leaving.cancel()
        await turns()
        places.give_back("a")
        await staying
        gone = asyncio.create_task(places.take("b"))
        await turns()
        places.give_back("c")  # it is b's now
        gone.cancel()  # before it knew
        await asyncio.wait({gone})
        await asyncio.wait_for(places.take("d"), 1)

    asyncio.run(scene())
