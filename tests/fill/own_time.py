"""An event loop on which time passes only by waiting."""

import asyncio
from typing import Any, Self


class OwnTime(asyncio.SelectorEventLoop):
    """When nothing is left to do, it is later."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._poll = self._selector.select  # type: ignore[attr-defined]
        self._selector.select = self._select  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._now

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _select(self, timeout: float | None) -> Any:
        assert timeout is not None, "nothing will ever happen"
        self._now += max(timeout, 0)
        return self._poll(0)
