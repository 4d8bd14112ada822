"""Content in memory and on disk, read by several at once."""

import asyncio
from pathlib import Path

import pytest

from hubferry.store import content
from hubferry.store.content import FileStore
from tests.support.content import digest_of

CONTENT = b"a manifest"


def test_content_that_leaves_memory_while_its_file_is_looked_for_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others took its place: memory is bounded."""
    monkeypatch.setattr(content, "RECHECK_S", 0.0)
    monkeypatch.setattr(content, "MEMORY_BYTES", 8 * len(CONTENT))
    store = FileStore(tmp_path)
    digest = digest_of(CONTENT)
    others = [b"content %2d" % number for number in range(8)]  # as much as there is room for

    async def scene() -> None:
        loop = asyncio.get_running_loop()

        def exists(_: Path) -> bool:
            for other in others:
                asyncio.run_coroutine_threadsafe(store.write(digest_of(other), other), loop).result(30)
            return True

        await store.write(digest, CONTENT)
        monkeypatch.setattr(Path, "exists", exists)
        assert await store.read(digest) == CONTENT

    asyncio.run(scene())
