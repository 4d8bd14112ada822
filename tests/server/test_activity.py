"""What a worker counts for the status page, its file, and what counting costs."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from hubferry.core.activity import Figures, Record
from hubferry.gateway.answer import AccessRecord
from hubferry.ports.shell import UNCOUNTED
from hubferry.pull.results import Outcome, OutcomeName
from hubferry.server.activity import Activity, FetchedCounter


def record(outcome: OutcomeName, problem: str = "", repository: str = "library/nginx") -> AccessRecord:
    return AccessRecord("docker.io", repository, "latest", Outcome(outcome, problem))


def looked(activity: Activity) -> Record:
    return asyncio.run(activity.look())


async def begun(folder: Path) -> Activity:
    """One that has its number by now."""
    activity = Activity(folder)
    activity.start()
    for _ in range(1000):
        if activity.number is not None:
            break
        await asyncio.sleep(0.005)
    return activity


def test_content_from_the_cache_counts_as_a_hit_and_other_requests_as_neither() -> None:
    activity = Activity(None)
    for outcome in ("hit", "revalidated", "stale", "miss", "bypass", "error", "challenge"):
        activity.answered(record(outcome), 200, 10)
    activity.answered(AccessRecord(), 200, 10)  # a page
    FetchedCounter(activity, UNCOUNTED).upstream_gave("docker.io", 30)
    assert looked(activity).total == Figures(requests=7, hits=3, misses=2, sent_bytes=70, fetched_bytes=30)


def test_names_that_clients_make_up_are_not_remembered() -> None:
    activity = Activity(None)
    for number in range(1000):
        activity.answered(record("error", repository=f"made/up/{number}"), 404, 10)
    seen = looked(activity)
    assert seen.total.requests == 1000
    assert seen.busiest(time.time(), 10) == []


PROBLEMS: dict[str, tuple[OutcomeName, int, bool]] = {
    "an upstream that cannot be reached": ("error", 503, True),
    "a limit": ("error", 429, True),
    "a body that broke off": ("cut", 200, True),
    "an answer in the place of an upstream": ("stale", 200, True),
    "content that cannot be kept": ("miss", 200, True),
    "what there is not": ("error", 404, False),
    "what may not be had": ("error", 403, False),
    "a client that took nothing": ("gone", 499, False),
}


@pytest.mark.parametrize(("outcome", "status", "is_told"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_problems_of_the_gateway_are_told_and_not_those_of_clients(
    outcome: OutcomeName, status: int, is_told: bool
) -> None:
    activity = Activity(None)
    activity.answered(record(outcome, "it failed \x1b[31m"), status, 0)
    found = looked(activity).problems()
    assert [one.text for one in found] == (["it failed \\x1b[31m"] if is_told else [])


def test_workers_take_turns_with_numbers_and_add_up(tmp_path: Path) -> None:
    async def run() -> None:
        first, second = await begun(tmp_path), await begun(tmp_path)
        assert {first.number, second.number} == {0, 1}
        first.answered(record("hit"), 200, 5)
        second.answered(record("miss"), 200, 7)
        await first.close()  # its file is written at the end
        assert (await second.look()).total == Figures(2, 1, 1, 12, 0)
        third = await begun(tmp_path)
        assert third.number == 0
        assert (await third.look()).total.requests == 1
        await second.close()
        await third.close()
        assert (await third.look()).total.requests == 2

    asyncio.run(run())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.json", "0.lock", "1.json", "1.lock"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b"\xff", b"{" * 100_000, b" " * (2**20 + 1)])
def test_a_file_that_cannot_be_read_is_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.json").write_bytes(content)

    async def run() -> Record:
        activity = await begun(tmp_path)
        activity.answered(record("hit"), 200, 5)
        await activity.close()
        return await activity.look()

    assert asyncio.run(run()).total.requests == 1
    assert json.loads((tmp_path / "0.json").read_bytes())["total"][0] == 1


def test_a_folder_that_cannot_be_used_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def run() -> Record:
        activity = Activity(tmp_path / "file" / "activity")
        activity.start()
        await asyncio.sleep(0)
        activity.answered(record("hit"), 200, 5)
        await activity.close()
        return await activity.look()

    assert asyncio.run(run()).total.requests == 1


def test_a_repeated_answer_costs_well_under_a_microsecond_to_count() -> None:
    activity, hit = Activity(None), record("hit")
    best = float("inf")
    for _ in range(20):
        begun_s = time.process_time()
        for _ in range(10_000):
            activity.answered(hit, 200, 1000)
        best = min(best, time.process_time() - begun_s)
    assert best / 10_000 < 2e-6, f"{best / 10_000 * 1e6:.2f} microseconds"  # 0.3 on an idle machine
