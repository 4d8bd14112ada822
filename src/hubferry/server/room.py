"""The memory that large bodies may take while clients read them, and the line of those who wait for it.

A body that has to wait is not kept meanwhile: its request is answered again when there is room (app.py).
Who comes next is decided in core/body_room.py.
"""

import asyncio

from hubferry.core.body_room import BodyRoom, Wish

MOST_BYTES = 32 * 2**20
SMALL_BYTES = 64 * 1024  # is sent at once, and bounded by the number of connections


class Room:
    """The room of one worker process, for one event loop."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._room = BodyRoom(most_bytes)
        self._waiting: list[tuple[Wish, asyncio.Future[None]]] = []

    def take_now(self, wish: Wish) -> bool:
        """Take the room if it is there and nobody waits for any; whether it was taken."""
        if self._waiting or self._room.choose([wish]) is None:
            return False
        self._room.take(wish)
        return True

    async def take(self, wish: Wish) -> None:
        """Wait for the room, and take it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (wish, turn)
        self._waiting.append(entry)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._admit()
            else:  # it had its turn at the same moment
                self.give_back(wish)
            raise

    def give_back(self, wish: Wish) -> None:
        """Let the next ones have it."""
        self._room.give_back(wish)
        self._admit()

    def _admit(self) -> None:
        while (chosen := self._room.choose([wish for wish, _ in self._waiting])) is not None:
            wish, turn = self._waiting.pop(chosen)
            if turn.cancelled():
                continue
            self._room.take(wish)
            turn.set_result(None)
