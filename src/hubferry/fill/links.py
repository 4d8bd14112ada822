"""What the fills of one process know of the ways to upstreams: whether several connections are faster than one.

Pure: takes the time. What was learnt is believed for KNOWN_S, for a network changes. All fills together open at most
MAX_EXTRA connections to one upstream beyond the first of each: an image has many layers. Whoever is alone has all of
them. When another client comes, or another blob has none, those who have most give some back until they have no more
than the others: one at a time, to whoever was refused one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

KNOWN_S = 600.0
MAX_EXTRA = 24

Verdict = Literal["helps", "useless", "refused"]


@dataclass(frozen=True, slots=True)
class Known:
    """Several connections help, or are no faster than one, or the upstream gives no ranges; what one of them gave."""

    verdict: Verdict
    rate_bps: float


class Links:
    """The ways to all upstreams."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Known, float]] = {}
        self._shares: dict[str, list[Share]] = {}

    def known(self, upstream: str, now_s: float) -> Known | None:
        """What was learnt of an upstream, None: nothing, or too long ago."""
        found = self._known.get(upstream)
        return found[0] if found is not None and now_s < found[1] else None

    def learn(self, upstream: str, verdict: Verdict, rate_bps: float, now_s: float) -> None:
        """Remember; that there are no ranges is not forgotten for a fill that had luck."""
        known = self.known(upstream, now_s)
        if known is None or known.verdict != "refused":
            self._known[upstream] = Known(verdict, rate_bps), now_s + KNOWN_S

    def join(self, upstream: str, client: str) -> "Share":
        """The share of a fill that begins to have several connections; to be left."""
        share = Share(self, upstream, client)
        self._shares.setdefault(upstream, []).append(share)
        return share

    def leave(self, share: "Share") -> None:
        """A fill has no more than one connection."""
        shares = self._shares[share.upstream]
        shares.remove(share)
        if not shares:
            del self._shares[share.upstream]

    def shares(self, upstream: str) -> Iterable["Share"]:
        """Everybody's shares of an upstream."""
        return self._shares.get(upstream, ())

    def has_room(self, upstream: str, client: str) -> bool:
        """Whether a further fill of this client's would have a further connection now, or soon."""
        if self.extra_of(upstream) < MAX_EXTRA:
            return True
        own = self.extra_of(upstream, client)
        return any(self.extra_of(upstream, one.client) > own + 1 for one in self.shares(upstream))

    def extra_of(self, upstream: str, client: str | None = None) -> int:
        """How many further connections all fills have now, or those of one client."""
        return sum(one.taken for one in self.shares(upstream) if client in (None, one.client))


class Share:
    """The further connections of one fill."""

    def __init__(self, links: Links, upstream: str, client: str) -> None:
        self.upstream = upstream
        self.client = client
        self.taken = 0
        self.is_refused = False  # it wants one more, and was not given it
        self._links = links

    def take(self) -> bool:
        """Take one more, if there is one that nobody poorer waits for."""
        is_free = self._links.extra_of(self.upstream) < MAX_EXTRA
        self.is_refused = not is_free or any(one.is_poorer_than(self) for one in self._waiting())
        self.taken += not self.is_refused
        return not self.is_refused

    def give_back(self, count: int) -> None:
        """So many are closed."""
        self.taken -= count

    def must_yield(self) -> bool:
        """Whether one has to be closed, for a fill that was refused one and has less."""
        if self._links.extra_of(self.upstream) < MAX_EXTRA or not self.taken:
            return False
        if any(self.is_poorer_than(one) for one in self._links.shares(self.upstream)):
            return False  # they have more to give
        return any(one.is_poorer_than(self) for one in self._waiting())

    def leave(self) -> None:
        """Want none any more."""
        self._links.leave(self)

    def is_poorer_than(self, other: "Share") -> bool:
        """Whether this has so much less that one of the other's should be its."""
        if self.client == other.client:
            return not self.taken and other.taken > 1
        own, others = (self._links.extra_of(self.upstream, one.client) for one in (self, other))
        return own + 1 < others

    def _waiting(self) -> Iterable["Share"]:
        return (one for one in self._links.shares(self.upstream) if one.is_refused and one is not self)
