"""Limit the memory for large bodies while clients read them, and let requests wait for it.

A body that has to wait is not kept in the meantime: its request is answered again when there is room (app.py).
A client that reads too slowly is cut, but only while others wait.
Who comes next, and how long a client may take, is decided in core/body_memory.py.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from hubferry.core.body_memory import BodyMemory, MemoryRequest
from hubferry.server.bodies import CutShort

MOST_BYTES = 32 * 2**20
SMALL_BYTES = 64 * 1024  # a body up to this size never waits: the number of connections bounds their memory


class BodyMemoryQueue:
    """The memory for large bodies in one worker process, for one event loop."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._room = BodyMemory(most_bytes)
        self._waiting: list[tuple[MemoryRequest, asyncio.Future[None]]] = []
        self._due_s: dict[asyncio.Timeout, float] = {}  # when each body that is being sent is cut if others wait
        self._is_pressing = False

    def take_now(self, request: MemoryRequest) -> bool:
        """Take the room for a body if it is free and nobody waits. Return whether it was taken."""
        if self._waiting or self._room.choose([request]) is None:
            return False
        self._room.take(request)
        return True

    async def take(self, request: MemoryRequest) -> None:
        """Wait for the room for a body, and take it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (request, turn)
        self._waiting.append(entry)
        self._admit()
        self._press()
        try:
            await turn
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._admit()
                self._press()
            elif not turn.cancelled():  # the room was given at the moment of the cancellation
                self.give_back(request)
            raise

    def give_back(self, request: MemoryRequest) -> None:
        """Give the room of a body back, and let those who wait have it."""
        self._room.give_back(request)
        self._admit()
        self._press()

    @contextlib.asynccontextmanager
    async def sending(self, request: MemoryRequest) -> AsyncIterator[None]:
        """Wrap the sending of a body whose room was taken. Raises CutShort when it takes too long while others wait."""
        due_s = asyncio.get_running_loop().time() + request.patience_s
        try:
            async with asyncio.timeout(None) as limit:
                self._due_s[limit] = due_s
                if self._is_pressing:
                    limit.reschedule(due_s)
                try:
                    yield
                finally:
                    del self._due_s[limit]
        except TimeoutError:
            if not limit.expired():
                raise
            problem = (
                f"others waited for the room of this body, and its client took more than {request.patience_s:.0f} s"
            )
            raise CutShort(problem) from None

    def _press(self) -> None:
        """Set the time limits of the bodies that are being sent while somebody waits for them, and else remove them."""
        is_pressing = self._room.is_short([request for request, _ in self._waiting])
        if is_pressing != self._is_pressing:
            self._is_pressing = is_pressing
            for limit, due_s in self._due_s.items():
                if not limit.expired():
                    limit.reschedule(due_s if is_pressing else None)

    def _admit(self) -> None:
        while (chosen := self._room.choose([request for request, _ in self._waiting])) is not None:
            request, turn = self._waiting.pop(chosen)
            if turn.cancelled():
                continue
            self._room.take(request)
            turn.set_result(None)
