"""What a command waits for, in one line that goes away; on a terminal only, as elsewhere results are lines enough."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hubferry.cli.output import console

if TYPE_CHECKING:
    from rich.status import Status


class Waiting:
    """The line, on standard error. Use it as a context manager; leaving it takes the line away."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, what: str) -> None:
        """Say what is waited for now."""
        if not sys.stderr.isatty():
            return
        from rich.text import Text  # noqa: PLC0415 - as in `console`

        if self._status is None:
            self._status = console(err=True).status("")
            self._status.start()
        self._status.update(Text(f"waiting for {what}", overflow="ellipsis", no_wrap=True))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take the line away while something is printed."""
        if self._status is None:
            yield
            return
        self._status.stop()
        yield
        self._status.start()
