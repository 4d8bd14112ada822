"""Run a coroutine in an event loop of its own, and check that it leaves nothing behind."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.support.virtual_time import virtual_loop
from tests.support.waiting import turns

T = TypeVar("T")
TIMEOUT_S = 60.0


def run_scene(
    scene: Coroutine[Any, Any, T], *closings: Callable[[], Awaitable[object]], in_virtual_time: bool = False
) -> T:
    """Return what the scene returns; `closings` are called in its loop afterwards, however it ended.

    With `in_virtual_time` its loop's time passes only while everything waits (virtual_time.py).

    An AssertionError when it leaves a task, a thread or an open file, or when the loop was told of an error that nobody
    looked at. A TimeoutError after TIMEOUT_S.
    """
    files, threads = open_files(), _threads()
    unseen: list[dict[str, Any]] = []

    async def run() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                result = await scene
        finally:
            for closing in closings:
                await closing()
        await turns()  # whatever was cancelled or closed ends within these
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    loops = virtual_loop() if in_virtual_time else contextlib.nullcontext()
    with loops as loop_factory, asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(run())
    gc.collect(1)  # the loop is told of an error when its task is collected; all generations would take half a second
    assert unseen == [], f"nobody looked at what failed: {unseen}"
    for thread in _threads() - threads:
        thread.join(10)  # a removed file is closed on a thread that nobody waits for
    assert _threads() <= threads
    assert open_files() == files
    return result


def _threads() -> set[threading.Thread]:
    """Every thread but the one that lasts with the process, for large documents (remote/parsing.py)."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("parsing")}


def open_files() -> set[str]:
    """The regular files that this process has open, each with its descriptor."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith("/") and not target.startswith(("/dev", "/proc")):
                found.add(f"{link.name}:{target}")
    return found
