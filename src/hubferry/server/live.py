"""Figures that go on: one look and one rendering every PERIOD_S for all who look on in one language.

Nothing is done while nobody looks on. A listener is a body that never ends by itself: it ends when its client leaves,
and with the server. Connections of clients are not cut for being quiet: a client is only judged while bytes wait for it
(core/client_rate.py).
"""

import asyncio
from collections.abc import Awaitable, Callable

from hubferry.core.errors import Code, OciError
from hubferry.pages.board import Overview
from hubferry.pages.status import event
from hubferry.server.log import logger

PERIOD_S = 2.0
MOST_LISTENERS = 64


class Listener:
    """The body of one client that looks on."""

    def __init__(self, live: "Live", language: str) -> None:
        self.language = language
        self.seen = 0
        self._live = live

    async def read(self) -> bytes | None:
        """Return the next figures when there are some; None at the end."""
        return await self._live.next_for(self)

    async def close(self) -> None:
        """Get no more figures. With the last listener the rendering ends."""
        self._live.leave(self)


class Live:
    """Renders what there is to see for those who look on."""

    def __init__(self, look: Callable[[], Awaitable[Overview]]) -> None:
        self._look = look
        self._listeners: set[Listener] = set()
        self._rendered: dict[str, bytes] = {}
        self._number = 0
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._has_ended = False

    def follow(self, language: str) -> Listener:
        """Return a new listener. Raises OciError 503 when there are too many, or when the server ends."""
        if self._has_ended or len(self._listeners) >= MOST_LISTENERS:
            problem = f"{MOST_LISTENERS} browsers look on already: close one, or load the page again later"
            raise OciError(503, Code.UNAVAILABLE, problem, headers=(("retry-after", "30"),))
        listener = Listener(self, language)
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._rendered.clear()
            self._task = asyncio.create_task(self._run())
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener. Without any the work ends."""
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    def end(self) -> None:
        """End every body, because the server stops."""
        self._has_ended = True
        if self._task is not None:
            self._task.cancel()
        self._changed.set()

    async def next_for(self, listener: Listener) -> bytes | None:
        """Wait for figures that a listener has not seen, and return them; None when the server stops."""
        while not self._has_ended:
            rendered = self._rendered.get(listener.language)
            if rendered is not None and listener.seen != self._number:
                listener.seen = self._number
                return rendered
            await self._changed.wait()
        return None

    async def _run(self) -> None:
        while True:
            try:
                overview = await self._look()
                languages = {listener.language for listener in self._listeners}
                self._rendered = {language: event(overview, language) for language in languages}
            except Exception:  # noqa: BLE001 - those who look on see older figures, and the log says why
                logger().exception("internal_error", path="/status/events")
            else:
                self._number += 1
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(PERIOD_S)
