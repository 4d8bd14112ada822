"""What clients use: counted, shared and bounded, in time of the tests' own."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from hubferry.core.errors import OciError
from hubferry.core.rules import Requester
from hubferry.core.settings import LimitSettings
from hubferry.core.settings_sources import SettingsSource, resolve
from hubferry.core.users import User
from hubferry.server import counts, usage
from hubferry.server.counts import BoundedCounts
from hubferry.server.fair_rate import LOOK_S, FairRate, now_s
from hubferry.server.usage import Usage, for_client, window_of
from tests.support.scenes import run_scene

MB = 10**6
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


def usage_of(workers: int = 1, **limits: Any) -> Usage:
    return Usage(resolve([SettingsSource("test", {"limits": limits})]).limits, workers)


def play(scene: Coroutine[Any, Any, None]) -> None:
    run_scene(scene, in_virtual_time=True)


async def fetch(rate: FairRate, client: str, until_s: float, piece: int = 64 * 1024, takes_s: float = 0.0) -> int:
    """How many bytes a client has after a while; `takes_s` is how long it takes for a piece."""
    had = 0
    while now_s() < until_s:
        had += piece
        await asyncio.sleep(takes_s)
        await rate.pay(client, piece, is_given=True)
    return had


def test_ten_clients_behind_100_megabytes_get_about_ten_each() -> None:
    async def scene() -> None:
        rate = FairRate()
        rate.change(100 * MB)
        # one has eight connections, one takes larger parts
        work = [fetch(rate, f"c{number}", 10.0) for number in range(8)]
        work += [fetch(rate, "many", 10.0) for _ in range(8)]
        work += [fetch(rate, "large", 10.0, 4 * 2**20)]
        had = await asyncio.gather(*work)
        shares = [*had[:8], sum(had[8:16]), had[16]]
        assert all(8 * MB <= share / 10 <= 12 * MB for share in shares), shares
        assert 95 * MB < sum(shares) / 10 < 106 * MB

    play(scene())


def test_what_slow_clients_leave_is_for_the_others() -> None:
    async def scene() -> None:
        rate = FairRate()
        rate.change(100 * MB)
        slow = [fetch(rate, f"slow{number}", 5.0, takes_s=0.1) for number in range(9)]
        *slow_had, fast = await asyncio.gather(*slow, fetch(rate, "fast", 5.0))
        assert fast / 5 > 85 * MB
        assert min(slow_had) / 5 > 0.6 * MB, "they get all that they take"

    play(scene())


def test_who_leaves_has_paid_for_what_it_was_given() -> None:
    async def scene() -> None:
        rate = FairRate()
        rate.change(MB)
        await rate.pay("a", 2 * MB, is_given=True)
        leaving = [asyncio.create_task(rate.pay("b", MB, is_given=True)) for _ in range(3)]
        await asyncio.sleep(0.1)
        for task in leaving:
            task.cancel()
        await asyncio.wait(leaving)
        await rate.pay("c", 1, is_given=True)
        assert 4.8 < now_s() < 5.1
        assert not rate._waiting

    play(scene())


def test_who_leaves_before_it_was_given_anything_leaves_nothing_behind() -> None:
    async def scene() -> None:
        rate = FairRate()
        rate.change(MB)
        await rate.pay("a", 2 * MB, is_given=True)
        waiting = asyncio.create_task(rate.pay("c", 1, is_given=False))
        for _ in range(100):
            leaving = [asyncio.create_task(rate.pay("b", MB, is_given=False)) for _ in range(10)]
            await asyncio.sleep(0)
            for task in leaving:
                task.cancel()
            await asyncio.wait(leaving)
        assert len(rate._waiting) <= 12
        await waiting
        assert now_s() < 2.1

    play(scene())


def test_what_was_free_is_not_charged_to_a_rate_that_holds_later() -> None:
    async def scene() -> None:
        visit = usage_of(total_rate="1MB/s", schedule=[{"from": "0:00", "to": "23:59"}]).visit(HERE)
        visit._usage.look()
        for _ in range(10_000):
            assert visit.may_repeat(1000)
        assert visit._use.unsettled_bytes == 0

    play(scene())


def test_a_rate_that_is_lifted_lets_everybody_go() -> None:
    async def scene() -> None:
        rate = FairRate()
        rate.change(1024)
        await rate.pay("a", MB, is_given=True)
        waiting = asyncio.create_task(rate.pay("a", 1, is_given=True))
        await asyncio.sleep(1)
        rate.change(0)
        await waiting
        assert now_s() < 2

    play(scene())


def test_a_client_waits_for_its_own_rate() -> None:
    async def scene() -> None:
        counted = usage_of(rate="1MB/s")
        visits = [counted.visit(peer) for peer in (HERE, HERE, ELSEWHERE)]

        async def pull(number: int) -> float:
            for _ in range(40):
                await visits[number].pay(50_000)
            return now_s()

        first, second, other = await asyncio.gather(*map(pull, range(3)))
        assert 3.8 < max(first, second) < 4.1, "two connections of one client share its rate"
        assert 1.8 < other < 2.1

    play(scene())


def test_rates_of_all_are_divided_among_worker_processes() -> None:
    async def scene() -> None:
        counted = usage_of(workers=4, total_rate="4MB/s")
        await counted.visit(HERE).pay(MB)
        await counted.visit(HERE).pay(MB)
        assert 0.8 < now_s() < 1.0

    play(scene())


def test_another_rate_holds_at_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        minute = 12 * 60
        rows = [{"from": "22:00", "to": "6:00"}, {"from": "6:00", "to": "8:00", "upstream_rate": "2MB/s"}]
        monkeypatch.setattr(
            time, "localtime", lambda: time.struct_time((2026, 1, 1, minute // 60, minute % 60, 0, 0, 1, 0))
        )
        counted = usage_of(
            upstream_rate="1MB/s",
            schedule=rows,
        )
        assert counted._upstream.bytes_per_s == 0
        for minute, rate in ((12 * 60, MB), (23 * 60, 0), (7 * 60, 2 * MB), (8 * 60, MB)):
            await asyncio.sleep(LOOK_S + 0.1)
            counted.look()
            assert counted._upstream.bytes_per_s == rate, minute

    play(scene())


def test_an_upstreams_bytes_are_those_of_the_client_that_the_work_is_for() -> None:
    async def scene() -> None:
        counted = usage_of(upstream_rate="1MB/s")
        counted.visit(HERE)
        assert for_client.get() == HERE
        visit = counted.visit(HERE)
        visit.admit(Requester(HERE, User("alice")))
        assert await asyncio.create_task(_client()) == "user alice"
        await counted.pay_upstream(MB)
        await counted.pay_upstream(1)
        assert now_s() > 0.8

    async def _client() -> str:
        return for_client.get()

    play(scene())


def test_requests_are_counted_over_the_burst() -> None:
    async def scene() -> None:
        counted = usage_of(requests="10/s", burst="10s")
        here, elsewhere = counted.use_of(HERE), counted.use_of(ELSEWHERE)
        assert [counted.count_request(here) for _ in range(101)] == [True] * 100 + [False]
        assert counted.count_request(elsewhere)

    play(scene())


def test_a_request_is_counted_once_however_often_its_answer_is_made() -> None:
    async def scene() -> None:
        counted = usage_of(requests="2/m", burst="1m", downloads=1)
        visit = counted.visit(HERE)
        for _ in range(5):
            visit.admit(Requester(HERE), is_download=True)
        other = counted.visit(HERE)
        with pytest.raises(OciError) as caught:
            other.admit(Requester(HERE), is_download=True)
        assert caught.value.status == 429
        other.close()
        visit.close()
        visit.close()
        assert not counted._downloads

    play(scene())


def test_counts_are_of_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "MOST_CLIENTS", 100)
    monkeypatch.setattr(counts, "MOST_CLIENTS", 100)

    async def scene() -> None:
        counted = usage_of(requests="10/s", rate="1GB/s", bytes_per_day="1GB")
        for number in range(1000):
            visit = counted.visit(f"198.51.{number // 250}.{number % 250}")
            visit.admit(Requester(visit.client))
            await visit.pay(1000)
            visit.close()
        assert len(counted._clients._things) <= 100
        assert len(counted._days._counts._things) <= 100

    play(scene())


def test_a_window_follows_another(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    counted = BoundedCounts()
    assert counted.acquire_sliding_window_entry("a", 10, 10, 10)
    assert not counted.acquire_sliding_window_entry("a", 10, 10)
    now = 1015.0  # half of the window before still counts
    assert counted.acquire_sliding_window_entry("a", 10, 10, 5)
    assert not counted.acquire_sliding_window_entry("a", 10, 10)
    now = 1100.0
    assert counted.acquire_sliding_window_entry("a", 10, 10, 10)
    assert counted.incr("b", 10, 3) == 3
    assert (counted.get("b"), counted.get_expiry("b")) == (3, 1110.0)
    now = 1111.0
    assert counted.get("b") == 0
    counted.clear("a")
    counted.clear_sliding_window("b", 10)
    assert counted.get("a") == 0
    assert counted.check()
    counted.reset()


def test_nothing_is_limited_that_is_not_set() -> None:
    async def scene() -> None:
        counted = Usage(LimitSettings(), 1)
        visit = counted.visit(HERE)
        for _ in range(1000):
            visit.admit(Requester(HERE), is_download=True)
            assert visit.may_repeat(10**9)
            await visit.pay(10**9)
            await counted.pay_upstream(10**9)
            counted.charge_upstream(10**9)
        assert now_s() == 0

    play(scene())


WINDOWS = {
    "50/s": (500, 10), "1/s": (10, 10), "1000/m": (166, 10), "10/m": (10, 60), "1/h": (1, 3600), "100/h": (100, 3600),
    "10000/h": (27, 10),
}  # fmt: skip


@pytest.mark.parametrize(("rate", "expected"), WINDOWS.items())
def test_low_rates_are_counted_over_a_longer_time(rate: str, expected: tuple[int, int]) -> None:
    settings = resolve([SettingsSource("test", {"limits": {"requests": rate}})]).limits
    assert window_of(settings.requests, settings.burst.seconds) == expected


def test_an_answer_from_memory_is_not_repeated_to_who_owes() -> None:
    async def scene() -> None:
        visit = usage_of(rate="10KB/s").visit(HERE)
        assert [visit.may_repeat(10_000) for _ in range(3)] == [True, False, False]
        await asyncio.sleep(1)
        assert visit.may_repeat(1)

    play(scene())


def test_a_rate_changes_while_somebody_waits_for_it() -> None:
    async def scene() -> None:
        rate = FairRate(lambda: rate.change(0) if now_s() > 20 else None)
        rate.change(1024)
        await rate.pay("a", MB, is_given=True)
        await rate.pay("a", 1, is_given=True)
        assert 20 < now_s() < 26

    play(scene())


def test_a_day_is_counted_to_the_byte_but_for_a_thousandth() -> None:
    async def scene() -> None:
        visit = usage_of(bytes_per_day="1MB").visit(HERE)
        had = 0
        while visit.may_repeat(777):
            had += 777
        assert 998_000 < had <= 1_000_777
        other = usage_of(bytes_per_day="1MB").visit(HERE)
        await other.pay(5 * MB)  # what runs is not cut
        assert not other.may_repeat(1)

    play(scene())
