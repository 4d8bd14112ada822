"""A file system without modes of its own (vfat, CIFS, 9p): every file is 0755, and chmod is refused or does nothing."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from hubferry.fill.bounds import Effort
from hubferry.ports.upstream import Cause, UpstreamFailure
from tests.fill.fakes import MIB, Stage, Upstream, content, digest_of, play, read_all, read_until_cut
from tests.fill.line import EFFORT, Fault, Line, hurry
from tests.support.waiting import until

DATA = content(8 * MIB)
DIGEST = digest_of(DATA)


@pytest.fixture(params=["refused", "ignored"], autouse=True)
def _modeless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    really_open, really_change = os.open, os.fchmod

    def open_file(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        descriptor = really_open(path, flags, mode, **more)
        if flags & os.O_CREAT:
            really_change(descriptor, 0o755)
        return descriptor

    def change(_descriptor: int, _mode: int) -> None:
        if request.param == "refused":
            raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "fchmod", change)


def test_a_slow_blob_is_kept_over_one_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    stage, line = Stage(tmp_path, effort=EFFORT), Line(DATA, 16 * MIB)

    async def scene() -> None:
        assert await stage.pull(DIGEST, line) == DATA
        await stage.settled()
        assert line.most_at_once == 1
        assert stage.events() == []
        assert await stage.stored(DIGEST) == DATA
        assert stage.partials_left() == []

    play(scene(), stage)


@pytest.mark.parametrize("is_front_left", [False, True])
def test_what_is_there_is_continued(tmp_path: Path, is_front_left: bool) -> None:
    stage, again = Stage(tmp_path, effort=Effort(patience_s=0)), Upstream(DATA)

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, Line(DATA, None, fault=first_half)))
        assert isinstance(failure, UpstreamFailure)
        await stage.settled()
        (path,) = (one for one in (tmp_path / "partial").iterdir() if not one.suffix)
        if is_front_left:  # by a copy of the folder from elsewhere
            path.with_name(path.name + ".front").write_bytes(MIB.to_bytes(8, "big"))
        assert await stage.pull(DIGEST, again) == DATA
        assert again.offsets == [MIB if is_front_left else len(got)]
        await stage.settled()
        assert await stage.stored(DIGEST) == DATA
        assert stage.partials_left() == []

    def first_half(number: int, *_: object) -> Fault:
        return Fault(cut_after=4 * MIB) if not number else Fault(raises=UpstreamFailure(Cause.TCP, "", "gone"))

    play(scene(), stage)


def test_another_process_follows(tmp_path: Path) -> None:
    leader, follower = Stage(tmp_path), Stage(tmp_path)
    go_on = asyncio.Event()

    async def gate(at: int) -> None:
        if at >= 2 * MIB:
            await go_on.wait()

    upstream = Upstream(DATA, gate=gate)

    async def scene() -> None:
        first = await leader.open(DIGEST, upstream)
        await until(lambda: upstream.given_bytes >= 2 * MIB)
        second = await follower.open(DIGEST, upstream)
        got = await asyncio.wait_for(second.read(), 20) or b""
        go_on.set()
        assert got + await read_all(second) == await read_all(first) == DATA
        assert upstream.offsets == [0]

    play(scene(), leader, follower)
