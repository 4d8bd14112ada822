"""What an earlier process left behind: continued when it is right, found out when it is not."""

import asyncio
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from hubferry.fill.bounds import Effort
from hubferry.fill.fills import THREADS
from hubferry.fill.writer import hash_prefix
from hubferry.ports.fills import FillOrder
from hubferry.store.blobs import FileBlobs
from tests.fill.fakes import (
    HELD_BACK,
    MIB,
    UPSTREAM,
    Stage,
    Upstream,
    content,
    digest_of,
    play,
    read_all,
    read_until_cut,
)
from tests.support.waiting import until

DATA = content(4 * MIB)
DIGEST = digest_of(DATA)


def leave(
    folder: Path,
    data: bytes,
    *,
    size: int | None = len(DATA),
    checked: int = 0,
    hashed: bytes = b"",
    digest: str = DIGEST,
) -> Path:
    """A file under way as a process that was killed leaves it."""
    partial = FileBlobs(folder).open_partial(UPSTREAM, digest)
    partial.declare(size, checked, hashlib.sha256(hashed).hexdigest() if checked else "")
    partial.write(0, [data])
    partial.close()
    hexadecimal = digest.partition(":")[2]
    (path,) = (one for one in (folder / "partial").glob(f"*{hexadecimal}*") if one.suffix != ".json")
    return path


@pytest.mark.parametrize("length", [0, 1, MIB, 4 * MIB - HELD_BACK, 4 * MIB - 1, 4 * MIB])
def test_a_partial_is_continued(tmp_path: Path, length: int) -> None:
    leave(tmp_path, DATA[:length])
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        assert upstream.offsets == [min(length, len(DATA) - 1)]
        await stage.settled()
        assert await stage.stored(DIGEST) == DATA
        assert stage.partials_left() == []

    play(scene(), stage)


def test_a_partial_of_unknown_size_is_continued(tmp_path: Path) -> None:
    leave(tmp_path, DATA[:MIB], size=None)
    stage, upstream = Stage(tmp_path), Upstream(DATA, says_size=lambda _: None)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        assert upstream.offsets == [MIB]

    play(scene(), stage)


def test_a_partial_is_continued_without_ranges(tmp_path: Path) -> None:
    leave(tmp_path, DATA[:MIB])
    stage, upstream = Stage(tmp_path), Upstream(DATA, knows_ranges=False)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        assert upstream.offsets == [MIB]

    play(scene(), stage)


def test_what_is_there_counts_before_it_is_hashed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who resumes a download after a restart is not far ahead of the fill: the rest would be fetched twice."""
    leave(tmp_path, DATA[: 3 * MIB])
    stage, upstream, may_hash = Stage(tmp_path), Upstream(DATA), threading.Event()

    def hash_later(*args: Any) -> Any:
        may_hash.wait(20)
        return hash_prefix(*args)

    monkeypatch.setattr("hubferry.fill.lead.hash_prefix", hash_later)

    async def scene() -> None:
        await stage.fills.start(FillOrder(UPSTREAM, DIGEST, upstream.fetch))
        blob = await stage.fills.visit(UPSTREAM, DIGEST)
        assert blob is not None
        assert blob.front_bytes == 3 * MIB
        body = blob.body(0, None)
        blob.close()
        reading = asyncio.create_task(read_all(body))
        done, _ = await asyncio.wait({reading}, timeout=0.05)
        assert not done
        may_hash.set()
        assert await reading == DATA

    play(scene(), stage)


def test_nobody_waits_for_what_others_have_to_hash_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger who asks for a byte of each of many large partials had all threads busy for seconds."""
    parts = [content(MIB // 4, seed) for seed in range(1, 2 * THREADS)]
    for data in parts:
        leave(tmp_path, data[:1000], size=len(data), digest=digest_of(data))
    may_hash = threading.Event()

    def hash_later(partial: Any, digest: str, length_bytes: int) -> Any:
        if length_bytes:
            may_hash.wait(30)
        return hash_prefix(partial, digest, length_bytes)

    monkeypatch.setattr("hubferry.fill.lead.hash_prefix", hash_later)
    stage = Stage(tmp_path)

    async def scene() -> None:
        continued = [asyncio.create_task(stage.pull(digest_of(data), Upstream(data))) for data in parts]
        await until(lambda: stage.fills.count() == len(parts))
        assert await stage.pull(DIGEST, Upstream(DATA)) == DATA
        assert not any(one.done() for one in continued)
        may_hash.set()
        assert await asyncio.gather(*continued) == parts

    play(scene(), stage)


def test_damage_below_the_mark_is_found_before_anybody_is_given_it(tmp_path: Path) -> None:
    leave(tmp_path, b"\1" + DATA[1:MIB], checked=MIB // 2, hashed=DATA[: MIB // 2])
    stage, upstream = Stage(tmp_path), Upstream(DATA)
    assert DATA[0] != 1

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        await stage.settled()
        assert upstream.offsets == [MIB, 0]
        assert all(body.closed for body in upstream.bodies)
        assert stage.events() == ["partial_damaged"]

    play(scene(), stage)


def test_damage_elsewhere_cuts_once(tmp_path: Path) -> None:
    leave(tmp_path, DATA[: MIB - 1] + b"\0")
    stage = Stage(tmp_path)

    async def scene() -> None:
        got, failure = await read_until_cut(await stage.open(DIGEST, Upstream(DATA)))
        assert failure is not None
        assert len(got) <= len(DATA) - HELD_BACK
        await stage.settled()
        assert stage.partials_left() == []
        assert await stage.pull(DIGEST, Upstream(DATA)) == DATA

    play(scene(), stage)


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, MIB])
def test_a_partial_of_another_size_is_begun_anew(tmp_path: Path, size: int) -> None:
    leave(tmp_path, b"\0" * MIB, size=size)
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        assert upstream.offsets[-1] == 0

    play(scene(), stage)


@pytest.mark.parametrize("sidecar", [None, b"", b"{}", b"[]", b'{"upstream": "else"}', b"\xff"])
def test_a_file_that_nothing_is_known_of_is_begun_anew(tmp_path: Path, sidecar: bytes | None) -> None:
    path = leave(tmp_path, b"\0" * MIB)
    name = path.with_name(path.name + ".json")
    if sidecar is None:
        name.unlink()
    else:
        name.write_bytes(sidecar)
    stage, upstream = Stage(tmp_path), Upstream(DATA)

    async def scene() -> None:
        assert await stage.pull(DIGEST, upstream) == DATA
        assert upstream.offsets == [0]

    play(scene(), stage)


def test_a_fill_notes_how_far_it_is(tmp_path: Path) -> None:
    stage, upstream = Stage(tmp_path, effort=Effort(patience_s=0.2)), Upstream(DATA, knows_ranges=False, cut_after=MIB)

    async def scene() -> None:
        await read_until_cut(await stage.open(DIGEST, upstream))
        await stage.settled()
        (name,) = (one for one in stage.partials_left() if one.endswith(".json"))
        said = json.loads((tmp_path / "partial" / name).read_bytes())
        assert said == {
            "upstream": UPSTREAM,
            "digest": DIGEST,
            "size_bytes": len(DATA),
            "checked_bytes": MIB,
            "checked_hash": hashlib.sha256(DATA[:MIB]).hexdigest(),
        }

    play(scene(), stage)
