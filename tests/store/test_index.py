"""The index's memory of what was just read and written."""

import asyncio
import threading
from pathlib import Path

from hubferry.ports import Repository
from hubferry.store.index import SqliteIndex
from tests.pull.fakes import FakeLog

REPOSITORY = Repository("docker.io", "library/nginx")
DIGEST = "sha256:" + "a" * 64


def test_a_read_that_was_overtaken_by_a_write_does_not_undo_it(tmp_path: Path) -> None:
    index = SqliteIndex(tmp_path, FakeLog())
    held = threading.Event()

    async def scene() -> None:
        index._thread.submit(held.wait)
        reading = asyncio.create_task(index.blob(REPOSITORY, DIGEST))
        await asyncio.sleep(0)
        writing = asyncio.create_task(index.put_blob(REPOSITORY, DIGEST, 5))
        await asyncio.sleep(0)
        held.set()
        await asyncio.gather(reading, writing)
        assert await index.blob(REPOSITORY, DIGEST) == 5
        await index.close()

    asyncio.run(scene())
