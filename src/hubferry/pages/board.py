"""What the status page shows, and what a shell has to know and do for it. Values and Protocols only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hubferry.core.activity import BusyImage, Figures, Problem
from hubferry.core.http import Request
from hubferry.core.quota import Standing
from hubferry.ports.shell import Visit
from hubferry.ports.upstream import Readable


@dataclass(frozen=True, slots=True)
class RunningFill:
    """A blob that is being fetched. `image` is one that it belongs to, or its upstream.

    `bytes_per_s` None: not known yet.
    """

    image: str
    digest: str
    at_bytes: int
    size_bytes: int | None
    bytes_per_s: float | None

    @property
    def left_s(self) -> float | None:
        """In how many seconds it is there at this rate; None: not known."""
        if self.size_bytes is None or self.bytes_per_s is None or self.bytes_per_s < 1:
            return None
        return (self.size_bytes - self.at_bytes) / self.bytes_per_s


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """An upstream, whether it cannot be reached at the moment, and what is known of its limits."""

    name: str
    is_down: bool
    standings: Sequence[Standing]


@dataclass(frozen=True, slots=True)
class Disk:
    """What the cache takes, may take, and leaves free on its disk; and the number of tags that are kept."""

    used_bytes: int
    most_bytes: int
    free_bytes: int
    images: int


@dataclass(frozen=True, slots=True)
class WarmJob:
    """An image that an operator has ordered. `state` is `waiting`, `running`, `done` or `failed`."""

    image: str
    state: str
    at_bytes: int = 0
    size_bytes: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the status page shows at one moment, in seconds since 1970.

    `spans` are the figures of the intervals of each span (core.activity.SPANS), the oldest first. `is_summed`: they are
    of all workers, and survive a restart. `disk` None: nothing is kept.
    """

    now: float
    since: float
    total: Figures
    day: Figures
    spans: Mapping[str, Sequence[Figures]]
    fills: Sequence[RunningFill]
    more_fills: int
    upstreams: Sequence[UpstreamState]
    disk: Disk | None
    busiest: Sequence[BusyImage]
    problems: Sequence[Problem]
    jobs: Sequence[WarmJob]
    is_summed: bool


@dataclass(frozen=True, slots=True)
class KeptRow:
    """An image that is kept, as the list shows it. Times are in seconds since 1970; None: not known."""

    name: str
    digest: str
    size_bytes: int
    used_at: float | None
    confirmed_at: float | None
    is_pinned: bool


class Board(Protocol):
    """What a shell knows of the gateway's work, for its operators."""

    async def operator(self, request: Request, arrived: Request, visit: Visit) -> str:
        """Return the name of the operator who sent a request. Raises OciError 404 for anybody else, 401."""

    def is_operator(self, request: Request, arrived: Request) -> bool:
        """Return whether an operator sent a request, as far as that is known without checking a password."""

    async def look(self) -> Overview:
        """Return what there is to see now."""

    def follow(self, language: str) -> Readable:
        """Return the changing part of the page in a language, again and again, as server-sent events.

        Raises OciError 503 when too many look on.
        """

    @property
    def keeps(self) -> bool:
        """Whether anything is kept, so that there is a list of images."""

    async def kept(self, words: str) -> Sequence[KeptRow]:
        """Return the kept images whose names have `words`, sorted by name. Raises OciError."""

    async def change(self, action: str, form: Mapping[str, str], who: str, peer: str) -> str:
        """Do what an operator ordered, and return the key of the words that say so.

        Raises ValueError, whose text says what is wrong with the order, and OciError.
        """
