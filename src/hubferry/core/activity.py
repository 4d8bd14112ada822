"""What one worker has done lately: figures over the last hour, day and week, the busiest images, the last problems.

Pure; times are in seconds since 1970 and are given. Everything is bounded: a ring forgets intervals that are older than
its span, an hour names at most MOST_IMAGES repositories, and of problems the latest MOST_PROBLEMS are known. A record
is written as a document of plain values, and read again: what in such a document is not as expected is left out.
Not here: counting requests, and the files (server/activity.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

HOUR_S = 3600
# the name of a span, the length of its intervals in seconds, and how many of them there are
SPANS = (("hour", 10, 360), ("day", 300, 288), ("week", HOUR_S, 168))
HOURS_OF_IMAGES = 24
MOST_IMAGES = 400  # repositories that are named for one hour
MOST_PROBLEMS = 50
MAX_NUMBER = 2**62
VERSION = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What happened in a time: requests, content given from the cache or fetched for it, bytes sent and fetched.

    `hits` and `misses` count manifests, blobs and lists; of other requests there is neither.
    """

    requests: int = 0
    hits: int = 0
    misses: int = 0
    sent_bytes: int = 0
    fetched_bytes: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(
            self.requests + other.requests,
            self.hits + other.hits,
            self.misses + other.misses,
            self.sent_bytes + other.sent_bytes,
            self.fetched_bytes + other.fetched_bytes,
        )

    @property
    def row(self) -> tuple[int, int, int, int, int]:
        """The figures in their order, for a document; dataclasses.astuple takes ten times as long."""
        return self.requests, self.hits, self.misses, self.sent_bytes, self.fetched_bytes

    @property
    def hit_ratio(self) -> float | None:
        """The share of content that came from the cache, from 0 to 1; None when none was given."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None

    @property
    def saved_bytes(self) -> int:
        """How many bytes clients got beyond those that upstreams had to send."""
        return max(self.sent_bytes - self.fetched_bytes, 0)


NOTHING = Figures()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that went wrong: when last, how often, and the sentence of the log. `status` is that of the answer."""

    at: float
    upstream: str
    status: int
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class BusyImage:
    """A repository with its requests and bytes. `name` begins with the upstream."""

    name: str
    requests: int
    sent_bytes: int


class Ring:
    """The figures of the last `most` intervals of `step_s` seconds."""

    def __init__(self, step_s: int, most: int) -> None:
        self.step_s = step_s
        self._most = most
        self._slots: dict[int, Figures] = {}

    def add(self, now: float, figures: Figures) -> None:
        """Add figures to the interval of `now`, and forget intervals that are too old, or to come."""
        slot = int(now // self.step_s)
        self._slots[slot] = self._slots.get(slot, NOTHING) + figures
        if len(self._slots) > self._most:
            self._slots = {one: of for one, of in self._slots.items() if slot - self._most < one <= slot}

    def recent(self, now: float) -> list[Figures]:
        """Return the figures of every interval up to that of `now`, the oldest first."""
        last = int(now // self.step_s)
        return [self._slots.get(slot, NOTHING) for slot in range(last - self._most + 1, last + 1)]

    def document(self) -> list[list[int]]:
        """Return a row for each interval in which something happened: its number, then its figures."""
        return [[slot, *figures.row] for slot, figures in self._slots.items()]

    def read(self, rows: object) -> None:
        """Add what a document has."""
        for row in _rows(rows, 2 * self._most):
            if len(row) == 1 + len(NOTHING.row) and all(map(_is_count, row)):
                slot, *numbers = row
                self._slots[slot] = self._slots.get(slot, NOTHING) + Figures(*numbers)


class Record:
    """The record of one worker, or of several added up."""

    def __init__(self, since: float) -> None:
        """`since` is when it begins."""
        self.since = since
        self.total = NOTHING
        self.rings = {name: Ring(step_s, most) for name, step_s, most in SPANS}
        self._images: dict[int, dict[str, tuple[int, int]]] = {}
        self._problems: dict[tuple[str, int, str], Problem] = {}

    def add(self, now: float, figures: Figures, images: Iterable[BusyImage] = ()) -> None:
        """Add what happened just now."""
        self.total += figures
        for ring in self.rings.values():
            ring.add(now, figures)
        hour = int(now // HOUR_S)
        for image in images:
            self._add_image(hour, image)
        self._images = {one: of for one, of in self._images.items() if hour - HOURS_OF_IMAGES < one <= hour}

    def note_problem(self, problem: Problem) -> None:
        """Remember a problem; the same one again only counts."""
        key = (problem.upstream, problem.status, problem.text)
        known = self._problems.pop(key, None)
        count, at = problem.count, problem.at
        if known is not None:
            count, at = count + known.count, max(at, known.at)
        self._problems[key] = Problem(at, *key, count)
        if len(self._problems) > MOST_PROBLEMS:
            del self._problems[min(self._problems, key=lambda one: self._problems[one].at)]

    def problems(self) -> list[Problem]:
        """Return the last problems, the latest first."""
        return sorted(self._problems.values(), key=lambda one: one.at, reverse=True)

    def busiest(self, now: float, most: int) -> list[BusyImage]:
        """Return the repositories with most requests in the last day."""
        sums: dict[str, tuple[int, int]] = {}
        first = int(now // HOUR_S) - HOURS_OF_IMAGES + 1
        for hour, images in self._images.items():
            for name, (requests, sent_bytes) in images.items() if hour >= first else ():
                before = sums.get(name, (0, 0))
                sums[name] = (before[0] + requests, before[1] + sent_bytes)
        found = [BusyImage(name, *of) for name, of in sums.items()]
        return sorted(found, key=lambda one: (-one.requests, -one.sent_bytes, one.name))[:most]

    def document(self) -> dict[str, Any]:
        """Return the record as values that JSON has."""
        return {
            "version": VERSION,
            "since": self.since,
            "total": list(self.total.row),
            "rings": {name: ring.document() for name, ring in self.rings.items()},
            "images": [[hour, name, *of] for hour, images in self._images.items() for name, of in images.items()],
            "problems": [list(astuple(one)) for one in self._problems.values()],
        }

    def read(self, document: object) -> None:
        """Add what `document` returned, of this record or of another; what is not as expected is left out."""
        if not isinstance(document, Mapping) or document.get("version") != VERSION:
            return
        if _is_time(document.get("since")):
            self.since = min(self.since, document["since"])
        (total,) = _rows([document.get("total")], 1) or [[]]
        if len(total) == len(NOTHING.row) and all(map(_is_count, total)):
            self.total += Figures(*total)
        rings = document.get("rings")
        for name, ring in self.rings.items():
            ring.read(rings.get(name) if isinstance(rings, Mapping) else None)
        for row in _rows(document.get("images"), MOST_IMAGES * (HOURS_OF_IMAGES + 1)):
            if len(row) == 4 and isinstance(row[1], str) and all(map(_is_count, (row[0], *row[2:]))):
                self._add_image(row[0], BusyImage(*row[1:]))
        for row in _rows(document.get("problems"), MOST_PROBLEMS):
            if _is_problem(row):
                self.note_problem(Problem(*row))

    def _add_image(self, hour: int, image: BusyImage) -> None:
        images = self._images.setdefault(hour, {})
        requests, sent_bytes = images.get(image.name, (0, 0))
        images[image.name] = (requests + image.requests, sent_bytes + image.sent_bytes)
        if len(images) > MOST_IMAGES:
            kept = sorted(images.items(), key=lambda one: one[1], reverse=True)[: MOST_IMAGES // 2]
            self._images[hour] = dict(kept)


def _rows(value: object, most: int) -> list[list[Any]]:
    return [row for row in value[-most:] if isinstance(row, list)] if isinstance(value, list) else []


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < MAX_NUMBER


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < MAX_NUMBER


def _is_problem(row: list[Any]) -> bool:
    if len(row) != len(fields(Problem)):
        return False
    at, upstream, status, text, count = row
    return (
        _is_time(at) and isinstance(upstream, str) and isinstance(text, str) and _is_count(status) and _is_count(count)
    )
