"""What several want at the same moment: done once for all on a server, and by each on the Worker."""

import asyncio

import pytest

from hubferry.remote.single_flight import NoSharing, SharedTasks, SingleFlight
from tests.support.scenes import run_scene
from tests.support.waiting import turns


class Work:
    """Counts how often it is begun and ended; it ends when `may_end` is set, with its number or with `fails`."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.begun = 0
        self.ended = 0
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self._fails = fails

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        if self._fails is not None:
            raise self._fails
        return number


async def asking(flight: SingleFlight, work: Work, count: int, key: str = "a") -> list[asyncio.Task[int]]:
    """Tasks that want the same, and have begun to."""
    tasks = [asyncio.create_task(flight.once(key, work)) for _ in range(count)]
    await turns()
    return tasks


@pytest.mark.parametrize(("flight", "begun"), [(SharedTasks(), 1), (NoSharing(), 3)], ids=["server", "worker"])
def test_what_is_wanted_at_the_same_moment_is_done_once_on_a_server_and_by_each_on_the_worker(
    flight: SingleFlight, begun: int
) -> None:
    async def scene() -> None:
        work = Work()
        tasks = await asking(flight, work, 3)
        work.may_end.set()
        results = await asyncio.gather(*tasks)
        assert work.begun == begun
        assert results == ([1, 1, 1] if begun == 1 else [1, 2, 3])

    run_scene(scene())


def test_what_is_wanted_later_is_done_again() -> None:
    async def scene() -> None:
        flight, work = SharedTasks(), Work()
        work.may_end.set()
        assert [await flight.once("a", work) for _ in range(2)] == [1, 2]

    run_scene(scene())


def test_other_keys_are_other_work() -> None:
    async def scene() -> None:
        flight, work = SharedTasks(), Work()
        tasks = await asking(flight, work, 2, "a") + await asking(flight, work, 2, "b")
        work.may_end.set()
        assert await asyncio.gather(*tasks) == [1, 1, 2, 2]

    run_scene(scene())


@pytest.mark.parametrize("leaves", [[0], [1], [0, 1]], ids=["the first", "another", "all but one"])
def test_who_leaves_ends_no_work_and_takes_nobody_elses_result(leaves: list[int]) -> None:
    async def scene() -> None:
        flight, work = SharedTasks(), Work()
        tasks = await asking(flight, work, 3)
        for number in leaves:
            tasks[number].cancel()
        await turns()
        assert work.cancelled == 0
        work.may_end.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in results] == [n in leaves for n in range(3)]
        assert results[2] == 1

    run_scene(scene())


@pytest.mark.parametrize("fails", [None, ValueError("no")], ids=["it succeeds", "it fails"])
def test_work_goes_on_when_everybody_has_left_and_its_end_disturbs_nobody(fails: Exception | None) -> None:
    async def scene() -> None:
        flight, work = SharedTasks(), Work(fails)
        for task in await asking(flight, work, 2):
            task.cancel()
        await turns()
        assert (work.begun, work.ended, work.cancelled) == (1, 0, 0)
        work.may_end.set()
        await turns()
        assert work.ended == 1
        assert flight.find("a") is None

    run_scene(scene())


def test_a_failure_is_everybodys_and_the_next_one_tries_again() -> None:
    async def scene() -> None:
        flight, work = SharedTasks(), Work(ValueError("no"))
        tasks = await asking(flight, work, 3)
        work.may_end.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["no", "no", "no"]
        assert work.begun == 1
        with pytest.raises(ValueError, match="no"):
            await flight.once("a", work)
        assert work.begun == 2

    run_scene(scene())


def test_on_the_worker_who_leaves_takes_its_own_work_along() -> None:
    async def scene() -> None:
        flight, work = NoSharing(), Work()
        tasks = await asking(flight, work, 2)
        assert flight.find("a") is None, "nobody waits for what another began"
        tasks[0].cancel()
        await turns()
        assert (work.begun, work.cancelled) == (2, 1)
        work.may_end.set()
        assert await tasks[1] == 2

    run_scene(scene())


def test_work_that_is_being_done_is_found_until_it_ends() -> None:
    async def scene() -> None:
        flight, work = SharedTasks(), Work()
        assert flight.find("a") is None
        tasks = await asking(flight, work, 1)
        found = flight.find("a")
        assert found is not None
        assert flight.find("b") is None
        work.may_end.set()
        assert await found == await tasks[0] == 1
        assert flight.find("a") is None

    run_scene(scene())


def test_who_found_work_and_leaves_ends_none() -> None:
    async def scene() -> None:
        flight, work = SharedTasks(), Work()
        tasks = await asking(flight, work, 1)
        found = flight.find("a")
        assert found is not None
        waiting = asyncio.ensure_future(found)
        waiting.cancel()
        await turns()
        work.may_end.set()
        assert await tasks[0] == 1
        assert work.cancelled == 0

    run_scene(scene())


def test_of_what_nobody_waits_for_only_so_much_goes_on() -> None:
    """Clients that ask and hang up: the last ones' answers may still be of use, and the others end."""

    async def scene() -> None:
        flight = SharedTasks(most_left=2)
        works = [Work() for _ in range(4)]
        for number, work in enumerate(works):
            (caller,) = await asking(flight, work, 1, key=f"key {number}")
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        await turns()
        assert [work.cancelled for work in works] == [1, 1, 0, 0]
        begun_anew = await asking(flight, works[0], 1, key="key 0")
        joined = await asking(flight, works[2], 1, key="key 2")
        later = Work()
        (caller,) = await asking(flight, later, 1, key="key 4")
        caller.cancel()
        await turns()
        assert [work.cancelled for work in works] == [1, 1, 0, 0], "who is waited for again is not counted"
        for work in (*works, later):
            work.may_end.set()
        assert await asyncio.gather(*begun_anew, *joined) == [2, 1]
        await turns()

    run_scene(scene())


def test_what_many_wait_for_goes_on_until_the_last_has_left() -> None:
    async def scene() -> None:
        flight, work = SharedTasks(most_left=0), Work()
        first, second = await asking(flight, work, 2)
        first.cancel()
        await turns()
        assert work.cancelled == 0
        second.cancel()
        await turns()
        assert work.cancelled == 1

    run_scene(scene())
