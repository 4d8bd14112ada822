"""The schedule of a server: who of several processes keeps to it, what is due when, and how it ends."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hubferry.core.image import ImageName
from hubferry.core.platforms import Platform
from hubferry.pull.warm import Warmed
from hubferry.server import keep_warm
from hubferry.server.keep_warm import KeepWarm
from tests.support.scenes import run_scene
from tests.support.waiting import until

ONE, TWO = (ImageName("docker.io", f"library/{name}", "1") for name in ("one", "two"))
AMD64 = (Platform("linux", "amd64"),)


class FakeWarmer:
    """Notes what it is to warm; `broken` images fail."""

    def __init__(self) -> None:
        self.asked: list[ImageName] = []
        self.broken: set[ImageName] = set()
        self.raises: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def warm(self, image: ImageName, platforms: object) -> Warmed:
        assert platforms == AMD64
        self.asked.append(image)
        await self.gate.wait()
        if self.raises is not None:
            raise self.raises
        return Warmed(image, problems=["broken"] if image in self.broken else [])


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((event, fields))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(keep_warm, "logger", lambda: log)
    monkeypatch.setattr(keep_warm, "FIRST_S", (0.0, 0.0))
    monkeypatch.setattr(keep_warm, "LOCK_POLL_S", 0.01)
    return log


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was tried to lock, each time, from here on."""
    tries: list[Path] = []
    real = keep_warm._try_lock

    def try_lock(path: Path) -> int | None:
        tries.append(path)
        return real(path)

    monkeypatch.setattr(keep_warm, "_try_lock", try_lock)
    return tries


def schedule(warmer: FakeWarmer, folder: Path, every_s: float = 3600.0) -> KeepWarm:
    images = (ONE, TWO, ONE)
    return KeepWarm(cast("Any", warmer), images, AMD64, every_s=every_s, lock=folder / "data" / "warm.lock")


def test_each_image_once_in_a_turn_and_one_line(tmp_path: Path, log: Log) -> None:
    async def scene() -> None:
        warmer = FakeWarmer()
        one = schedule(warmer, tmp_path)
        one.start()
        await until(lambda: bool(log.lines))
        await one.close()
        assert warmer.asked == [ONE, TWO]
        ((event, fields),) = log.lines
        assert (event, fields["images"], fields["failed"]) == ("warmed", 2, 0)

    run_scene(scene())


def test_one_of_two_does_it_and_the_other_goes_on_when_it_ends(tmp_path: Path, log: Log, tries: list[Path]) -> None:
    async def scene() -> None:
        first, second = FakeWarmer(), FakeWarmer()
        first.gate.clear()
        one, other = schedule(first, tmp_path), schedule(second, tmp_path)
        one.start()
        await until(lambda: bool(first.asked))
        other.start()
        count = len(tries)
        await until(lambda: len(tries) > count + 2 or bool(second.asked), "that the other one tries in vain")
        assert second.asked == []
        await one.close()
        await until(lambda: second.asked == [ONE, TWO])
        await other.close()
        assert first.asked == [ONE]

    run_scene(scene())


def test_what_failed_is_due_sooner_and_alone(tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_warm, "decide_pause_s", lambda every_s, has_failed: 0.01 if has_failed else every_s)

    async def scene() -> None:
        warmer = FakeWarmer()
        warmer.broken = {TWO}
        one = schedule(warmer, tmp_path)
        one.start()
        await until(lambda: len(warmer.asked) > 4)
        warmer.broken = set()
        await until(lambda: log.lines[-1][1].get("images") == 1)
        count = len(warmer.asked)
        await asyncio.sleep(0.05)  # in which it would be due
        await one.close()
        assert warmer.asked == [ONE, *[TWO] * (count - 1)], "not again before its time"
        assert ("warm_failed", {"image": str(TWO), "problem": "broken"}) in log.lines

    run_scene(scene())


def test_every_turn_all_of_them(tmp_path: Path, log: Log) -> None:
    async def scene() -> None:
        warmer = FakeWarmer()
        one = schedule(warmer, tmp_path, every_s=0.01)
        one.start()
        await until(lambda: len(warmer.asked) >= 6)
        await one.close()
        assert warmer.asked[:6] == [ONE, TWO] * 3

    run_scene(scene())


def test_a_mistake_of_ours_is_not_the_end(tmp_path: Path, log: Log) -> None:
    async def scene() -> None:
        warmer = FakeWarmer()
        warmer.raises = RuntimeError("a mistake")
        one = schedule(warmer, tmp_path, every_s=0.01)
        one.start()
        await until(lambda: len(warmer.asked) >= 4)
        await one.close()
        assert log.lines[0] == ("internal_error", {"image": str(ONE)})

    run_scene(scene())


def test_it_ends_in_the_middle_and_before_it_began(tmp_path: Path, log: Log) -> None:
    async def scene() -> None:
        warmer = FakeWarmer()
        warmer.gate.clear()
        one = schedule(warmer, tmp_path)
        await one.close()  # never started
        one.start()
        await until(lambda: bool(warmer.asked))
        await one.close()
        assert log.lines == []
        other = schedule(FakeWarmer(), tmp_path)
        other.start()
        await other.close()

    run_scene(scene())


def test_a_folder_that_cannot_be_locked_in_is_tried_again(tmp_path: Path, log: Log, tries: list[Path]) -> None:
    async def scene() -> None:
        (tmp_path / "data").write_text("in the way")
        warmer = FakeWarmer()
        one = schedule(warmer, tmp_path)
        one.start()
        await until(lambda: len(tries) > 1 or bool(warmer.asked), "that it tries in vain")
        assert warmer.asked == []
        (tmp_path / "data").unlink()
        await until(lambda: bool(warmer.asked))
        await one.close()

    run_scene(scene())
